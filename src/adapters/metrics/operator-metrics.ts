import { performance } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { PeerView, UnifiedView } from '../../domain/derive-bundle.ts';
import { judgeConvergence } from '../../domain/judge-convergence.ts';

/** How a reconcile ended, with the values of controller-runtime's label `result`. */
export type ReconcileOutcome = 'success' | 'error' | 'requeue' | 'requeue_after';

/** The operator's metrics. */
export interface Metrics {
  /** For metrics that a part defines itself. */
  readonly registry: Registry;
  /** `leader_election_master_status`: 1 while this process leads. */
  readonly leader: Gauge<'name'>;
  observeReconcile(controller: string, result: ReconcileOutcome, seconds: number): void;
  /** Counts a failed request for a peer's discovery, with upstream's name and label. */
  countFetchFailure(): void;
  /** When the last certificate of an address expires, in milliseconds since the epoch. */
  observeCertificate(peerdiscovery: string, address: string, notAfter: number): void;
  /** Forgets the certificates of all other addresses. */
  keepCertificates(peerdiscovery: string, addresses: ReadonlySet<string>): void;
  /**
   * Shows the results of a pass over a PeerDiscovery. Series of peers that it does not list disappear.
   *
   * @param dateOf Converts a time of the observations' clock to milliseconds since the epoch.
   */
  observe(
    peerdiscovery: string,
    views: readonly PeerView[],
    unified: Pick<UnifiedView, 'doubts' | 'resources' | 'divergent'>,
    revision: number,
    dateOf: (at: number) => number,
  ): void;
  /** Removes all series of a deleted PeerDiscovery. */
  forget(peerdiscovery: string): void;
  /** All metrics in Prometheus' text format. */
  render(): Promise<string>;
}

/** Like controller-runtime's, but fewer. */
const reconcileBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/**
 * Creates metrics with the ecosystem's names, in a registry of their own.
 *
 * Names follow controller-runtime, client-go and kube-apiserver where these have one. Nothing runs between two scrapes:
 * process metrics are read on request. (prom-client's own set keeps a 10 ms timer for the event loop's delay, which is
 * much for an idle operator.)
 */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  addProcessMetrics(registry);

  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Gauge({ name, help, labelNames, registers });

  const reconciles = counter('controller_runtime_reconcile_total', 'Reconciles by controller and result', [
    'controller',
    'result',
  ]);
  const reconcileErrors = counter('controller_runtime_reconcile_errors_total', 'Reconciles that ended in an error', [
    'controller',
  ]);
  const reconcileTime = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'Duration of a reconcile',
    labelNames: ['controller'],
    buckets: [...reconcileBuckets],
    registers,
  });
  const leader = gauge('leader_election_master_status', '1 if this process leads', ['name']);
  const syncErrors = counter('apiserver_peer_discovery_sync_errors_total', 'Failures to read the discovery of peers', [
    'type',
  ]);
  const peerState = gauge('peerdiscovery_peer_state', '1 for the current state of a peer', [
    'peerdiscovery',
    'peer',
    'state',
  ]);
  const lastSuccess = gauge(
    'peerdiscovery_peer_last_success_timestamp_seconds',
    'When the discovery of a peer was last confirmed',
    ['peerdiscovery', 'peer'],
  );
  const certificateExpiry = gauge(
    'peerdiscovery_peer_certificate_expiration_timestamp_seconds',
    'When the serving certificate of a peer expires',
    ['peerdiscovery', 'peer'],
  );
  const revision = gauge('peerdiscovery_routing_table_revision', 'Revision of the published routing table', [
    'peerdiscovery',
  ]);
  const converged = gauge('peerdiscovery_converged', '1 if all peers are ready and serve the same APIs', [
    'peerdiscovery',
  ]);
  const resources = gauge('peerdiscovery_resources', 'Resources that any peer serves', ['peerdiscovery']);
  const divergent = gauge('peerdiscovery_divergent_resources', 'Resources that some live peers do not serve', [
    'peerdiscovery',
  ]);

  const certificates = new Map<string, Map<string, number>>();
  const shown = new Map<string, ReadonlyMap<string, string>>();
  const removePeers = (peerdiscovery: string) => {
    for (const [peer, state] of shown.get(peerdiscovery) ?? []) {
      peerState.remove({ peerdiscovery, peer, state });
      lastSuccess.remove({ peerdiscovery, peer });
      certificateExpiry.remove({ peerdiscovery, peer });
    }
    shown.delete(peerdiscovery);
  };

  return {
    registry,
    leader,
    observeReconcile(controller, result, seconds) {
      reconciles.inc({ controller, result });
      reconcileErrors.inc({ controller }, result === 'error' ? 1 : 0);
      reconcileTime.observe({ controller }, seconds);
    },
    countFetchFailure: () => syncErrors.inc({ type: 'fetch_discovery' }),
    observeCertificate: (peerdiscovery, address, notAfter) => {
      const known = certificates.get(peerdiscovery) ?? new Map<string, number>();
      certificates.set(peerdiscovery, known.set(address, notAfter));
    },
    keepCertificates: (peerdiscovery, addresses) => {
      const known = certificates.get(peerdiscovery);
      for (const address of known?.keys() ?? []) if (!addresses.has(address)) known?.delete(address);
    },
    observe(peerdiscovery, views, unified, tableRevision, dateOf) {
      removePeers(peerdiscovery);
      for (const { seen, assessment } of views) {
        const peer = seen.peer.id;
        peerState.set({ peerdiscovery, peer, state: assessment.state }, 1);
        const notAfter = certificates.get(peerdiscovery)?.get(seen.peer.address ?? '');
        if (notAfter !== undefined) certificateExpiry.set({ peerdiscovery, peer }, notAfter / 1000);
        if (seen.documentsAt !== undefined) lastSuccess.set({ peerdiscovery, peer }, dateOf(seen.documentsAt) / 1000);
      }
      shown.set(peerdiscovery, new Map(views.map(({ seen, assessment }) => [seen.peer.id, assessment.state])));
      revision.set({ peerdiscovery }, tableRevision);
      converged.set({ peerdiscovery }, judgeConvergence(views, unified).status === 'True' ? 1 : 0);
      resources.set({ peerdiscovery }, unified.resources);
      divergent.set({ peerdiscovery }, unified.divergent.length);
    },
    forget(peerdiscovery) {
      removePeers(peerdiscovery);
      certificates.delete(peerdiscovery);
      for (const metric of [revision, converged, resources, divergent]) metric.remove({ peerdiscovery });
    },
    render: () => registry.metrics(),
  };
}

/** Every process's own metrics, read on request. */
export function addProcessMetrics(registry: Registry): void {
  const registers = [registry];
  const read = (name: string, help: string, aggregator: 'sum' | 'min', value: () => number) =>
    new Gauge({
      name,
      help,
      aggregator,
      registers,
      collect() {
        this.set(value());
      },
    });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the process, user and system',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  read('process_resident_memory_bytes', 'Resident memory', 'sum', () => process.memoryUsage.rss());
  read('process_start_time_seconds', 'When the process started', 'min', () => performance.timeOrigin / 1000);
  read('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap', 'sum', () => process.memoryUsage().heapUsed);
  new Counter({
    name: 'nodejs_eventloop_active_seconds_total',
    help: 'Time that the event loop was busy. Its rate is the used share of one core, which is all that it can use',
    // Of several workers, the busiest counts.
    aggregator: 'max',
    registers,
    collect() {
      this.reset();
      this.inc(performance.eventLoopUtilization().active / 1_000);
    },
  });
}
