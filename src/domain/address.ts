/** A server's address, split into host and port. */
export interface HostPort {
  /** An IP address or a name; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

const bracketed = /^\[([0-9a-f:.]+)\]:([0-9]{1,5})$/i;
const plain = /^([^\s:@/?#[\]\\%]+):([0-9]{1,5})$/;

/**
 * Splits `host:port` or `[ipv6]:port`. Returns `undefined` for anything else.
 *
 * IPv6 hosts need brackets. Zone identifiers are not accepted. The port is 1 to 65535 without leading zeros.
 */
export function parseAddress(address: string): HostPort | undefined {
  const inBrackets = bracketed.exec(address);
  const [, host, digits] = inBrackets ?? plain.exec(address) ?? [];
  if (host === undefined || digits === undefined || digits.startsWith('0')) return undefined;
  if (inBrackets !== null && !host.includes(':')) return undefined;
  const port = Number(digits);
  return port <= 65535 ? { host, port } : undefined;
}

/** Joins host and port, with brackets around IPv6: the inverse of `parseAddress`. */
export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The network that one client has to itself: an IPv4 address, or the first 64 bits of an IPv6 address, because one host
 * may use all addresses of its /64. It takes the `remoteAddress` of a socket. Source: RFC 4291, section 2.5.4.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const ipv4 = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (ipv4 !== undefined) return ipv4;
  const [front = [], back] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = back === undefined ? [] : Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0');
  return `${[...front, ...zeros, ...(back ?? [])].slice(0, 4).join(':')}::/64`;
}
