import { compareServedVersions } from '../../domain/served-version.ts';
import type { FleetPeer, FleetSnapshot } from '../servers/fleet.ts';

/**
 * The servers whose schemas are merged, in order: newest version first, then by id.
 *
 * The order is the same for every replica and every home. A newer server's schema of a kind has the older one's fields
 * and more.
 */
export function orderOpenApiSources(
  { bundle, peers }: FleetSnapshot,
  usable: (peer: FleetPeer | undefined) => peer is FleetPeer,
): FleetPeer[] {
  const sources = peers.flatMap((peer, at) => (usable(peer) ? [{ peer, served: bundle?.table.peers[at] ?? {} }] : []));
  sources.sort((a, b) => compareServedVersions(b.served, a.served) || (a.peer.target.id < b.peer.target.id ? -1 : 1));
  return sources.map(({ peer }) => peer);
}
