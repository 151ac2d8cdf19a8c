import { compareText } from './compare-text.ts';
import type { PeerView } from './derive-bundle.ts';

/** Leases and live addresses that are taken for the same servers, though nothing says which is which. */
export interface ServerCount {
  /** Ids of the peers whose Leases have no address, ascending. */
  readonly leases: readonly string[];
  /** Ids of the live peers whose addresses have no Lease, ascending; no fewer than the Leases. */
  readonly addresses: readonly string[];
}

/**
 * Counts the Leases without an address against the live addresses without a Lease; undefined if there is no such Lease,
 * or fewer such addresses.
 *
 * A Lease whose address another has is not counted: behind that address may be a second server.
 */
export function countServers(views: readonly PeerView[]): ServerCount | undefined {
  const leases = views.filter(isAddressless).map(idOf);
  const addresses = views
    .filter(
      ({ seen: { peer }, assessment }) =>
        peer.source === 'EndpointSlice' && peer.lease === undefined && assessment.live,
    )
    .map(idOf);
  if (leases.length === 0 || leases.length > addresses.length) return undefined;
  return { leases: leases.sort(compareText), addresses: addresses.sort(compareText) };
}

/** Leaves out the Leases of a count: their servers are asked at its addresses, so a 404 depends on them. */
export function withoutCounted(views: readonly PeerView[], { leases }: ServerCount): readonly PeerView[] {
  return views.filter(({ seen: { peer } }) => !leases.includes(peer.id));
}

function isAddressless({ assessment }: PeerView): boolean {
  return assessment.reason === 'NoAddress';
}

function idOf({ seen: { peer } }: PeerView): string {
  return peer.id;
}
