import type { SchemaIndex } from './compare-schemas.ts';
import type { GroupDiscovery } from './discovery-document.ts';
import type { ResolvedPeer } from './resolve-peers.ts';
import type { PeerState } from './routing-table.ts';

/** Both of a server's own discovery documents, fetched together. */
export interface PeerDocuments {
  /** The form in which the server sent them. */
  readonly form: 'v2' | 'v2beta1' | 'legacy';
  /** The core group, from `/api`. */
  readonly api: readonly GroupDiscovery[];
  /** All other groups, from `/apis`. */
  readonly apis: readonly GroupDiscovery[];
  readonly etags: { readonly api?: string; readonly apis?: string };
  /** Short hash of both documents, for people to compare. */
  readonly hash: string;
}

/** Outcome of asking a server for `/readyz`. `names` are the DNS names of its certificate, which has been verified. */
export type ProbeResult =
  | { readonly kind: 'ready'; readonly names?: readonly string[] }
  | { readonly kind: 'notReady'; readonly detail: string; readonly names?: readonly string[] }
  | { readonly kind: 'unreachable'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unauthorized'; readonly detail: string; readonly names?: readonly string[] };

/** The observations of one peer. All times are milliseconds of the operator's own clock. */
export interface PeerObservation {
  readonly peer: ResolvedPeer;
  /** When its Lease was last seen to change, or first seen. */
  readonly leaseChangedAt?: number;
  readonly probe?: ProbeResult;
  /** True if an earlier leader found it ready and this one has not asked it yet. */
  readonly wasReady?: true;
  /** True while it may refuse the operator's credential only because it has just started. */
  readonly mayBeStarting?: boolean;
  /** The time since which it has given no answer. */
  readonly unreachableSince?: number;
  /** When it became ready again after it was away, not ready or restarted. */
  readonly returnedAt?: number;
  readonly documents?: PeerDocuments;
  /** When the documents were last known to be current. */
  readonly documentsAt?: number;
  readonly fetchFailure?: { readonly reason: string; readonly message: string };
  readonly version?: string;
  /** The version that it emulates, if that differs from its own. */
  readonly emulatedVersion?: string;
  readonly peerAggregated?: boolean;
  readonly schemas?: SchemaIndex;
}

/**
 * How long a starting server may refuse all users before it has read its RBAC rules; half a second was measured on an
 * idle machine. If it refuses the operator for longer, the operator lacks rights.
 */
export const startingForMs = 10_000;

/** Bounds, in milliseconds. */
export interface LivenessBounds {
  readonly staleAfterMs: number;
  readonly goneAfterMs: number;
}

/** The verdict on one peer. */
export interface PeerAssessment {
  readonly state: PeerState;
  /** CamelCase, never empty. */
  readonly reason: string;
  readonly message: string;
  /** True if a server may be running there, so that its resources matter for a 404. */
  readonly live: boolean;
  /** True if its documents are complete and younger than `staleAfter`. */
  readonly fresh: boolean;
  /** True if its documents still count: it is live, or has been away for less than `goneAfter`. */
  readonly retained: boolean;
  /** True if it is ready, but came back less than `settledAfterMs` ago. */
  readonly returning?: boolean;
}

/** A server that has come back counts as settled once it has stayed ready for this long. */
const settledAfterMs = 5_000;

/**
 * A Lease is renewed every 10 s. It counts as abandoned after two and a half missed renewals. Source:
 * `pkg/controlplane/apiserver/server.go` of Kubernetes (IdentityLeaseRenewIntervalPeriod).
 */
export const leaseAbandonedAfterMs = 25_000;

/**
 * Judges one peer from its observations alone. All times are of the clock of the observations.
 *
 * @param leasesAsOf When the watch of the Leases last reported anything. If the watch is silent, a Lease may still be
 *   renewed.
 */
export function assessPeer(
  seen: PeerObservation,
  bounds: LivenessBounds,
  now: number,
  leasesAsOf = now,
): PeerAssessment {
  const facts = weighFacts(seen, bounds, now, leasesAsOf);
  const verdict = judgeAddress(seen.peer, facts) ?? judgeSilence(seen, facts) ?? judgeServer(seen, facts);
  const { state, live } = verdict;
  const assessment = {
    ...verdict,
    fresh: facts.fresh && live,
    retained: seen.documents !== undefined && (live || facts.away < bounds.goneAfterMs) && state !== 'Gone',
  };
  const returning = state === 'Ready' && seen.returnedAt !== undefined && now - seen.returnedAt < settledAfterMs;
  return returning ? { ...assessment, returning } : assessment;
}

type Verdict = Pick<PeerAssessment, 'state' | 'reason' | 'message' | 'live'>;

/** The observations at one moment. */
interface Facts {
  /** How long it has given no answer. */
  readonly away: number;
  readonly fresh: boolean;
  /** True if a server may be running although it does not answer. */
  readonly mayRun: boolean;
  /** True if its Lease is abandoned and no other source lists it. */
  readonly departed: boolean;
  /** True if nothing of it needs to be kept. */
  readonly forgotten: boolean;
}

function weighFacts(
  { peer, documents, documentsAt, leaseChangedAt, unreachableSince }: PeerObservation,
  { staleAfterMs, goneAfterMs }: LivenessBounds,
  now: number,
  leasesAsOf: number,
): Facts {
  const leaseRenewed = leaseChangedAt !== undefined && leasesAsOf - leaseChangedAt < leaseAbandonedAfterMs;
  const away = unreachableSince === undefined ? 0 : now - unreachableSince;
  // A server without a renewed Lease may still be running if the administrator or the control plane lists it.
  const listed = peer.source !== undefined && (peer.lease === undefined || peer.endpoint === true);
  // Another server has its address now.
  const replaced = peer.displacedBy !== undefined;
  return {
    away,
    fresh: documents !== undefined && documentsAt !== undefined && now - documentsAt < staleAfterMs,
    mayRun: leaseRenewed || (listed && away < goneAfterMs),
    departed: !leaseRenewed && !listed,
    forgotten: away >= goneAfterMs || documents === undefined || replaced,
  };
}

function gone(why: string): Verdict {
  return { state: 'Gone', reason: 'LeaseAbandoned', message: `no Lease renewal, and ${why}`, live: false };
}

/** The verdict on a peer whose address is refused or unknown; undefined for any other. */
function judgeAddress(peer: ResolvedPeer, { departed, forgotten }: Facts): Verdict | undefined {
  if (peer.refused !== undefined)
    return departed && forgotten
      ? gone(`its address is refused: ${peer.refused}`)
      : { state: 'Refused', reason: 'AddressRefused', message: peer.refused, live: !departed };
  if (peer.address !== undefined) return undefined;
  if (departed && forgotten) return gone('no address is known');
  if (departed)
    return {
      state: 'Unreachable',
      reason: 'LeaseAbandoned',
      message: 'no Lease renewal, and no address is known',
      live: false,
    };
  return peer.displacedBy === undefined
    ? { state: 'Unresolved', reason: 'NoAddress', message: unresolvedMessage, live: true }
    : { state: 'Unresolved', reason: 'DuplicateAddress', message: displacedMessage(peer.displacedBy), live: true };
}

/** The verdict on a peer that was not asked, or whose verified server gave no answer; undefined for any other. */
function judgeSilence(
  { probe, wasReady }: PeerObservation,
  { departed, forgotten, mayRun }: Facts,
): Verdict | undefined {
  if (probe === undefined)
    return wasReady === true
      ? // It keeps the requests for its known resources, whichever operator leads.
        {
          state: 'Stale',
          reason: 'NotYetProbed',
          message: 'this leader has not asked it yet; the previous leader found it ready',
          live: true,
        }
      : // A restarted server listens before it is ready, so it gets no work until it reports ready.
        { state: 'NotReady', reason: 'NotYetProbed', message: 'the operator has not asked it yet', live: true };
  if (probe.kind === 'refused')
    // Don't ask another server for ever just because it took over the address of one that has left.
    return departed && forgotten
      ? gone(`another server has its address: ${probe.detail}`)
      : { state: 'Refused', reason: 'CertificateRefused', message: probe.detail, live: !departed };
  if (probe.kind !== 'unreachable') return undefined;
  if (mayRun) return { state: 'Unreachable', reason: 'ConnectionFailed', message: probe.detail, live: true };
  if (forgotten) return gone(`no answer: ${probe.detail}`);
  const message = `no answer and no Lease renewal: ${probe.detail}`;
  return { state: 'Unreachable', reason: 'LeaseAbandoned', message, live: false };
}

/** The verdict on a peer whose verified server answered. */
function judgeServer({ probe, mayBeStarting, fetchFailure }: PeerObservation, { fresh }: Facts): Verdict {
  // It would refuse its clients too, with 403 for permitted requests.
  if (probe?.kind === 'unauthorized' && mayBeStarting === true)
    return {
      state: 'NotReady',
      reason: 'Unauthorized',
      message: `${probe.detail}; a server that has just started answers so`,
      live: true,
    };
  if (probe?.kind === 'notReady')
    return { state: 'NotReady', reason: 'ReadyzFailed', message: probe.detail, live: true };
  if (!fresh)
    return {
      state: 'Stale',
      reason: fetchFailure?.reason ?? 'NotYetFetched',
      message: fetchFailure?.message ?? 'the operator has not read its discovery yet',
      live: true,
    };
  if (probe?.kind === 'unauthorized')
    return { state: 'Stale', reason: 'Unauthorized', message: probe.detail, live: true };
  return { state: 'Ready', reason: 'Ready', message: 'serves, and its discovery is fresh', live: true };
}

const unresolvedMessage =
  'its Lease is renewed, but no source gives its address: list the server in spec.addresses.static, or let ' +
  'the operator read control-plane Nodes or mirror Pods';

function displacedMessage(holder: string): string {
  return (
    `its Lease is renewed, but its address belongs to ${holder}: if several servers advertise one address, list ` +
    'the own address of each in spec.addresses.static'
  );
}
