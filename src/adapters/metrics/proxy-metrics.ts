import { AggregatorRegistry, Counter, Gauge, Registry } from 'prom-client';
import { type MetricSources, type ProxyMetrics, unavailableReasons } from '../../proxy/ports.ts';
import { registerBucketCounts } from './bucket-counts.ts';
import { addProcessMetrics } from './operator-metrics.ts';

/** The values of `limit`, as in docs/guides/identity.md. */
const limits = [
  'connections',
  'requests',
  'long_running_requests',
  'user_requests',
  'user_long_running_requests',
  'header_bytes',
  'header_fields',
  'long_heads',
  'http2_streams',
  'header_timeout',
  'idle_timeout',
  'request_timeout',
  'unauthenticated_requests',
  'unread_answers',
  'buffered_bytes',
  'user_buffered_bytes',
  'unauthenticated_buffered_bytes',
  'ambiguous',
  'http2_session',
] as const;

/** The files that are re-read. */
const certificates = [
  'serving',
  'peer-ca',
  'front-proxy',
  'client-ca',
  'requestheader-client-ca',
  'impersonation-token',
] as const;

/** Creates the proxy's metrics in a registry of their own. A metric with upstream's meaning has upstream's name. */
export function createProxyMetrics(sources: MetricSources): ProxyMetrics {
  const { requestsInFlight, tableAgeSeconds, connections, clientConnections } = sources;
  const registry = new Registry();
  const registers = [registry];
  addProcessMetrics(registry);
  new Gauge({
    name: 'peerdiscovery_proxy_requests_in_flight',
    help: 'Requests that are being answered, watches included.',
    aggregator: 'sum',
    registers,
    collect() {
      this.set(requestsInFlight());
    },
  });
  new Gauge({
    name: 'peerdiscovery_proxy_table_age_seconds',
    help: 'Seconds since the routing table was received or last confirmed. -1 without a table.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(tableAgeSeconds() ?? -1);
    },
  });
  new Gauge({
    name: 'peerdiscovery_proxy_peer_connections',
    help: 'Connections to kube-apiservers, in use or idle.',
    aggregator: 'sum',
    labelNames: ['lane'],
    registers,
    collect() {
      const { short, long } = connections();
      this.set({ lane: 'short' }, short);
      this.set({ lane: 'long' }, long);
    },
  });
  new Gauge({
    name: 'peerdiscovery_proxy_client_connections',
    help: 'Client connections by HTTP version. HTTP/1.1 includes upgraded connections and those in the TLS handshake.',
    aggregator: 'sum',
    labelNames: ['protocol'],
    registers,
    collect() {
      const { http1, http2 } = clientConnections();
      this.set({ protocol: 'HTTP/1.1' }, http1);
      this.set({ protocol: 'HTTP/2' }, http2);
    },
  });
  const unavailable = new Counter({
    name: 'peerdiscovery_proxy_unavailable_total',
    help: 'Requests that the proxy itself answered 503, by reason.',
    labelNames: ['reason'],
    registers,
  });
  const peerErrors = new Counter({
    name: 'apiserver_peer_proxy_errors_total',
    help: 'Failed attempts to send a request to a kube-apiserver.',
    labelNames: ['type'],
    registers,
  });
  const limited = new Counter({
    name: 'peerdiscovery_proxy_limited_total',
    help: 'Requests and connections that a limit of the proxy refused or ended.',
    labelNames: ['limit'],
    registers,
  });
  const reloadFailures = new Counter({
    name: 'peerdiscovery_proxy_certificate_reload_failures_total',
    help: 'Changed certificate files that could not be used. The last good ones stay in use.',
    labelNames: ['certificate'],
    registers,
  });
  // Start at zero, so that the first event is an increase.
  for (const reason of unavailableReasons) unavailable.inc({ reason }, 0);
  for (const type of ['endpoint_resolution', 'proxy_transport']) peerErrors.inc({ type }, 0);
  for (const limit of limits) limited.inc({ limit }, 0);
  for (const certificate of certificates) reloadFailures.inc({ certificate }, 0);
  return {
    text: () => registry.metrics(),
    json: () => registry.getMetricsAsJSON(),
    rerouted: createByLabels<keyof Parameters<ProxyMetrics['rerouted']['inc']>[0]>(registry, {
      name: 'apiserver_rerouted_request_total',
      help: 'Requests that were sent to a kube-apiserver other than their home.',
      labelNames: ['code', 'group', 'version', 'resource'],
    }),
    fieldWrites: createByLabels<keyof Parameters<ProxyMetrics['fieldWrites']['inc']>[0]>(registry, {
      name: 'peerdiscovery_proxy_field_writes_total',
      help: 'Writes that were sent to another kube-apiserver because their home does not know all fields.',
      labelNames: ['group', 'version', 'resource'],
    }),
    peerErrors,
    unavailable,
    tableRevision: new Gauge({
      name: 'peerdiscovery_proxy_table_revision',
      help: 'Revision of the routing table in use. 0 without a table.',
      aggregator: 'min',
      registers,
    }),
    failovers: new Counter({
      name: 'peerdiscovery_proxy_failovers_total',
      help: 'Requests that were sent to another kube-apiserver after the first could not answer.',
      registers,
    }),
    homeChanges: new Counter({
      name: 'peerdiscovery_proxy_home_changes_total',
      help: 'Client connections that lost their home server and got a new one.',
      registers,
    }),
    movedWatches: new Counter({
      name: 'peerdiscovery_proxy_moved_watches_total',
      help: 'Watches that the proxy ended so that their clients resume them on a kube-apiserver with fewer.',
      registers,
    }),
    limited,
    certificateExpiry: new Gauge({
      name: 'peerdiscovery_proxy_certificate_expiration_timestamp_seconds',
      help: 'When the certificate in use expires. For a bundle, when the first of its certificates expires.',
      aggregator: 'min',
      labelNames: ['certificate'],
      registers,
    }),
    reloadFailures,
    tableBehind: new Counter({
      name: 'peerdiscovery_proxy_table_behind_total',
      help: '404 answers from a kube-apiserver for a resource that the table says it serves.',
      registers,
    }),
    overhead: registerBucketCounts(registry, {
      name: 'peerdiscovery_proxy_added_duration_seconds',
      help:
        'Time from the head of a request to the head of its answer, without the wait for the ' +
        'kube-apiserver that answered.',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    }),
    duration: registerBucketCounts(registry, {
      name: 'peerdiscovery_proxy_request_duration_seconds',
      help: 'Time from the head of a request to the end of its answer, without watches.',
      labelName: 'route',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    }),
  };
}

/** Counts with one look-up. prom-client's own builds and hashes a set of labels each time. */
function createByLabels<Label extends string>(
  registry: Registry,
  { labelNames, ...what }: { readonly name: string; readonly help: string; readonly labelNames: readonly Label[] },
): { inc(labels: Readonly<Record<Label, string>>): void } {
  const counted = new Map<string, { readonly labels: Readonly<Record<Label, string>>; count: number }>();
  new Counter({
    ...what,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      for (const { labels, count } of counted.values()) this.inc(labels, count);
      counted.clear();
    },
  });
  return {
    inc: (labels) => {
      let key = '';
      for (const name of labelNames) key += `${labels[name]}/`;
      const known = counted.get(key);
      if (known === undefined) counted.set(key, { labels, count: 1 });
      else known.count++;
    },
  };
}

/** Merges the metrics of several processes into Prometheus' text format, each by its own aggregator. */
export function aggregateMetrics(processes: readonly (readonly object[])[]): Promise<string> {
  return AggregatorRegistry.aggregate(processes as Parameters<typeof AggregatorRegistry.aggregate>[0]).metrics();
}
