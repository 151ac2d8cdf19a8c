import type PQueue from 'p-queue';
import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import { assessPeer, type PeerObservation } from '../domain/assess-peer.ts';
import {
  type ApiServiceObject,
  type CustomResourceDefinitionObject,
  classifyDefined,
  type DefinedResources,
} from '../domain/custom-resources.ts';
import { createDeriveMemo, deriveUnifiedView, type PeerView, type UnifiedView } from '../domain/derive-bundle.ts';
import {
  type IdentityLease,
  type LeaseObject,
  type LeaseProblem,
  readIdentityLease,
} from '../domain/identity-lease.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import { rememberPeers } from '../domain/remember-peers.ts';
import { type AddressSource, type ResolvedPeer, resolvePeers } from '../domain/resolve-peers.ts';
import type { Mode, RoutingTable, TableGroupVersion } from '../domain/routing-table.ts';
import type { Clock } from '../runtime/clock.ts';
import { identityLeaseName } from '../runtime/identity-lease-name.ts';
import type { Log } from '../runtime/log.ts';
import { deriveStatus, statusDiffers, type Trouble } from './derive-status.ts';
import { createDocumentEncoder } from './encode-documents.ts';
import { type EndpointSliceObject, gatherAddresses, type NodeObject, type PodObject } from './gather-addresses.ts';
import { type MonitorTiming, monitorPeer, type PeerMonitor } from './peer-monitor.ts';
import {
  type BundleStore,
  type PeerClient,
  type RecordEvent,
  type StatusWriter,
  TerminalError,
  type WatchedSet,
} from './ports.ts';

/** One PeerDiscovery's spec with its defaults, in the units that the code uses. */
export interface ControllerSettings {
  /** Name of the PeerDiscovery. */
  readonly name: string;
  readonly generation: number;
  readonly mode: Mode;
  readonly serverName: string;
  /** True if the Leases are kube-apiservers' own, whose names can be checked against their hostnames. */
  readonly checkLeaseNames: boolean;
  readonly sources: readonly AddressSource[];
  readonly staticEntries: readonly { readonly peer: string; readonly address: string }[];
  readonly nodePort: number;
  readonly checkAddress: (address: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string };
  readonly staleAfterMs: number;
  readonly goneAfterMs: number;
  readonly timing: MonitorTiming;
  readonly routingTable: { readonly namespace: string; readonly name: string };
}

/** What the API server that the operator uses says, each by a watch of its own. */
export interface ClusterSets {
  readonly leases: WatchedSet<LeaseObject>;
  readonly pods: WatchedSet<PodObject>;
  readonly nodes: WatchedSet<NodeObject>;
  readonly endpointSlices: WatchedSet<EndpointSliceObject>;
  readonly crds: WatchedSet<CustomResourceDefinitionObject>;
  readonly apiServices: WatchedSet<ApiServiceObject>;
}

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
  /** A kept connection of this address was lost: ask now whether the server is. */
  connectionLost(address: string): void;
  observations(): ReadonlyMap<string, PeerObservation>;
  /** Resolves when the last pass has ended. */
  stop(): Promise<void>;
}

const tickMs = 1_000;
/** How long a new leader waits for first answers before it publishes what it has. */
const firstAnswersMs = 5_000;
const maxRetryMs = 10_000;
/** A watch reconnects within this time; until then nothing is said about it. */
const leasesGraceMs = 5_000;
const leasesSilentMs = 30_000;

/** Starts the loop: gather what is known, decide purely, publish what changed, write status if it says something new. */
export function startController(context: ControllerContext): Controller {
  const { settings, sets, clock, log } = context;
  const monitors = new Map<string, PeerMonitor>();
  const stopping = new AbortController();
  let wake = new AbortController();
  let notified = true;
  let defined: DefinedResources | undefined;
  let revision: number | undefined;
  let known = context.known;
  let confirmedAt = 0;
  const startedAt = clock.now();
  const memo = createDeriveMemo();
  const encode = createDocumentEncoder();
  let published: (Content & { readonly revision: number; readonly hash: string }) | undefined;
  let lastStatus = context.initialStatus;
  let lastInputs = '';
  let lastUnified: UnifiedView | undefined;
  let lastStates = new Map<string, string>();
  let failures = 0;
  let trouble: Trouble | undefined;

  const notify = () => {
    notified = true;
    wake.abort();
  };
  const monitorContext = {
    client: context.client,
    fetches: context.fetches,
    timing: settings.timing,
    clock,
    random: context.random,
    log,
    onChange: notify,
  };

  function gather(): { readonly peers: readonly ResolvedPeer[]; readonly problems: readonly LeaseProblem[] } {
    const leases: IdentityLease[] = [];
    const problems: LeaseProblem[] = [];
    for (const object of sets.leases.items().values()) {
      const read = readIdentityLease(object, settings.checkLeaseNames ? identityLeaseName : undefined);
      if ('peer' in read) leases.push(read.peer);
      else problems.push(read.problem);
    }
    const addresses = gatherAddresses(
      sets.pods.items().values(),
      sets.nodes.items().values(),
      sets.endpointSlices.items().values(),
      settings.nodePort,
    );
    const facts = { leases, staticEntries: settings.staticEntries, ...addresses };
    const resolved = resolvePeers(facts, settings.sources, settings.checkAddress);
    return { peers: resolved.peers, problems: [...problems, ...resolved.problems] };
  }

  function follow(resolved: readonly ResolvedPeer[]): void {
    const peers = withoutEchoes(resolved);
    const present = new Set(peers.map(({ id }) => id));
    const addresses = new Set(peers.map(({ address }) => address));
    for (const peer of peers) {
      const monitor = monitors.get(peer.id);
      if (monitor === undefined) monitors.set(peer.id, monitorPeer(peer, monitorContext, known?.get(peer.id)));
      else monitor.update(peer);
    }
    for (const [id, monitor] of monitors) {
      if (present.has(id)) continue;
      const { peer } = monitor.observation();
      const { lease: _lease, source: _source, trust: _trust, ...departed } = peer;
      monitor.update(departed);
      const replaced = addresses.has(peer.address);
      if (replaced || assess(monitor.observation()).state === 'Gone') {
        monitor.stop();
        monitors.delete(id);
      }
    }
  }

  /**
   * Leaves out addresses without identity that belong to a server whose Lease has just gone: an EndpointSlice outlives
   * the Lease by some seconds, and what the server served is to be remembered under its name.
   */
  function withoutEchoes(resolved: readonly ResolvedPeer[]): readonly ResolvedPeer[] {
    const ids = new Set(resolved.map(({ id }) => id));
    const departed = new Set<string | undefined>();
    for (const [id, monitor] of monitors) {
      const seen = monitor.observation();
      if (!ids.has(id) && seen.documents !== undefined) departed.add(seen.peer.address);
    }
    return resolved.filter(({ source, address }) => source !== 'EndpointSlice' || !departed.has(address));
  }

  function assess(seen: PeerObservation) {
    return assessPeer(seen, settings, clock.now(), sets.leases.lastContactAtMs ?? clock.now());
  }

  /** Takes over what an earlier leader published, so that a server that is away just now is not forgotten. */
  async function recall(): Promise<void> {
    const found = await context.bundles.read();
    revision = found.revision;
    if (known !== undefined || found.bundle === undefined) return;
    const { table, apis, api } = found.bundle;
    const parse = (text: string) => parseDiscoveryList(JSON.parse(text));
    known = rememberPeers({ table, apis: parse(apis), api: parse(api) }, clock.now());
    for (const [id, { peer, ...observation }] of known)
      monitors.set(id, monitorPeer(peer, monitorContext, observation));
  }

  async function tryToRecall(): Promise<boolean> {
    try {
      await recall();
      return true;
    } catch (error) {
      blame(error, 'what is published cannot be read');
      return false;
    }
  }

  /** Remembers what keeps the table from being published; repetitions are not logged. */
  function blame(error: unknown, what: string): void {
    const before = trouble?.message;
    trouble =
      error instanceof TerminalError
        ? { reason: error.reason, message: error.message, terminal: true }
        : { reason: 'PublishFailed', message: `${what}: ${messageOf(error)}` };
    if (trouble.message !== before) log.warn(what, { error });
  }

  async function pass(): Promise<void> {
    // Without knowing what was published before, nothing may replace it: it may be all that is known of a server.
    const recalled = revision !== undefined || (await tryToRecall());
    const leasesUnknown = judgeLeases(sets.leases, clock.now());
    if (leasesUnknown === 'waiting') return;
    if (leasesUnknown !== undefined) trouble = { reason: 'LeasesUnknown', message: leasesUnknown };
    else if (trouble?.reason === 'LeasesUnknown') trouble = undefined;
    const waiting = Object.values(sets).some((set: WatchedSet<unknown>) => !set.synced && set.failing === undefined);
    if (waiting) return;

    const { peers, problems } = gather();
    follow(peers);
    defined = classifyDefined(sets.crds.items().values(), sets.apiServices.items().values(), defined, clock.now());
    const views = [...monitors.values()].map((monitor) => {
      const seen = monitor.observation();
      return { seen, assessment: assess(seen) };
    });
    // What an earlier leader published stays in force until there is something better than "not yet asked".
    const asking = views.some(({ assessment }) => ['NotYetProbed', 'NotYetFetched'].includes(assessment.reason));
    if (published === undefined && asking && clock.now() - startedAt < firstAnswersMs) return;
    announce(views);
    const inputs = `${leasesUnknown ?? ''} ${fingerprint(views, defined, problems)}`;
    if (inputs !== lastInputs || lastUnified === undefined)
      lastUnified = deriveUnifiedView(views, defined, settings, memo);
    const unified = leasesUnknown === undefined ? lastUnified : withDoubt(lastUnified, leasesUnknown);
    const changed = inputs !== lastInputs || trouble !== undefined;
    if (changed) {
      if (recalled) await publish(unified);
      await writeStatus(views, unified, problems);
    }
    context.observePass(views, unified, published?.revision ?? 0);
    lastInputs = inputs;
    await confirm();
  }

  /** Only after a pass without trouble: a proxy takes silence for doubt. */
  async function confirm(): Promise<void> {
    const at = clock.now();
    if (trouble !== undefined || published === undefined || at - confirmedAt < settings.timing.confirmEveryMs) return;
    await context.bundles.confirm(published.revision);
    confirmedAt = at;
  }

  async function publish(unified: UnifiedView): Promise<void> {
    const { mode, serverName, peers, groupVersions, doubts } = unified;
    const apis = encode(unified.apis);
    const api = encode(unified.api);
    const etags = `${apis.etag} ${api.etag}`;
    const content: Content = { head: JSON.stringify({ mode, serverName, peers, doubts, etags }), groupVersions };
    if (published !== undefined && sameContent(published, content)) return;
    try {
      revision ??= (await context.bundles.read()).revision;
      const next = revision + 1;
      const table: RoutingTable = {
        apiVersion: 'peerdiscovery.dev/v1alpha1',
        kind: 'RoutingTable',
        owner: settings.name,
        mode,
        revision: next,
        serverName,
        complete: doubts.length === 0,
        doubts,
        peers,
        groupVersions,
      };
      const overtaken = await context.bundles.publish({
        table,
        apis: apis.text,
        apisEtag: apis.etag,
        api: api.text,
        apiEtag: api.etag,
      });
      if (overtaken !== undefined) {
        revision = undefined;
        throw new Error(`another writer has published revision ${overtaken.overtakenBy ?? 'meanwhile'}`);
      }
      revision = next;
      published = { ...content, revision: next, hash: apis.etag.slice(0, 16) };
      trouble = trouble?.reason === 'LeasesUnknown' ? trouble : undefined;
      log.info('published the routing table', { revision: next, complete: table.complete, peers: peers.length });
    } catch (error) {
      blame(error, 'the routing table cannot be written');
    }
  }

  async function writeStatus(views: readonly PeerView[], unified: UnifiedView, leaseProblems: readonly LeaseProblem[]) {
    const { generation, routingTable } = settings;
    const input = {
      generation,
      unified,
      views,
      leaseProblems,
      routingTable,
      ...(published !== undefined && { published }),
      ...(trouble !== undefined && { trouble }),
    };
    const status = deriveStatus(input, lastStatus, clock.now());
    if (!statusDiffers(lastStatus, status)) return;
    await context.status.write(status);
    lastStatus = status;
  }

  function announce(views: readonly PeerView[]): void {
    const states = new Map(views.map(({ seen, assessment }) => [seen.peer.id, assessment.state as string]));
    for (const { seen, assessment } of views) {
      const before = lastStates.get(seen.peer.id);
      if (before === assessment.state) continue;
      const who = `${seen.peer.hostname ?? seen.peer.id} (${seen.peer.address ?? 'no address'})`;
      const good = assessment.state === 'Ready';
      if (before === undefined && !good) continue;
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
      try {
        await pass();
        failures = trouble === undefined ? 0 : failures + 1;
      } catch (error) {
        failures += 1;
        // The inputs of a failed pass count as unseen, so that the next one does everything again.
        lastInputs = '';
        log.warn('a pass failed and will be repeated', { error });
      }
      context.observeReconcile(failures === 0 ? 'success' : 'error', (clock.now() - startedAt) / 1_000);
      if (notified && failures === 0) continue;
      wake = new AbortController();
      const retryMs = context.random() * Math.min(maxRetryMs, tickMs * 2 ** Math.min(failures, 5));
      const waitMs = failures === 0 ? tickMs : retryMs;
      await clock.sleep(waitMs, AbortSignal.any([wake.signal, stopping.signal]));
    }
    for (const monitor of monitors.values()) monitor.stop();
  }
  const running = run();

  const pokeAll = () => {
    for (const monitor of monitors.values()) monitor.poke();
  };
  return {
    notify,
    definitionsChanged() {
      notify();
      pokeAll();
      // A server's discovery follows its own watch of the definition, so ask again a little later.
      for (const delayMs of [300, 1_000, 3_000])
        void clock.sleep(delayMs, stopping.signal).then(() => {
          if (!stopping.signal.aborted) pokeAll();
        });
    },
    connectionLost(address) {
      for (const monitor of monitors.values()) if (monitor.observation().peer.address === address) monitor.poke();
    },
    observations: () => new Map([...monitors].map(([id, monitor]) => [id, monitor.observation()])),
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
function judgeLeases(leases: WatchedSet<LeaseObject>, now: number): string | undefined {
  const { failing, lastContactAtMs } = leases;
  if (!leases.synced && failing === undefined) return 'waiting';
  if (failing !== undefined && (!leases.synced || now - failing.since > leasesGraceMs))
    return `the identity Leases cannot be read: ${failing.message}`;
  const silentMs = lastContactAtMs === undefined ? 0 : now - lastContactAtMs;
  // No figure in the text: it would be news in every pass.
  if (leases.items().size > 0 && silentMs > leasesSilentMs)
    return 'the watch of the identity Leases is silent, though a live kube-apiserver renews its own every 10 s';
  return undefined;
}

function withDoubt(unified: UnifiedView, message: string): UnifiedView {
  return { ...unified, doubts: [{ peer: '', reason: 'LeasesUnknown', message }, ...unified.doubts] };
}

/** What a publication says. */
interface Content {
  /** All of it but the rows, as text. */
  readonly head: string;
  readonly groupVersions: readonly TableGroupVersion[];
}

/** Rows that nobody changed are the same objects; only the others are compared word for word. */
function sameContent(a: Content, b: Content): boolean {
  return (
    a.head === b.head &&
    a.groupVersions.length === b.groupVersions.length &&
    a.groupVersions.every((row, index) => {
      const other = b.groupVersions[index];
      return row === other || JSON.stringify(row) === JSON.stringify(other);
    })
  );
}

/** Everything that a pass's outcome depends on, as text: equal text, equal outcome. */
function fingerprint(views: readonly PeerView[], defined: DefinedResources, problems: readonly LeaseProblem[]): string {
  const pending = defined.deletedAt.size > 0;
  const rows = views.map(({ seen, assessment }) => {
    const { lease: _, ...peer } = seen.peer;
    const { documents, documentsAt, version, peerAggregated } = seen;
    return [peer, assessment, documents?.hash, documents?.etags, version, peerAggregated, pending && documentsAt];
  });
  return JSON.stringify([rows, [...defined.custom], [...defined.aggregated], [...defined.deletedAt], problems]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
