import type PQueue from 'p-queue';
import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { PeerObservation } from '../domain/assess-peer.ts';
import { classifyDefined, type DefinedResources } from '../domain/custom-resources.ts';
import { createDeriveMemo, deriveUnifiedView, type PeerView, type UnifiedView } from '../domain/derive-bundle.ts';
import type { LeaseObject, LeaseProblem } from '../domain/identity-lease.ts';
import type { Doubt } from '../domain/routing-table.ts';
import { createBackoff } from '../runtime/backoff.ts';
import { type Clock, dateOf } from '../runtime/clock.ts';
import { hashText } from '../runtime/hash-text.ts';
import type { Log } from '../runtime/log.ts';
import { deriveStatus, statusDiffers, type Trouble } from './derive-status.ts';
import { type ClusterSets, createPeerRoster } from './follow-peers.ts';
import { createSchemaGatherer } from './gather-schemas.ts';
import type { BundleStore, PeerClient, RecordEvent, StatusWriter, WatchedSet } from './ports.ts';
import { createPublisher } from './publish-table.ts';
import type { ControllerSettings } from './read-settings.ts';
import type { LiveView } from './status-page/build-report.ts';

/** Numbers for metrics after each pass. */
export type ObservePass = (views: readonly PeerView[], unified: UnifiedView, revision: number) => void;

/** Everything that the controller of one PeerDiscovery depends on. */
export interface ControllerContext {
  readonly settings: ControllerSettings;
  readonly sets: ClusterSets;
  readonly client: PeerClient;
  readonly fetches: PQueue;
  readonly bundles: BundleStore;
  readonly status: StatusWriter;
  readonly recordEvent: RecordEvent;
  readonly observePass: ObservePass;
  readonly observeReconcile: (result: 'success' | 'error', seconds: number) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Observations of an earlier controller of the same object, so that a change of spec loses nothing. */
  readonly known?: ReadonlyMap<string, PeerObservation>;
  readonly initialStatus?: PeerDiscoveryStatus | undefined;
}

/** Keeps one PeerDiscovery's status and routing table true until stopped. */
export interface Controller {
  /** Something outside has changed: pass as soon as possible. */
  notify(): void;
  /** A CRD or APIService has changed: every peer's discovery is about to change too. */
  definitionsChanged(): void;
  /** The server at this address may have gone or may be behind: ask it now. */
  askNow(address: string): void;
  /** A proxy has asked for a confirmation that names this question. */
  confirmationAsked(question: string): void;
  /** What the object's status says now; what another has written over this controller's conditions is put right. */
  statusFound(status: PeerDiscoveryStatus | undefined): void;
  observations(): ReadonlyMap<string, PeerObservation>;
  /** What it knows now, without asking anybody. */
  live(): LiveView;
  /** Resolves when the last pass has ended. */
  stop(): Promise<void>;
}

const tickMs = 1_000;
/** How long a new leader waits for first answers before it publishes what it has. */
const firstAnswersMs = 5_000;
/** States that waiting does not mend: a peer that begins with one never was well. */
const firstSeenBad: ReadonlySet<string> = new Set(['Refused', 'Unresolved']);
const maxRetryMs = 10_000;
/** Between attempts to write a status that could not be written. */
const statusRetryMs = 5_000;
/** How many questions of proxies are answered at once; more than there are proxies. */
const maxQuestions = 200;
/** A watch reconnects within this time; until then nothing is said about it. */
const leasesGraceMs = 5_000;
const leasesSilentMs = 30_000;

/**
 * Starts the loop: gather what is known, decide purely, publish what changed, write status if it says something new.
 */
export function startController(context: ControllerContext): Controller {
  const { settings, sets, clock, log } = context;
  const stopping = new AbortController();
  let wake = new AbortController();
  let notified = true;
  const notify = () => {
    notified = true;
    wake.abort();
  };
  const { client, fetches, bundles, random } = context;
  const { timing, name: owner } = settings;
  const monitoring = { client, fetches, timing, clock, random, log, onChange: notify };
  const roster = createPeerRoster(settings, sets, monitoring, context.known);
  const publisher = createPublisher({ owner, bundles, confirmEveryMs: settings.confirmEveryMs, clock, log });
  const memo = createDeriveMemo();
  const schemas = createSchemaGatherer({ client, clock, hash: hashText, onChange: notify });
  const startedAt = clock.now();
  let defined: DefinedResources | undefined;
  let lastStatus = context.initialStatus;
  let lastInputs = '';
  /** What the status that was written last is about; empty if it is to be written anew. */
  let lastSaid = '';
  let statusTroubleAt: number | undefined;
  let lastUnified: UnifiedView | undefined;
  let lastStates = new Map<string, string>();
  let lastTold = '';
  const backoff = createBackoff({ baseMs: 2 * tickMs, capMs: maxRetryMs, random: context.random });
  /** Of proxies, since the last pass. Who gets no answer asks again. */
  const questions: string[] = [];

  /** Resolves to what keeps the operator from its work; a fault of its own is an exception. */
  async function pass(): Promise<Trouble | undefined> {
    // Without knowing what was published before, nothing may replace it: it may be all that is known of a server.
    const recalled = await publisher.recall();
    if (recalled !== undefined) roster.remember(recalled);
    const unknown = judgeLeases(sets.leases, clock.now()) ?? judgeEndpoints(sets, settings, clock.now());
    if (unknown === 'waiting') return undefined;
    const waiting = Object.values(sets).some((set: WatchedSet<unknown>) => !set.synced && set.failing === undefined);
    if (waiting) return undefined;

    const problems = roster.follow();
    defined = classifyDefined(sets.crds.items().values(), sets.apiServices.items().values(), defined, clock.now());
    const { views, doubt } = roster.survey();
    // What an earlier leader published stays in force until there is something better than "not yet asked".
    const asking = views.some(({ assessment }) => ['NotYetProbed', 'NotYetFetched'].includes(assessment.reason));
    if (publisher.published === undefined && asking && clock.now() - startedAt < firstAnswersMs) return undefined;
    announce(views);
    const { knowledge } = schemas;
    const inputs = `${unknown?.message ?? ''} ${knowledge.revision} ${fingerprint(views, defined, problems)} ${doubt?.message ?? ''}`;
    if (inputs !== lastInputs || lastUnified === undefined)
      lastUnified = deriveUnifiedView(views, defined, settings, memo, { knowledge, remembered: publisher.remembered });
    schemas.follow(views, lastUnified);
    const unified = [doubt, unknown].reduce(withDoubt, lastUnified);
    const inTrouble = unknown !== undefined || publisher.trouble !== undefined;
    if (recalled !== undefined && (inputs !== lastInputs || inTrouble)) await publisher.publish(unified);
    lastInputs = inputs;
    // Only after a pass without trouble: a proxy takes silence for doubt.
    if (unknown === undefined) await publisher.confirm(questions.splice(0));
    const { trouble = unknown } = publisher;
    announceStandstill(trouble);
    const revision = publisher.published?.revision ?? 0;
    context.observePass(views, unified, revision);
    const said = `${revision} ${trouble?.reason ?? ''} ${trouble?.message ?? ''} ${inputs}`;
    if (said !== lastSaid) {
      if (await tryStatus(() => writeStatus(views, unified, problems, trouble))) lastSaid = said;
    }
    return trouble;
  }

  /** False if it could not be written, which is logged once, tried again after a while, and holds up nothing else. */
  async function tryStatus(write: () => Promise<void>): Promise<boolean> {
    if (statusTroubleAt !== undefined && clock.now() - statusTroubleAt < statusRetryMs) return false;
    try {
      await write();
      statusTroubleAt = undefined;
      return true;
    } catch (error) {
      if (statusTroubleAt === undefined) log.warn('the status cannot be written and will be tried again', { error });
      statusTroubleAt = clock.now();
      return false;
    }
  }

  async function writeStatus(
    views: readonly PeerView[],
    unified: UnifiedView,
    leaseProblems: readonly LeaseProblem[],
    trouble: Trouble | undefined,
  ): Promise<void> {
    const { generation, routingTable } = settings;
    const { published } = publisher;
    const input = {
      generation,
      unified,
      views,
      leaseProblems,
      routingTable,
      ...(published !== undefined && { published }),
      ...(trouble !== undefined && { trouble }),
    };
    const status = deriveStatus(input, lastStatus, clock.now(), (at) => dateOf(clock, at));
    if (!statusDiffers(lastStatus, status)) return;
    await context.status.write(status);
    lastStatus = status;
  }

  /** Once for each trouble that `Stalled` tells. */
  function announceStandstill(trouble: Trouble | undefined): void {
    const told = trouble?.terminal === true ? `${trouble.reason}: ${trouble.message}` : '';
    if (trouble !== undefined && told !== '' && told !== lastTold)
      context.recordEvent('Warning', trouble.reason, trouble.message);
    lastTold = told;
  }

  function announce(views: readonly PeerView[]): void {
    const states = new Map(views.map(({ seen, assessment }) => [seen.peer.id, assessment.state as string]));
    for (const { seen, assessment } of views) {
      const before = lastStates.get(seen.peer.id);
      if (before === assessment.state) continue;
      const who = `${seen.peer.hostname ?? seen.peer.id} (${seen.peer.address ?? 'no address'})`;
      const good = assessment.state === 'Ready';
      if (before === undefined && !good && !firstSeenBad.has(assessment.state)) continue;
      context.recordEvent(good ? 'Normal' : 'Warning', `Peer${assessment.state}`, `${who}: ${assessment.message}`);
      log.info('a peer changed its state', {
        peer: seen.peer.id,
        who,
        before,
        state: assessment.state,
        why: assessment.message,
      });
    }
    for (const [id] of lastStates) if (!states.has(id)) log.info('a peer left', { peer: id });
    lastStates = states;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      notified = false;
      const startedAt = clock.now();
      let done = false;
      try {
        done = (await pass()) === undefined;
      } catch (error) {
        // The inputs of a failed pass count as unseen, so that the next one does everything again.
        lastInputs = '';
        log.warn('a pass failed and will be repeated', { error });
      }
      if (done) backoff.reset();
      const result = done && statusTroubleAt === undefined ? 'success' : 'error';
      context.observeReconcile(result, (clock.now() - startedAt) / 1_000);
      if (stopping.signal.aborted || (notified && done)) continue;
      if (wake.signal.aborted) wake = new AbortController();
      await clock.sleep(done ? tickMs : backoff.nextMs(), wake.signal);
    }
    roster.stop();
    schemas.stop();
  }
  const running = run();

  return {
    notify,
    definitionsChanged() {
      notify();
      roster.poke();
      // A server's discovery follows its own watch of the definition, so ask again a little later.
      // The last time is after a deletion has settled: what is listed then is served, whatever was deleted.
      for (const delayMs of [300, 1_000, 3_000, 6_000])
        void clock.sleep(delayMs, stopping.signal).then(() => {
          if (!stopping.signal.aborted) roster.poke();
        });
    },
    askNow: (address) => roster.poke(address),
    confirmationAsked(question) {
      questions.push(question);
      if (questions.length > maxQuestions) questions.shift();
      notify();
    },
    statusFound(status) {
      if (lastStatus === undefined || sayConditions(status) === sayConditions(lastStatus)) return;
      lastStatus = status;
      lastSaid = '';
      notify();
    },
    observations: () => roster.observations(),
    live: () => ({ views: roster.survey().views, unified: lastUnified }),
    async stop() {
      stopping.abort();
      wake.abort();
      await running;
    },
  };
}

/**
 * Says why the Leases are not known well enough to vouch for a 404, `waiting` before the first list.
 *
 * Every live server renews its Lease each 10 s, so a watch that is silent for three renewals has died unnoticed.
 */
function judgeLeases(leases: WatchedSet<LeaseObject>, now: number): Trouble | 'waiting' | undefined {
  const reason = 'LeasesUnknown';
  const { failing, lastContactAtMs } = leases;
  if (!leases.synced && failing === undefined) return 'waiting';
  if (failing !== undefined && (!leases.synced || now - failing.since > leasesGraceMs))
    return { reason, message: `the identity Leases cannot be read: ${failing.message}` };
  const silentMs = lastContactAtMs === undefined ? 0 : now - lastContactAtMs;
  // No figure in the text: it would be news in every pass.
  if (leases.items().size > 0 && silentMs > leasesSilentMs)
    return {
      reason,
      message: 'the watch of the identity Leases is silent, though a live kube-apiserver renews its own every 10 s',
    };
  return undefined;
}

/** Says why servers without a Lease would not be seen, where the EndpointSlice is to tell of them. */
function judgeEndpoints(
  { endpointSlices: { failing, synced } }: ClusterSets,
  { sources }: ControllerSettings,
  now: number,
): Trouble | undefined {
  if (!sources.includes('EndpointSlice') || failing === undefined) return undefined;
  if (synced && now - failing.since <= leasesGraceMs) return undefined;
  return {
    reason: 'EndpointsUnknown',
    message:
      `the EndpointSlice of default/kubernetes cannot be read: ${failing.message}; allow it, or leave EndpointSlice out ` +
      'of spec.addresses.sources',
  };
}

/** The conditions as text, without their times. */
function sayConditions(status: PeerDiscoveryStatus | undefined): string {
  const said = (status?.conditions ?? []).map(({ type, status, reason, message }) => [type, status, reason, message]);
  return JSON.stringify(said.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)));
}

function withDoubt(unified: UnifiedView, doubt: Pick<Doubt, 'reason' | 'message'> | undefined): UnifiedView {
  if (doubt === undefined) return unified;
  const { reason, message } = doubt;
  return { ...unified, doubts: [{ peer: '', reason, message }, ...unified.doubts] };
}

/** Everything that a pass's outcome depends on, as text: equal text, equal outcome. */
function fingerprint(views: readonly PeerView[], defined: DefinedResources, problems: readonly LeaseProblem[]): string {
  const pending = defined.deletedAt.size > 0;
  const rows = views.map(({ seen, assessment }) => {
    const { lease: _, ...peer } = seen.peer;
    const { documents, documentsAt, version, emulatedVersion, peerAggregated, schemas } = seen;
    return [
      peer,
      assessment,
      documents?.hash,
      documents?.etags,
      version,
      emulatedVersion,
      peerAggregated,
      schemas?.digest,
      pending && documentsAt,
    ];
  });
  return JSON.stringify([rows, [...defined.custom], [...defined.aggregated], [...defined.deletedAt], problems]);
}
