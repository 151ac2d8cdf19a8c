import { BlockList, isIP } from 'node:net';
import { parseAddress } from '../../domain/address.ts';

/** What a policy says of an address. */
export type AddressVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Which addresses may be contacted at all. */
export interface AddressPolicy {
  check(address: string): AddressVerdict;
}

type Family = 'ipv4' | 'ipv6';

interface Range {
  readonly cidr: string;
  readonly network: string;
  readonly family: Family;
  readonly prefix: number;
  readonly members: BlockList;
}

/** Ranges where no kube-apiserver of a cluster lives, but where an attacker would like us to go. Source: RFC 6890. */
const forbiddenCidrs: readonly (readonly [cidr: string, what: string])[] = [
  ['0.0.0.0/8', 'unspecified'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local, where cloud metadata services answer'],
  ['224.0.0.0/4', 'multicast'],
  ['255.255.255.255/32', 'broadcast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
];

/**
 * Never lets an address through that is not an IP address inside the allowed CIDRs and outside the forbidden ranges.
 *
 * Without allowed CIDRs everything but the forbidden ranges is allowed. A forbidden range opens only for a CIDR that
 * lies within it: `127.0.0.1/32` opens that address, `0.0.0.0/0` opens no loopback. IPv6 forms of IPv4 addresses
 * (`::ffff:…`, and the deprecated `::a.b.c.d`) count as the IPv4 address. Names are refused, because whoever answers
 * the DNS query would choose the address after it was checked.
 * @throws if an allowed CIDR cannot be read; the message lists all of those.
 */
export function createAddressPolicy(allowedCidrs: readonly string[]): AddressPolicy {
  const parsed = allowedCidrs.map((cidr) => ({ cidr, range: parseCidr(cidr) }));
  const unreadable = parsed.filter(({ range }) => range === undefined).map(({ cidr }) => JSON.stringify(cidr));
  if (unreadable.length > 0) throw new Error(`not a CIDR: ${unreadable.join(', ')}`);
  const allowed = parsed.flatMap(({ range }) => (range === undefined ? [] : [range]));
  const forbidden = forbiddenCidrs.flatMap(([cidr, what]) => {
    const range = parseCidr(cidr);
    if (range === undefined) return [];
    return [{ range, what, exceptions: allowed.filter((candidate) => liesWithin(candidate, range)) }];
  });
  return { check: (address) => checkAddress(address, allowed, forbidden) };
}

function checkAddress(
  address: string,
  allowed: readonly Range[],
  forbidden: readonly { readonly range: Range; readonly what: string; readonly exceptions: readonly Range[] }[],
): AddressVerdict {
  const parts = parseAddress(address);
  if (parts === undefined) return { ok: false, reason: 'not of the form host:port' };
  const ip = parseIp(parts.host);
  if (ip === undefined)
    return {
      ok: false,
      reason: 'a name, not an IP address: the answer of a DNS query could change after it was checked',
    };
  const holds = (range: Range) => range.family === ip.family && range.members.check(ip.text, ip.family);
  for (const { range, what, exceptions } of forbidden)
    if (holds(range) && !exceptions.some(holds))
      return { ok: false, reason: `in the forbidden range ${range.cidr} (${what})` };
  if (allowed.length > 0 && !allowed.some(holds)) return { ok: false, reason: 'outside the allowed CIDRs' };
  return { ok: true };
}

function liesWithin(inner: Range, outer: Range): boolean {
  return (
    inner.family === outer.family && inner.prefix >= outer.prefix && outer.members.check(inner.network, inner.family)
  );
}

function parseCidr(cidr: string): Range | undefined {
  const [, host, digits] = /^([0-9a-f:.]+)\/(0|[1-9][0-9]{0,2})$/i.exec(cidr) ?? [];
  if (host === undefined || digits === undefined) return undefined;
  const ip = parseIp(host);
  if (ip === undefined) return undefined;
  // A prefix over an IPv6 form counts the 96 bits before the IPv4 address too.
  const prefix = Number(digits) - (ip.embedded ? 96 : 0);
  if (prefix < 0 || prefix > (ip.family === 'ipv4' ? 32 : 128)) return undefined;
  const members = new BlockList();
  members.addSubnet(ip.text, prefix, ip.family);
  return { cidr, network: ip.text, family: ip.family, prefix, members };
}

/** Reads an IP address; the IPv6 forms of IPv4 addresses become IPv4. */
function parseIp(
  host: string,
): { readonly text: string; readonly family: Family; readonly embedded: boolean } | undefined {
  const version = isIP(host);
  if (version === 0 || host.includes('%')) return undefined;
  if (version === 4) return { text: host, family: 'ipv4', embedded: false };
  const canonical = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const [, high, low] = /^::(?:ffff:)?([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return { text: canonical, family: 'ipv6', embedded: false };
  const bits = (Number.parseInt(high, 16) << 16) | Number.parseInt(low, 16);
  const text = [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
  return { text, family: 'ipv4', embedded: true };
}
