import PQueue from 'p-queue';
import type { PeerDiscoveryStatus } from '../../src/api/peer-discovery.ts';
import type { PeerDocuments, ProbeResult } from '../../src/domain/assess-peer.ts';
import type { SchemaIndex } from '../../src/domain/compare-schemas.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import type { LeaseObject } from '../../src/domain/identity-lease.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';
import { outlineDocument } from '../../src/domain/schema-outline.ts';
import type { ServedVersion } from '../../src/domain/served-version.ts';
import { type Controller, startController } from '../../src/operator/controller.ts';
import type { EndpointSliceObject, NodeObject } from '../../src/operator/gather-addresses.ts';
import { type FetchResult, type PeerClient, TerminalError, type WatchedSet } from '../../src/operator/ports.ts';
import type { ControllerSettings } from '../../src/operator/read-settings.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { hashText } from '../../src/runtime/hash-text.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { silentLog } from '../../src/runtime/log.ts';

/** A group with one version and these resources, as in a server's own document. */
export function group(name: string, version: string, ...resources: string[]): GroupDiscovery {
  return {
    name,
    versions: [
      {
        version,
        freshness: 'Current',
        resources: resources.map((resource) => ({
          resource,
          scope: 'Namespaced',
          singularResource: '',
          verbs: ['get', 'list'],
        })),
      },
    ],
  };
}

interface FakeServer {
  probe: ProbeResult | Promise<ProbeResult>;
  groups: GroupDiscovery[];
  /** Stands for the groups where it would be too slow to write them out for a comparison. */
  hash?: string;
  failure?: FetchResult & { kind: 'failed' };
  schemas?: SchemaIndex;
  version?: ServedVersion;
  /** OpenAPI documents by `group/version`. */
  openapi?: Record<string, object>;
}

/** Servers, Leases and a store in memory. Only `advance` moves the time. */
export function createFakeControlPlane(settings: Partial<ControllerSettings> = {}, before?: RoutingBundle) {
  let known: ReturnType<Controller['observations']> | undefined;
  let now = 1_000_000;
  const aheadMs = 1_700_000_000_000;
  let sleepers: { at: number; wake: () => void }[] = [];
  const clock: Clock = {
    now: () => now,
    date: () => now + aheadMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper = { at: now + ms, wake: () => resolve() };
        sleepers.push(sleeper);
        signal?.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
  const servers = new Map<string, FakeServer>();
  const leases = new Map<string, LeaseObject>();
  const crds = new Map<string, object>();
  const endpointSlices = new Map<string, EndpointSliceObject>();
  const nodes = new Map<string, NodeObject>();
  const bundles: RoutingBundle[] = [];
  const statuses: PeerDiscoveryStatus[] = [];
  const events: string[] = [];
  const failing: {
    publish: boolean | 'terminal';
    confirm?: boolean;
    status?: boolean;
    leases?: WatchedSet<LeaseObject>['failing'];
    endpoints?: WatchedSet<LeaseObject>['failing'];
    read?: boolean;
    silentSince?: number;
  } = {
    publish: false,
  };
  const calls = {
    passes: 0,
    statusWrite: 0,
    fetch: 0,
    outline: 0,
    confirm: 0,
    confirmed: 0,
    answered: [] as string[],
    kept: [] as string[],
  };
  const set = <T>(items: Map<string, T>): WatchedSet<T> => ({
    items: () => items,
    synced: true,
    get lastContactAtMs() {
      return now;
    },
  });
  const client: PeerClient = {
    async probe(address) {
      return servers.get(address)?.probe ?? { kind: 'unreachable', detail: 'connection refused' };
    },
    async fetchDiscovery(address, previous) {
      calls.fetch += 1;
      const server = servers.get(address);
      if (server === undefined) return { kind: 'failed', reason: 'Unreachable', message: 'connection refused' };
      if (server.failure !== undefined) return server.failure;
      const hash = server.hash ?? JSON.stringify(server.groups);
      if (previous?.hash === hash) return { kind: 'unchanged', documents: previous };
      const documents: PeerDocuments = { form: 'v2', api: [], apis: server.groups, etags: { apis: hash }, hash };
      return { kind: 'fetched', documents };
    },
    fetchVersion: async (address) => servers.get(address)?.version ?? { version: 'v1.36.3' },
    fetchSchemas: async (address) => servers.get(address)?.schemas,
    fetchOutline: async (address, groupVersion, hash, pool) => {
      calls.outline += 1;
      const server = servers.get(address);
      if (server?.schemas?.hashes.get(groupVersion) !== hash) return undefined;
      return outlineDocument(server.openapi?.[groupVersion], hashText, pool);
    },
    detectPeerAggregation: async () => false,
    keepOnly(addresses) {
      calls.kept = [...addresses];
    },
    close() {},
  };
  const defaults: ControllerSettings = {
    name: 'cluster',
    generation: 1,
    mode: 'Route',
    fieldSkew: 'Preserve',
    serverName: 'kubernetes.default.svc',
    checkLeaseNames: true,
    sources: ['EndpointSlice', 'LeaseAnnotation'],
    staticEntries: [],
    nodePort: 6443,
    checkAddress: () => ({ ok: true }),
    staleAfterMs: 60_000,
    goneAfterMs: 300_000,
    timing: {
      pollIntervalMs: 10_000,
      probeIntervalMs: 1_000,
      eagerProbeIntervalMs: 250,
      maxBackoffMs: 10_000,
    },
    confirmEveryMs: 10_000,
    routingTable: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
  };
  let controller: Controller | undefined;
  let renewals = 0;

  /** Runs everything that does not wait for time. */
  async function settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  return {
    servers,
    leases,
    crds,
    bundles,
    now: () => now,
    statuses,
    /** Kubernetes Events, as `Type Reason: message`. */
    events,
    failing,
    calls,
    get controller() {
      if (controller === undefined) throw new Error('not started');
      return controller;
    },
    /** Last published table. */
    get table() {
      const bundle = bundles.at(-1);
      if (bundle === undefined) throw new Error('nothing was published');
      return bundle.table;
    },
    /** Writes the Lease of a server, as at its start or a renewal. An empty address is not annotated. */
    renew(hostname: string, address: string, holder = 'first') {
      const name = identityLeaseName(hostname);
      renewals += 1;
      leases.set(name, {
        metadata: {
          name,
          labels: { 'kubernetes.io/hostname': hostname },
          ...(address !== '' && { annotations: { 'kubernetes.io/peer-advertise-address': address } }),
        },
        spec: { holderIdentity: `${name}_${holder}`, renewTime: String(renewals).padStart(6, '0') },
      });
      controller?.notify();
    },
    /** Writes the EndpointSlice of `default/kubernetes`. */
    setEndpoints(...addresses: string[]) {
      const endpoints = [{ addresses: addresses.map((address) => address.slice(0, address.lastIndexOf(':'))) }];
      endpointSlices.set('kubernetes', { endpoints, ports: [{ name: 'https', port: 6443 }] });
      controller?.notify();
    },
    /** Writes a control-plane Node with these internal addresses. */
    setNode(name: string, ...ips: string[]) {
      nodes.set(name, {
        metadata: { name },
        status: { addresses: ips.map((address) => ({ type: 'InternalIP', address })) },
      });
      controller?.notify();
    },
    dropLease(hostname: string) {
      leases.delete(identityLeaseName(hostname));
      controller?.notify();
    },
    /** Stops, and starts again with other settings and the known peers, as a change of the spec does. */
    async restart(changed: Partial<ControllerSettings>) {
      known = controller?.observations();
      await controller?.stop();
      Object.assign(settings, changed);
      this.start();
    },
    start() {
      const empty = set(new Map<string, never>());
      controller = startController({
        settings: { ...defaults, ...settings },
        sets: {
          leases: {
            ...set(leases),
            get failing() {
              return failing.leases;
            },
            get lastContactAtMs() {
              return failing.silentSince ?? now;
            },
          },
          pods: empty,
          nodes: set(nodes),
          endpointSlices: {
            ...set(endpointSlices),
            get failing() {
              return failing.endpoints;
            },
          },
          crds: set(crds),
          apiServices: empty,
        },
        client,
        fetches: new PQueue({ concurrency: 8 }),
        bundles: {
          read: async () => {
            if (failing.read) throw new Error('connection refused');
            const bundle = bundles.at(-1) ?? before;
            return { revision: bundle?.table.revision ?? 41, ...(bundle !== undefined && { bundle }) };
          },
          async publish(bundle) {
            if (failing.publish === 'terminal') throw new TerminalError('NamespaceMissing', 'create it');
            if (failing.publish) throw new Error('connection refused');
            bundles.push(bundle);
            return undefined;
          },
          async confirm(revision, answers = []) {
            if (failing.confirm) throw new Error('connection reset');
            calls.confirm += 1;
            calls.answered.push(...answers);
            calls.confirmed = revision;
            return true;
          },
        },
        status: {
          async write(status) {
            calls.statusWrite += 1;
            if (failing.status) throw new Error('too large');
            statuses.push(status);
          },
        },
        recordEvent: (type, reason, message) => void events.push(`${type} ${reason}: ${message}`),
        observePass() {},
        observeReconcile() {
          calls.passes += 1;
        },
        clock,
        random: () => 0.5,
        log: silentLog,
        ...(known !== undefined && { known }),
      });
    },
    settle,
    /** Advances the time in steps, and runs everything that becomes due at its own moment. */
    async advance(ms: number, stepMs = 250) {
      await settle();
      for (const end = now + ms; now < end; ) {
        now = Math.min(end, now + stepMs);
        const due = sleepers.filter(({ at }) => at <= now);
        sleepers = sleepers.filter(({ at }) => at > now);
        for (const { wake } of due) wake();
        await settle();
      }
    },
  };
}
