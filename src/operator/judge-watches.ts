import { type AddressObjectName, addressObjectNames, addressWatches } from '../domain/address-watches.ts';
import { type LeaseObject, leasesSilentMs } from '../domain/identity-lease.ts';
import type { AddressSource } from '../domain/resolve-peers.ts';
import type { Trouble } from './derive-status.ts';
import type { ClusterSets, WatchedSet } from './ports.ts';

/** A watch reconnects within this time. Until then, its failure is not reported. */
const graceMs = 5_000;
/** A Lease is renewed every 10 s, so lines of a healthy watch of Leases are no further apart than this. */
const leaseGapMs = 15_000;

/**
 * Since when the watch of the Leases has been heard without a gap. A renewal in a gap may arrive late or may have been
 * impossible, so a server's silence counts only from the end of the gap.
 */
export interface Hearing {
  readonly since: number;
  readonly at: number;
}

/** Records when the API server last reported anything about the Leases. */
export function hear(before: Hearing, contactAt: number | undefined): Hearing {
  if (contactAt === undefined || contactAt === before.at) return before;
  return { since: contactAt - before.at > leaseGapMs ? contactAt : before.since, at: contactAt };
}

/** Says why too little is known for a 404. Returns `waiting` until every set has been listed or has failed. */
export function judgeWatches(
  sets: ClusterSets,
  sources: readonly AddressSource[],
  now: number,
): Trouble | 'waiting' | undefined {
  const unknown =
    judgeLeases(sets.leases, now) ??
    addressObjectNames
      .map((name) => judgeAddresses(name, sets[name], sources, now))
      .find((doubt) => doubt !== undefined);
  const unlisted = Object.values(sets).some((set: WatchedSet<unknown>) => !set.synced && set.failing === undefined);
  return unlisted ? 'waiting' : unknown;
}

/** Says why the Leases are not known well enough. */
function judgeLeases(leases: WatchedSet<LeaseObject>, now: number): Trouble | undefined {
  const reason = 'LeasesUnknown';
  const { failing, lastContactAtMs } = leases;
  if (failing !== undefined && (!leases.synced || now - failing.since > graceMs))
    return { reason, message: `cannot read the identity Leases: ${failing.message}` };
  const silentMs = lastContactAtMs === undefined ? 0 : now - lastContactAtMs;
  // No figure in the text: it would be news in every pass.
  if (leases.items().size > 0 && silentMs > leasesSilentMs)
    return {
      reason,
      message: 'the watch of the identity Leases is silent, though a live kube-apiserver renews its own every 10 s',
    };
  return undefined;
}

/** Says why servers would be missed that only these objects list. */
function judgeAddresses(
  name: AddressObjectName,
  { failing, synced }: WatchedSet<unknown>,
  sources: readonly AddressSource[],
  now: number,
): Trouble | undefined {
  const { inDoubt } = addressWatches[name];
  if (inDoubt === 'Nothing' || !sources.includes(inDoubt.source) || failing === undefined) return undefined;
  if (synced && now - failing.since <= graceMs) return undefined;
  const { source, reason, objects } = inDoubt;
  return {
    reason,
    message:
      `cannot read ${objects}: ${failing.message}; allow the operator ` +
      `to read it, or leave ${source} out of spec.addresses.sources`,
  };
}
