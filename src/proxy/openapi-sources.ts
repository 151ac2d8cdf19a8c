import type { FleetPeer, FleetSnapshot } from './fleet.ts';

/**
 * The servers whose schemas are merged, in the order in which they are asked first: the newest version, then by id.
 *
 * It is the same for every replica and every home. A newer server's schema of a kind has the fields of an older one and
 * more.
 */
export function orderOpenApiSources(
  { bundle, peers }: FleetSnapshot,
  usable: (peer: FleetPeer | undefined) => peer is FleetPeer,
): FleetPeer[] {
  const sources = peers.flatMap((peer, at) =>
    usable(peer) ? [{ peer, version: bundle?.table.peers[at]?.version ?? '' }] : [],
  );
  sources.sort((a, b) => compareVersions(b.version, a.version) || (a.peer.target.id < b.peer.target.id ? -1 : 1));
  return sources.map(({ peer }) => peer);
}

/** Orders `v1.9.0` before `v1.10.0`; what follows the numbers (`-alpha.1`, `+k3s1`) orders as text. */
function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
