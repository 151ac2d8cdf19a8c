import type PQueue from 'p-queue';
import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { PeerObservation } from '../domain/assess-peer.ts';
import { createDeriveMemo, type PeerView, type UnifiedView } from '../domain/derive-bundle.ts';
import { createBackoff } from '../runtime/backoff.ts';
import { type Clock, dateOf } from '../runtime/clock.ts';
import { hashText } from '../runtime/hash-text.ts';
import type { Log } from '../runtime/log.ts';
import { createStrangerQueue } from '../runtime/stranger-queue.ts';
import { applyReport, applyTable } from './apply.ts';
import { derive } from './derive.ts';
import type { Trouble } from './derive-status.ts';
import { createDocumentEncoder } from './encode-documents.ts';
import { createPeerRoster } from './follow-peers.ts';
import { gather, type Inbox, isOverwritten, withQuestion } from './gather.ts';
import { createSchemaGatherer } from './gather-schemas.ts';
import { initialState, type PassState } from './pass-state.ts';
import { planReport, planTable } from './plan.ts';
import type { BundleStore, ClusterSets, PeerClient, RecordEvent, SpecRefusal, StatusWriter } from './ports.ts';
import type { ControllerSettings } from './read-settings.ts';
import { settleCount } from './settle-count.ts';
import type { LiveView } from './status-page/build-report.ts';

/** Receives the results of each pass, for metrics. */
export type ObservePass = (views: readonly PeerView[], unified: UnifiedView, revision: number) => void;

/** Everything that one PeerDiscovery's controller depends on. */
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
  /** Observations of the object's previous controller, so that a change of spec loses nothing. */
  readonly known?: ReadonlyMap<string, PeerObservation>;
  readonly initialStatus?: PeerDiscoveryStatus | undefined;
}

/** Keeps one PeerDiscovery's status and routing table current until stopped. */
export interface Controller {
  /** Something outside has changed: start a pass as soon as possible. */
  notify(): void;
  /** A CRD or APIService has changed: every peer's discovery will soon change too. */
  definitionsChanged(): void;
  /** The server at this address may have gone or may be behind: probe it now. */
  askNow(address: string): void;
  /** A proxy asks for a confirmation that names this question. */
  confirmationAsked(question: string): void;
  /** The object's present status. If another client has overwritten this controller's conditions, it restores them. */
  statusFound(status: PeerDiscoveryStatus | undefined): void;
  /** The object has a newer spec, which is invalid. From now on, the status reports this for the newer generation. */
  specRefused(refusal: SpecRefusal): void;
  observations(): ReadonlyMap<string, PeerObservation>;
  /** The present knowledge, without asking a server. */
  live(): LiveView;
  /** Resolves when the last pass has ended. */
  stop(): Promise<void>;
}

const tickMs = 1_000;
/** The number of addresses probed at once at which no server has been verified yet. */
const maxStrangers = 32;
const maxRetryMs = 10_000;
const emptyInbox: Readonly<Inbox> = { notified: false, questions: [] };

/**
 * Starts the loop, with one pass per change and one each second. A pass is four verbs over one state: gather what is
 * known, derive what follows, plan what to do about it, apply the plan.
 */
export function startController(context: ControllerContext): Controller {
  const { settings, sets, client, fetches, clock, random, log } = context;
  const stopping = new AbortController();
  let wake = new AbortController();
  let state = initialState(clock.now(), context.initialStatus);
  let inbox: Inbox = { ...emptyInbox, notified: true };
  const receive = (news: Partial<Inbox>) => {
    inbox = { ...inbox, ...news };
    if (hasNews()) wake.abort();
  };
  const hasNews = () => inbox.notified || isOverwritten(state, inbox.status);
  const notify = () => receive({ notified: true });

  const strangers = createStrangerQueue(maxStrangers);
  const monitoring = { client, fetches, strangers, timing: settings.timing, clock, random, log, onChange: notify };
  const roster = createPeerRoster(settings, sets, monitoring, context.known);
  const schemas = createSchemaGatherer({ client, clock, hash: hashText, onChange: notify });
  const { name: owner, routingTable: location } = settings;
  const publishing = { owner, location, bundles: context.bundles, clock, log, encode: createDocumentEncoder() };
  const sources = { settings, sets, roster, schemas, publishing, clock };
  const outlets = { publishing, status: context.status, recordEvent: context.recordEvent, log };
  const memo = createDeriveMemo();
  const backoff = createBackoff({ baseMs: 2 * tickMs, capMs: maxRetryMs, random });

  /** Resolves to the reason why the operator cannot do its work. A bug throws. */
  async function pass(): Promise<Trouble | undefined> {
    const received = inbox;
    inbox = emptyInbox;
    const gathered = await gather(sources, state, received);
    state = gathered.state;
    const { facts } = gathered;
    if (facts === undefined) return undefined;
    const derived = derive(facts, state.derived, settings, memo);
    state = { ...state, derived };
    schemas.follow(facts.views, derived.unified);
    state = await applyTable(planTable(state, facts, derived, settings), state, outlets);
    context.observePass(facts.views, derived.unified, state.publication.published?.revision ?? 0);
    const plan = planReport(state, facts, derived, settings, (at) => dateOf(clock, at));
    state = await applyReport(plan, state, clock.now(), outlets);
    return plan.trouble;
  }

  /** Returns true if nothing prevented the operator's work. */
  async function tryPass(): Promise<boolean> {
    const startedAt = clock.now();
    let done = false;
    try {
      done = (await pass()) === undefined;
    } catch (error) {
      state = afterFault(state);
      log.warn('a pass failed; repeating it', { error });
    }
    const result = done && state.report.failedAt === undefined ? 'success' : 'error';
    context.observeReconcile(result, (clock.now() - startedAt) / 1_000);
    return done;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const done = await tryPass();
      if (done) backoff.reset();
      if (stopping.signal.aborted || (done && hasNews())) continue;
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
      // A server's discovery follows its own watch of the definition, so the controller reads it again a little later.
      // The last read comes after a deletion has settled: a server serves what it then lists.
      for (const delayMs of [300, 1_000, 3_000, 6_000])
        void clock.sleep(delayMs, stopping.signal).then(() => {
          if (!stopping.signal.aborted) roster.poke();
        });
    },
    askNow: (address) => roster.poke(address),
    confirmationAsked: (question) => receive(withQuestion(inbox, question)),
    statusFound: (status) => receive({ status }),
    specRefused: (refused) => receive({ notified: true, refused }),
    observations: () => roster.observations(),
    live: () => ({
      views: settleCount(roster.views(state.hearing), state.count, clock.now()).survey.views,
      unified: state.derived?.unified,
    }),
    async stop() {
      stopping.abort();
      wake.abort();
      await running;
    },
  };
}

/** The inputs of a failed pass count as unseen, so that the next pass repeats everything. */
function afterFault(state: PassState): PassState {
  return { ...state, derived: undefined };
}
