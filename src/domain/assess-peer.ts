import type { SchemaIndex } from './compare-schemas.ts';
import type { GroupDiscovery } from './discovery-document.ts';
import type { ResolvedPeer } from './resolve-peers.ts';
import type { PeerState } from './routing-table.ts';

/** Both of a server's own discovery documents, fetched as one whole. */
export interface PeerDocuments {
  /** The form in which the server gave them. */
  readonly form: 'v2' | 'v2beta1' | 'legacy';
  /** The core group, from `/api`. */
  readonly api: readonly GroupDiscovery[];
  /** All other groups, from `/apis`. */
  readonly apis: readonly GroupDiscovery[];
  readonly etags: { readonly api?: string; readonly apis?: string };
  /** Short hash of both, for people to compare. */
  readonly hash: string;
}

/** Outcome of asking a server for `/readyz`; `names` are the DNS names of its certificate, which was verified. */
export type ProbeResult =
  | { readonly kind: 'ready'; readonly names?: readonly string[] }
  | { readonly kind: 'notReady'; readonly detail: string; readonly names?: readonly string[] }
  | { readonly kind: 'unreachable'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unauthorized'; readonly detail: string; readonly names?: readonly string[] };

/** What has been observed of one peer. All times are milliseconds of one clock of ours. */
export interface PeerObservation {
  readonly peer: ResolvedPeer;
  /** When its Lease was last seen to change, or first seen. */
  readonly leaseChangedAt?: number;
  readonly probe?: ProbeResult;
  /** True if an earlier leader called it ready, and nobody has asked it since. */
  readonly wasReady?: true;
  /** True while a refusal of our own credential may be that of a server that has just started. */
  readonly mayBeStarting?: boolean;
  /** Since when it has not answered at all. */
  readonly unreachableSince?: number;
  /** When it was ready again after it had been away, not ready or restarted. */
  readonly returnedAt?: number;
  readonly documents?: PeerDocuments;
  /** When the documents were last known to be what the server says. */
  readonly documentsAt?: number;
  readonly fetchFailure?: { readonly reason: string; readonly message: string };
  readonly version?: string;
  /** The version that it emulates, where that is not its own. */
  readonly emulatedVersion?: string;
  readonly peerAggregated?: boolean;
  readonly schemas?: SchemaIndex;
}

/**
 * How long a server may refuse everybody before it knows who may do what; seen: half a second on an idle machine.
 * Whoever is refused for longer lacks rights.
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
  /** True if a server may be running there, so that what it serves matters to a 404. */
  readonly live: boolean;
  /** True if its documents are whole and no older than `staleAfter`. */
  readonly fresh: boolean;
  /** True if its documents still count: it is live, or has been away for less than `goneAfter`. */
  readonly retained: boolean;
  /** True if it is ready, and has been so for less than `settledAfterMs` since it came back. */
  readonly returning?: boolean;
}

/** How long a server that has come back has to stay ready before it counts as settled. */
const settledAfterMs = 5_000;

/**
 * A Lease is renewed every 10 s; one that has not changed for two renewals and a half is taken for abandoned.
 * Source: `pkg/controlplane/apiserver/server.go` of Kubernetes (IdentityLeaseRenewIntervalPeriod).
 */
export const leaseAbandonedAfterMs = 25_000;

/**
 * Judges one peer from what was observed and nothing else; it is pure, and all times are of the observations' clock.
 *
 * @param leasesAsOf When the watch of the Leases last said anything: silence of the watch is no proof that a Lease is
 *   no longer renewed.
 */
export function assessPeer(
  seen: PeerObservation,
  bounds: LivenessBounds,
  now: number,
  leasesAsOf = now,
): PeerAssessment {
  const { peer, probe, documents, documentsAt } = seen;
  const leaseRenewed = seen.leaseChangedAt !== undefined && leasesAsOf - seen.leaseChangedAt < leaseAbandonedAfterMs;
  const fresh = documents !== undefined && documentsAt !== undefined && now - documentsAt < bounds.staleAfterMs;
  const away = seen.unreachableSince === undefined ? 0 : now - seen.unreachableSince;
  // Without a Lease that is renewed, a server that the administrator or the control plane still lists may be running.
  const listed = peer.source !== undefined && (peer.lease === undefined || peer.endpoint === true);
  const mayRun = leaseRenewed || (listed && away < bounds.goneAfterMs);
  const verdict = (state: PeerState, reason: string, message: string, live: boolean): PeerAssessment => {
    const retained = documents !== undefined && (live || away < bounds.goneAfterMs) && state !== 'Gone';
    return { state, reason, message, live, fresh: fresh && live, retained };
  };
  const departed = !leaseRenewed && !listed;
  // Who has its address now answers for it.
  const replaced = peer.displacedBy !== undefined;
  const forgotten = away >= bounds.goneAfterMs || documents === undefined || replaced;
  const gone = (why: string) => verdict('Gone', 'LeaseAbandoned', `no Lease renewal, and ${why}`, false);
  if (peer.refused !== undefined)
    return departed && forgotten
      ? gone(`its address is refused: ${peer.refused}`)
      : verdict('Refused', 'AddressRefused', peer.refused, !departed);
  if (peer.address === undefined) {
    if (departed && forgotten) return gone('no address is known');
    if (departed) return verdict('Unreachable', 'LeaseAbandoned', 'no Lease renewal, and no address is known', false);
    return peer.displacedBy === undefined
      ? verdict('Unresolved', 'NoAddress', unresolvedMessage, true)
      : verdict('Unresolved', 'DuplicateAddress', displacedMessage(peer.displacedBy), true);
  }
  // What it is known to serve is its to answer, whoever leads.
  if (probe === undefined && seen.wasReady === true)
    return verdict('Stale', 'NotYetProbed', 'this leader has not asked it yet; the one before found it ready', true);
  // After a restart it listens before it is ready, so it gets no work until it says that it is.
  if (probe === undefined) return verdict('NotReady', 'NotYetProbed', 'it has not been asked yet', true);
  if (probe.kind === 'refused') {
    // Whoever has the address of a server that has left is not asked for it for ever.
    if (departed && forgotten) return gone(`another is at its address: ${probe.detail}`);
    return verdict('Refused', 'CertificateRefused', probe.detail, !departed);
  }
  if (probe.kind === 'unreachable') {
    if (mayRun) return verdict('Unreachable', 'ConnectionFailed', probe.detail, true);
    if (forgotten) return gone(`no answer: ${probe.detail}`);
    return verdict('Unreachable', 'LeaseAbandoned', `no answer and no Lease renewal: ${probe.detail}`, false);
  }
  // It would refuse its clients too: 403 for what they may do.
  if (probe.kind === 'unauthorized' && seen.mayBeStarting === true)
    return verdict('NotReady', 'Unauthorized', `${probe.detail}, as by a server that has just started`, true);
  if (!fresh) {
    const failure = seen.fetchFailure;
    if (probe.kind === 'notReady') return verdict('NotReady', 'ReadyzFailed', probe.detail, true);
    if (failure === undefined) return verdict('Stale', 'NotYetFetched', 'its discovery has not been read yet', true);
    return verdict('Stale', failure.reason, failure.message, true);
  }
  if (probe.kind === 'notReady') return verdict('NotReady', 'ReadyzFailed', probe.detail, true);
  if (probe.kind === 'unauthorized') return verdict('Stale', 'Unauthorized', probe.detail, true);
  const ready = verdict('Ready', 'Ready', 'serves, and its discovery is fresh', true);
  const returning = seen.returnedAt !== undefined && now - seen.returnedAt < settledAfterMs;
  return returning ? { ...ready, returning } : ready;
}

const unresolvedMessage =
  'its Lease is renewed but no source gives its address: list it in spec.addresses.static, or let the operator read ' +
  'control-plane Nodes or mirror pods';

function displacedMessage(holder: string): string {
  return (
    `its Lease is renewed, but its address is that of ${holder}: where several servers advertise one address, list each ` +
    "one's own in spec.addresses.static"
  );
}
