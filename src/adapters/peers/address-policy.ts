import { BlockList } from 'node:net';
import { parseAddress } from '../../domain/address.ts';
import { type Cidr, describeCidrFault, type IpAddress, ipv6Bytes, parseCidr, parseIp } from '../../runtime/cidr.ts';

/** A policy's verdict on an address. */
export type AddressVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Decides which addresses may be contacted. */
export interface AddressPolicy {
  check(address: string): AddressVerdict;
}

interface Range extends Cidr {
  readonly cidr: string;
  readonly members: BlockList;
}

/**
 * Ranges without a cluster's kube-apiservers, but with targets for an attacker. Sources: RFC 6890, and the clouds'
 * documentation of their metadata services.
 */
const forbiddenCidrs: readonly (readonly [cidr: string, what: string])[] = [
  ['0.0.0.0/8', 'unspecified'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local, where cloud metadata services answer'],
  ['100.100.100.200/32', 'a cloud metadata service'],
  ['168.63.129.16/32', 'a cloud metadata service'],
  ['fd00:ec2::254/128', 'a cloud metadata service'],
  ['fd20:ce::254/128', 'a cloud metadata service'],
  ['224.0.0.0/4', 'multicast'],
  ['255.255.255.255/32', 'broadcast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local, which is deprecated'],
  ['100::/64', 'discard-only'],
  ['ff00::/8', 'multicast'],
];

/**
 * Prefixes for IPv6 addresses that carry an IPv4 address, to which a translator or tunnel may forward. `at` has the
 * places of its four bytes; `inverted` means that its bits are flipped. Sources: RFC 6052 (NAT64), RFC 8215 (local
 * NAT64, with any prefix length of RFC 6052), RFC 3056 (6to4), RFC 4380 (Teredo: the server's address, then the
 * client's), RFC 2765 (SIIT).
 */
const carriers: readonly (Place & { readonly cidr: string })[] = [
  { cidr: '64:ff9b::/96', at: [12, 13, 14, 15] },
  { cidr: '64:ff9b:1::/48', at: [9, 10, 11, 12], mayBeElsewhere: true },
  { cidr: '64:ff9b:1::/48', at: [7, 9, 10, 11], mayBeElsewhere: true },
  { cidr: '64:ff9b:1::/48', at: [6, 7, 9, 10], mayBeElsewhere: true },
  { cidr: '64:ff9b:1::/48', at: [12, 13, 14, 15] },
  { cidr: '2002::/16', at: [2, 3, 4, 5] },
  { cidr: '2001::/32', at: [4, 5, 6, 7] },
  { cidr: '2001::/32', at: [12, 13, 14, 15], inverted: true },
  { cidr: '::ffff:0:0:0/96', at: [12, 13, 14, 15] },
];

/** Where an IPv6 address carries an IPv4 address. */
interface Place {
  readonly at: readonly number[];
  readonly inverted?: boolean;
  /** Zeros there may belong to another form, so they are not an address. */
  readonly mayBeElsewhere?: boolean;
}

/**
 * Accepts an address only if it is an IP address inside the allowed CIDRs and outside the forbidden ranges.
 *
 * Without allowed CIDRs, everything outside the forbidden ranges is allowed. A forbidden range opens only for a CIDR
 * within it: `127.0.0.1/32` opens that address, `0.0.0.0/0` opens no loopback. IPv6 forms of IPv4 addresses
 * (`::ffff:…`, and the deprecated `::a.b.c.d`) count as the IPv4 address. The address of a translator or tunnel (NAT64,
 * 6to4, Teredo, ISATAP) is refused if the IPv4 address that it carries is forbidden, even if a CIDR opens that IPv4
 * address. Names are refused, because whoever answers the DNS query would choose the address after the check.
 * @throws if an allowed CIDR cannot be read, or has bits set beyond its prefix. The message lists all of them.
 */
export function createAddressPolicy(allowedCidrs: readonly string[]): AddressPolicy {
  const fault = describeCidrFault(allowedCidrs);
  if (fault !== undefined) throw new Error(fault);
  const allowed = allowedCidrs.flatMap((cidr) => toRange(cidr) ?? []);
  const forbidden = forbiddenCidrs.flatMap(([cidr, what]) => {
    const range = toRange(cidr);
    if (range === undefined) return [];
    return [{ range, what, exceptions: allowed.filter((candidate) => liesWithin(candidate, range)) }];
  });
  const translated = carriers.flatMap(({ cidr, ...place }) => {
    const range = toRange(cidr);
    return range === undefined ? [] : [{ range, ...place }];
  });
  return { check: (address) => checkAddress(address, allowed, forbidden, translated) };
}

interface Forbidden {
  readonly range: Range;
  readonly what: string;
  /** Allowed CIDRs within the range. */
  readonly exceptions: readonly Range[];
}

interface Carrier extends Place {
  readonly range: Range;
}

function checkAddress(
  address: string,
  allowed: readonly Range[],
  forbidden: readonly Forbidden[],
  translated: readonly Carrier[],
): AddressVerdict {
  const parts = parseAddress(address);
  if (parts === undefined) return { ok: false, reason: 'not of the form host:port' };
  const ip = parseIp(parts.host);
  if (ip === undefined)
    return {
      ok: false,
      reason: 'a name, not an IP address: the DNS answer could change after the check',
    };
  const holds = (range: Range) => holdsAddress(range, ip);
  for (const carried of carriedBy(ip, translated)) {
    const hit = forbidden.find(({ range }) => holdsAddress(range, carried));
    if (hit !== undefined)
      return {
        ok: false,
        reason: `carries ${carried.text}, which is in the forbidden range ${hit.range.cidr} (${hit.what})`,
      };
  }
  for (const { range, what, exceptions } of forbidden)
    if (holds(range) && !exceptions.some(holds))
      return { ok: false, reason: `in the forbidden range ${range.cidr} (${what})` };
  if (allowed.length > 0 && !allowed.some(holds)) return { ok: false, reason: 'outside the allowed CIDRs' };
  return { ok: true };
}

function holdsAddress(range: Range, { text, family }: IpAddress): boolean {
  return range.family === family && range.members.check(text, family);
}

/** The IPv4 addresses to which a translator or tunnel may forward traffic for an IPv6 address. */
function carriedBy(ip: IpAddress, translated: readonly Carrier[]): readonly IpAddress[] {
  if (ip.family === 'ipv4') return [];
  const bytes = ipv6Bytes(ip.text);
  const found = translated
    .filter(({ range, at, mayBeElsewhere }) => holdsAddress(range, ip) && !(mayBeElsewhere && bytes[at[0] ?? 0] === 0))
    .map((place) => readV4(bytes, place));
  // ISATAP shows only in the interface identifier, under any prefix. Source: RFC 5214, section 6.1.
  const isIsatap = (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
  return isIsatap ? [...found, readV4(bytes, { at: [12, 13, 14, 15] })] : found;
}

function readV4(bytes: readonly number[], { at, inverted = false }: Place): IpAddress {
  const octets = at.map((place) => (bytes[place] ?? 0) ^ (inverted ? 0xff : 0));
  return { text: octets.join('.'), family: 'ipv4' };
}

function liesWithin(inner: Range, outer: Range): boolean {
  return (
    inner.family === outer.family && inner.prefix >= outer.prefix && outer.members.check(inner.network, inner.family)
  );
}

function toRange(cidr: string): Range | undefined {
  const parsed = parseCidr(cidr);
  if (parsed === undefined) return undefined;
  const members = new BlockList();
  members.addSubnet(parsed.network, parsed.prefix, parsed.family);
  return { cidr, ...parsed, members };
}
