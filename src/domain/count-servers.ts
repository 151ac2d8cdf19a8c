import { compareText } from './compare-text.ts';
import type { PeerView } from './derive-bundle.ts';

/** Leases and live addresses that count as the same servers, although nothing says which belongs to which. */
export interface ServerCount {
  /** Ids of the peers whose Leases have no address, ascending. */
  readonly leases: readonly string[];
  /** Ids of the live peers whose addresses have no Lease, ascending; at least as many as the Leases. */
  readonly addresses: readonly string[];
}

/**
 * Counts the Leases without an address against the live addresses without a Lease. Undefined if there is no such Lease,
 * or if there are fewer addresses than Leases.
 *
 * A Lease is not counted if another has its address: a second server may be behind that address.
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

/** Removes the Leases of a count. Their servers are asked at its addresses, so a 404 depends on them. */
export function withoutCounted(views: readonly PeerView[], { leases }: ServerCount): readonly PeerView[] {
  return views.filter(({ seen: { peer } }) => !leases.includes(peer.id));
}

function isAddressless({ assessment }: PeerView): boolean {
  return assessment.reason === 'NoAddress';
}

function idOf({ seen: { peer } }: PeerView): string {
  return peer.id;
}
