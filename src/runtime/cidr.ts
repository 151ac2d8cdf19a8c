import { isIP } from 'node:net';
import { ipv6Groups } from './ipv6-groups.ts';

/** The version of an IP address. */
export type IpFamily = 'ipv4' | 'ipv6';

/** An IP address in canonical form. */
export interface IpAddress {
  readonly text: string;
  readonly family: IpFamily;
}

/** A range of addresses, whose network is in canonical form. */
export interface Cidr {
  readonly network: string;
  readonly family: IpFamily;
  readonly prefix: number;
}

/** Parses an IP address. IPv6 forms of IPv4 addresses become IPv4, and `embedded` says so. */
export function parseIp(host: string): (IpAddress & { readonly embedded: boolean }) | undefined {
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

/** Parses `ADDRESS/PREFIX`. The address may have bits set beyond the prefix; `describeCidrFault` finds them. */
export function parseCidr(cidr: string): Cidr | undefined {
  const [, host, digits] = /^([0-9a-f:.]+)\/(0|[1-9][0-9]{0,2})$/i.exec(cidr) ?? [];
  if (host === undefined || digits === undefined) return undefined;
  const ip = parseIp(host);
  if (ip === undefined) return undefined;
  // A prefix on an IPv6 form also counts the 96 bits before the IPv4 address.
  const prefix = Number(digits) - (ip.embedded ? 96 : 0);
  if (prefix < 0 || prefix > (ip.family === 'ipv4' ? 32 : 128)) return undefined;
  return { network: ip.text, family: ip.family, prefix };
}

/** Names every one of these that is no range of addresses, with its cure; undefined if all are. */
export function describeCidrFault(cidrs: readonly string[]): string | undefined {
  const parsed = cidrs.map((cidr) => ({ cidr, range: parseCidr(cidr) }));
  const unreadable = parsed.filter(({ range }) => range === undefined).map(({ cidr }) => JSON.stringify(cidr));
  if (unreadable.length > 0) return `not a CIDR: ${unreadable.join(', ')}`;
  const cut = parsed.flatMap(({ cidr, range }) => {
    const first = range === undefined ? undefined : firstOf(range);
    return range === undefined || first === range.network
      ? []
      : [`${JSON.stringify(cidr)} has bits set beyond its prefix: give ${first}/${range.prefix}`];
  });
  return cut.length > 0 ? cut.join('; ') : undefined;
}

/** The sixteen bytes of an IPv6 address. */
export function ipv6Bytes(address: string): readonly number[] {
  return ipv6Groups(address)
    .map((group) => Number.parseInt(group, 16))
    .flatMap((group) => [group >> 8, group & 0xff]);
}

/** The first address of a range in canonical form. */
function firstOf({ network, family, prefix }: Cidr): string {
  const bytes = family === 'ipv4' ? network.split('.').map(Number) : ipv6Bytes(network);
  const masked = bytes.map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * at))) & 0xff);
  if (family === 'ipv4') return masked.join('.');
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((masked[2 * at] ?? 0) << 8) | (masked[2 * at + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
