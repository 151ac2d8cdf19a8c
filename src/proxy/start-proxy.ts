import type { RequestParsers } from '../http/llhttp/request-parser.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { createAdmission } from './admission/admission.ts';
import { KeptBytes } from './admission/kept-bytes.ts';
import { createUnifiedDiscovery } from './discovery/unified-discovery.ts';
import { createHandler } from './front/handler.ts';
import type { ProxyServer } from './front/server.ts';
import { createProxyServer } from './front/server.ts';
import { createAuthenticate } from './identity/authenticate.ts';
import type { ProxyLimits } from './limits.ts';
import type {
  AuthenticationMode,
  FrontTls,
  MetricSources,
  PeerTransport,
  ProxyMetrics,
  RoutingTableSource,
} from './ports.ts';
import { createFleet } from './servers/fleet.ts';
import { createHomeFields } from './servers/home-fields.ts';
import { createWatchLeveller } from './servers/level-watches.ts';
import { createPeerHealth } from './servers/peer-health.ts';
import { createServerReports } from './servers/server-reports.ts';

/** The parts of a proxy. */
export interface ProxyOptions {
  readonly transport: PeerTransport;
  readonly requestParsers: RequestParsers;
  readonly source: RoutingTableSource;
  /** Tells the table's owner that the server at this address does not serve what the table lists. */
  readonly reportBehind: (address: string) => void;
  readonly createMetrics: (sources: MetricSources) => ProxyMetrics;
  readonly tls: FrontTls;
  readonly authentication: AuthenticationMode;
  readonly pinnedHome: string | undefined;
  readonly serverName: string;
  readonly accessLog: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ProxyLimits;
  /** Interval between levelling the watches over the servers; 0 means never. */
  readonly watchLevelingPeriodMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
}

/** A proxy that follows its table but does not listen yet. */
export interface RunningProxy {
  readonly server: ProxyServer;
  readonly metrics: ProxyMetrics;
  inFlight(): number;
  /** The inputs of readiness, each with its reason. */
  checks(): {
    readonly name: string;
    readonly ok: boolean;
    readonly message: string;
    /** Shown but not counted. */
    readonly informational?: boolean;
  }[];
  /** Stops following the table and closes connections to servers. */
  stop(): Promise<void>;
}

/** Assembles the proxy and starts to follow the routing table. */
export function startProxy(options: ProxyOptions): RunningProxy {
  const { transport, requestParsers, source, tls, pinnedHome, serverName, accessLog, clock, log, limits, random } =
    options;
  const stopping = new AbortController();
  let lost = { from: '', at: 0 };
  const health = createPeerHealth({
    transport,
    clock,
    log,
    signal: stopping.signal,
    onHung: ({ address }) => transport.abandon(address),
    onHead: ({ address }, rawHeaders) => homeFields.note(address, rawHeaders),
  });
  const fleet = createFleet({
    health,
    clock,
    pinnedHome,
    serverName,
    onHomeChange: (from, to) => {
      metrics.homeChanges.inc();
      // The end of one server moves many connections; the log says so once.
      const now = clock.now();
      const level = lost.from === from && now - lost.at < 10_000 ? 'debug' : 'warn';
      lost = { from, at: now };
      log[level]('lost the home server; its client connections get another one', { from, to });
    },
  });
  const homeFields = createHomeFields({
    transport,
    clock,
    homeOf: (connection) => fleet.homeOf(fleet.current(), connection)?.target,
  });
  const metrics = options.createMetrics({
    requestsInFlight: () => handler.inFlight(),
    tableAgeSeconds: () => fleet.tableAgeSeconds(),
    connections: () => transport.connections(),
    clientConnections: () => server.connections(),
  });
  const discovery = createUnifiedDiscovery({ transport, clock });
  const keptBytes = new KeptBytes(limits.maxBufferedBytes, metrics);
  const admission = createAdmission({ limits, clock, metrics, signal: stopping.signal });
  keptBytes.watch(() => admission.keepers());
  const authenticate = createAuthenticate(options.authentication, clock);
  const leveller = createWatchLeveller({
    fleet,
    clock,
    log,
    metrics,
    periodMs: options.watchLevelingPeriodMs,
    signal: stopping.signal,
  });
  const handler = createHandler({
    fleet,
    leveller,
    servers: createServerReports({ health, metrics, log, reportBehind: options.reportBehind }),
    transport,
    clock,
    discovery,
    homeFields,
    metrics,
    log,
    accessLog,
    authenticate,
    admission,
  });
  const server = createProxyServer({ limits, handler, requestParsers, tls, log, clock, metrics, random, keptBytes });
  let trouble: string | undefined;
  const following = source
    .start(
      (bundle) => {
        fleet.replace(bundle);
        metrics.tableRevision.set(bundle.table.revision);
        const { revision, mode, complete, peers } = bundle.table;
        log.info('routing table in use', { revision, mode, complete, peers: peers.length });
      },
      (message) => {
        if (message !== trouble) {
          if (message === undefined) log.info('the routing table is confirmed');
          else log.warn('the routing table may be behind', { why: message });
        }
        trouble = message;
        if (message === undefined) fleet.trust();
        else fleet.distrust();
      },
      stopping.signal,
    )
    .catch((error: unknown) => {
      trouble = String(error);
      fleet.distrust();
      log.error('following the routing table failed', { error: trouble });
    });
  return {
    server,
    metrics,
    inFlight: () => handler.inFlight(),
    checks: () => {
      const snapshot = fleet.current();
      const homeWell =
        (pinnedHome !== undefined && health.isWell(pinnedHome)) || snapshot.peers.some((peer) => fleet.usable(peer));
      const table = snapshot.bundle !== undefined;
      return [
        { name: 'table', ok: table, message: trouble ?? 'this proxy has no routing table yet' },
        // A proxy serves on its last good table. Taking all proxies out because the operator is gone would turn a doubt
        // about a few resources into an outage of everything. So this is shown but not counted.
        {
          name: 'table-fresh',
          ok: table && !fleet.tableTooOld(),
          message: trouble ?? 'the routing table is not confirmed',
          informational: true,
        },
        { name: 'home', ok: homeWell, message: 'no kube-apiserver can be home now' },
      ];
    },
    stop: async () => {
      stopping.abort();
      await following;
      await transport.close();
    },
  };
}
