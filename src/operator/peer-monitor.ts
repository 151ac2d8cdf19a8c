import type PQueue from 'p-queue';
import {
  leaseAbandonedAfterMs,
  type PeerDocuments,
  type PeerObservation,
  startingForMs,
} from '../domain/assess-peer.ts';
import type { SchemaIndex } from '../domain/compare-schemas.ts';
import type { ResolvedPeer } from '../domain/resolve-peers.ts';
import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { PeerClient } from './ports.ts';
import { type ProbeContext, probeAddress, readAnswer } from './probe-address.ts';

/** How often to ask, in milliseconds. */
export interface MonitorTiming {
  readonly pollIntervalMs: number;
  /** Between two requests to `/readyz` of a ready server. */
  readonly probeIntervalMs: number;
  /** Between two requests to `/readyz` of a server that is starting, draining, or away with a renewed Lease. */
  readonly eagerProbeIntervalMs: number;
  /** Upper bound of the delay after failures. */
  readonly maxBackoffMs: number;
}

/** The dependencies of a monitor. */
export interface MonitorContext extends ProbeContext {
  readonly client: PeerClient;
  /** Bounds how many servers' documents are read at once. */
  readonly fetches: PQueue;
  readonly timing: MonitorTiming;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Called after every change that a pass should see, except those that a pass itself makes. */
  readonly onChange: () => void;
}

/** Keeps one peer's observation current until stopped. */
export interface PeerMonitor {
  observation(): PeerObservation;
  /** Updates the identity of the peer. A new holder or address puts its documents in doubt. */
  update(peer: ResolvedPeer): void;
  /** Takes over earlier knowledge about the peer, unless its documents have been read since. */
  recall(known: Partial<PeerObservation>): void;
  /** Asks again at once instead of at the next turn, and reads discovery even if that is not yet due. */
  poke(): void;
  stop(): void;
}

/**
 * Schemas change with their server's version, which is read with its documents, or with a CRD, which only the status
 * shows.
 */
const schemaIntervalMs = 300_000;

/** Starts to watch one peer. A failure is an observation, never an exception, and retries never end. */
export function monitorPeer(
  peer: ResolvedPeer,
  context: MonitorContext,
  known?: Partial<PeerObservation>,
): PeerMonitor {
  const { client, clock, timing } = context;
  const stopping = new AbortController();
  const unasked = peer.address === undefined || peer.refused !== undefined;
  let seen: PeerObservation = {
    ...(unasked && { unreachableSince: clock.now() }),
    ...known,
    peer,
    ...(peer.lease !== undefined && { leaseChangedAt: known?.leaseChangedAt ?? clock.now() }),
  };
  let fetchDueAt = 0;
  let schemasDueAt = 0;
  /** Since when it has refused the operator's credential, unless it accepted it before. */
  let refusingSince: number | undefined;
  /** True while it must become ready again, because it was seen not ready, moved or restarted. */
  let wasAway = known?.probe !== undefined && known.probe.kind !== 'ready';
  const backoff = createBackoff({ baseMs: 500, capMs: timing.maxBackoffMs, random: context.random });
  /** The address, once a server with a verified certificate has answered there. */
  let acquainted = known?.documents === undefined ? undefined : peer.address;
  let pokes = 0;
  let wake = new AbortController();

  const change = (next: PeerObservation, notify: boolean) => {
    seen = next;
    if (notify) context.onChange();
  };

  async function probe(address: string): Promise<void> {
    const before = seen.probe?.kind;
    const { trust } = seen.peer;
    const result = await probeAddress({ address, trust, isKnown: acquainted === address }, context, stopping.signal);
    if (result === undefined || stopping.signal.aborted || seen.peer.address !== address) return;
    if (readAnswer(result)?.verified === true) acquainted = address;
    const { unreachableSince: since, documentsAt, mayBeStarting: wasStarting = false, wasReady: _, ...rest } = seen;
    if (result.kind !== 'unauthorized') refusingSince = undefined;
    else if (before !== 'unauthorized' && before !== 'ready') refusingSince = clock.now();
    const mayBeStarting = refusingSince !== undefined && clock.now() - refusingSince < startingForMs;
    const unreachable = result.kind === 'unreachable' || result.kind === 'refused';
    const returned = result.kind === 'ready' && wasAway;
    wasAway = result.kind !== 'ready' && (wasAway || before !== undefined || since !== undefined);
    const next = {
      ...rest,
      probe: result,
      ...(returned && { returnedAt: clock.now() }),
      ...(mayBeStarting && { mayBeStarting }),
      // A server that answers again after it was away may have another version, so its earlier reports are in doubt.
      ...(documentsAt !== undefined && (unreachable || since === undefined) && { documentsAt }),
      ...(unreachable && { unreachableSince: since ?? clock.now() }),
    };
    if (result.kind === 'ready' && before !== 'ready') fetchDueAt = 0;
    change(next, before !== result.kind || wasStarting !== mayBeStarting);
  }

  async function fetch(address: string): Promise<void> {
    const holder = seen.peer.lease?.holderIdentity;
    const startedAt = clock.now();
    const previous = seen.documentsAt === undefined ? undefined : seen.documents;
    const result = await client.fetchDiscovery(address, previous, stopping.signal);
    if (stopping.signal.aborted || seen.peer.address !== address || seen.peer.lease?.holderIdentity !== holder) return;
    if (result.kind === 'failed') {
      fetchDueAt = clock.now() + backoff.nextMs();
      const repeated = seen.fetchFailure?.reason === result.reason;
      change({ ...seen, fetchFailure: { reason: result.reason, message: result.message } }, !repeated);
      return;
    }
    backoff.reset();
    fetchDueAt = clock.now() + timing.pollIntervalMs * (0.8 + 0.4 * context.random());
    // The operator must know whether its version changed before it counts as ready.
    const inDoubt = seen.documentsAt === undefined;
    const news = result.documents !== seen.documents || inDoubt || seen.fetchFailure !== undefined;
    const learnt = news ? await learnMore(address, result.documents, inDoubt) : undefined;
    if (news && learnt === undefined) return;
    if (seen.peer.address !== address || seen.peer.lease?.holderIdentity !== holder) return;
    const { fetchFailure: _, ...rest } = learnt ?? seen;
    change({ ...rest, documents: result.documents, documentsAt: startedAt }, news);
    if (!news && clock.now() >= schemasDueAt) await learnSchemas(address);
  }

  async function learnSchemas(address: string): Promise<void> {
    const schemas = await fetchSchemas(address, seen.schemas);
    if (stopping.signal.aborted || schemas === undefined || seen.peer.address !== address) return;
    change({ ...seen, schemas }, schemas.digest !== seen.schemas?.digest);
  }

  function fetchSchemas(address: string, before: SchemaIndex | undefined): Promise<SchemaIndex | undefined> {
    schemasDueAt = clock.now() + schemaIntervalMs * (0.8 + 0.4 * context.random());
    return client.fetchSchemas(address, before, stopping.signal);
  }

  /**
   * Adds facts that belong to these documents. If the old ones are in doubt, keeps only facts that the server reports
   * again.
   */
  async function learnMore(
    address: string,
    documents: PeerDocuments,
    inDoubt: boolean,
  ): Promise<PeerObservation | undefined> {
    const [served, peerAggregated, schemas] = await Promise.all([
      client.fetchVersion(address, stopping.signal),
      client.detectPeerAggregation(address, documents, stopping.signal),
      fetchSchemas(address, seen.schemas),
    ]);
    if (stopping.signal.aborted) return undefined;
    const { version, emulatedVersion, schemas: schemasBefore, ...rest } = seen;
    const known = served ?? (inDoubt ? {} : { version, emulatedVersion });
    const hashes = schemas ?? (inDoubt ? undefined : schemasBefore);
    return {
      ...rest,
      ...(known.version !== undefined && { version: known.version }),
      ...(known.emulatedVersion !== undefined && { emulatedVersion: known.emulatedVersion }),
      ...(hashes !== undefined && { schemas: hashes }),
      ...(peerAggregated !== undefined && { peerAggregated }),
    };
  }

  function waitMs(): number {
    const kind = seen.probe?.kind;
    if (kind === 'ready') return Math.min(timing.probeIntervalMs, Math.max(0, fetchDueAt - clock.now()));
    const leaseRenewed = seen.leaseChangedAt !== undefined && clock.now() - seen.leaseChangedAt < leaseAbandonedAfterMs;
    return kind === 'notReady' || leaseRenewed ? timing.eagerProbeIntervalMs : timing.probeIntervalMs;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const address = seen.peer.refused === undefined ? seen.peer.address : undefined;
      const pokesBefore = pokes;
      if (address !== undefined) {
        await probe(address);
        if (seen.probe?.kind === 'ready' && clock.now() >= fetchDueAt)
          await context.fetches.add(() => fetch(address), { priority: -Math.min(backoff.attempts, 10) });
      }
      if (pokes !== pokesBefore || stopping.signal.aborted) continue;
      if (wake.signal.aborted) wake = new AbortController();
      await clock.sleep(address === undefined ? timing.pollIntervalMs : waitMs(), wake.signal);
    }
  }

  void run().catch((error: unknown) => {
    if (!stopping.signal.aborted) context.log.error('the monitor of a peer ended', { peer: peer.id, error });
  });

  const poke = () => {
    pokes += 1;
    fetchDueAt = 0;
    wake.abort();
  };
  return {
    observation: () => seen,
    update(next) {
      const before = seen.peer;
      const moved = next.address !== before.address;
      const restarted = next.lease !== undefined && next.lease.holderIdentity !== before.lease?.holderIdentity;
      const renewed = restarted || (next.lease !== undefined && next.lease.renewTime !== before.lease?.renewTime);
      const { leaseChangedAt, documentsAt, probe: lastProbe, unreachableSince, wasReady, ...rest } = seen;
      const inDoubt = moved || restarted;
      const leaseGone = next.lease === undefined;
      // If it cannot be asked, it is away from then on, until it answers.
      const since = moved ? undefined : unreachableSince;
      const away = since ?? (next.address === undefined || next.refused !== undefined ? clock.now() : undefined);
      seen = {
        ...rest,
        peer: next,
        ...(!leaseGone && { leaseChangedAt: renewed || leaseChangedAt === undefined ? clock.now() : leaseChangedAt }),
        ...(away !== undefined && { unreachableSince: away }),
        ...(!inDoubt && documentsAt !== undefined && { documentsAt }),
        ...(!inDoubt && lastProbe !== undefined && { probe: lastProbe }),
        // A table does not say which process it was, so the first Lease seen is no sign of a restart.
        ...(wasReady === true && !moved && (before.lease === undefined || !restarted) && { wasReady }),
      };
      if (inDoubt) {
        wasAway ||= lastProbe !== undefined;
        poke();
      }
    },
    recall({ peer: _, ...known }) {
      if (seen.documents === undefined) seen = { ...known, ...seen };
    },
    poke,
    stop: () => {
      stopping.abort();
      wake.abort();
    },
  };
}
