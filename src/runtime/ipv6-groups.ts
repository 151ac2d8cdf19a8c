/** The eight groups of an IPv6 address, in lower case without leading zeros. */
export function ipv6Groups(address: string): readonly string[] {
  // The URL parser writes an IPv4 tail as two groups.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groupsOf = (text: string | undefined) => (text === undefined || text === '' ? [] : text.split(':'));
  const [left, right] = [groupsOf(head), groupsOf(tail)];
  return [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
}
