import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ApiClient } from '../adapters/kubernetes/api-client.ts';
import { createApiClient } from '../adapters/kubernetes/api-client.ts';
import { createAsker, createBehindReporter } from '../adapters/kubernetes/behind-report.ts';
import { watchClientAuthentication } from '../adapters/kubernetes/client-authentication.ts';
import { watchBundle } from '../adapters/kubernetes/config-map-bundle.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import type { ServerAddress } from '../adapters/kubernetes/known-servers-file.ts';
import { readBundleFile } from '../adapters/kubernetes/read-bundle-file.ts';
import { reportSilence } from '../adapters/kubernetes/silence-report.ts';
import { watchConfirmations } from '../adapters/kubernetes/table-lease.ts';
import { loadRequestParsers } from '../adapters/llhttp/request-parser.ts';
import { type AddressPolicy, createAddressPolicy } from '../adapters/peers/address-policy.ts';
import { createPeerTransport } from '../adapters/peers/peer-transport.ts';
import { createLog } from '../adapters/telemetry/create-log.ts';
import { type ReadinessCheck, serveEndpoint } from '../adapters/telemetry/http-endpoint.ts';
import { createProxyMetrics } from '../adapters/telemetry/proxy-metrics.ts';
import type { RoutingTable } from '../domain/routing-table.ts';
import { worstCaseBytes } from '../proxy/limits.ts';
import type { RoutingTableSource } from '../proxy/ports.ts';
import type { ProxyFlags } from '../proxy/proxy-flags.ts';
import { parseProxyFlags, proxyUsage } from '../proxy/proxy-flags.ts';
import { startProxy } from '../proxy/start-proxy.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { rememberServers } from './known-servers.ts';
import type { CommandContext } from './operator.ts';
import { namespaceOr } from './pod-namespace.ts';
import { loadCredentials } from './proxy-credentials.ts';
import { type ProxyWorkers, serveParent, startWorkers, tellParentUp, workerVariable } from './proxy-workers.ts';
import { serveMetrics } from './serve-metrics.ts';
import { tuneHeap } from './tune-heap.ts';
import { version } from './version.ts';

const fileBelievedForMs = 30_000;

/** Runs `peerdiscovery proxy` until its signal aborts, then drains; resolves to the exit code, 2 for bad flags. */
export async function runProxy(args: readonly string[], context: CommandContext): Promise<number> {
  const parsed = parseProxyFlags(args);
  if (parsed.kind === 'help') {
    context.stdout(proxyUsage);
    return 0;
  }
  const problems = parsed.kind === 'problems' ? [...parsed.problems] : [];
  const loaded = parsed.kind === 'flags' ? loadCredentials(parsed.flags) : undefined;
  if (loaded?.kind === 'problems') problems.push(...loaded.problems);
  if (parsed.kind === 'flags') problems.push(...rangeFaults(parsed.flags));
  if (parsed.kind !== 'flags' || loaded?.kind !== 'credentials' || problems.length > 0) {
    context.stderr(problems.map((problem) => `peerdiscovery proxy: ${problem}\n`).join(''));
    return 2;
  }
  tuneHeap();
  const { flags } = parsed;
  const { credentials } = loaded;
  const isWorker = context.env[workerVariable] === '1' && process.send !== undefined;
  const orphaned = new AbortController();
  const stopping = AbortSignal.any([context.signal, orphaned.signal]);
  const log = createLog({ format: flags.logFormat, level: flags.logLevel });
  if (!isWorker) warnOfMemory(flags, log);
  const ended = new AbortController();
  let workers: ProxyWorkers | undefined;
  const client = clientFor(flags, context, log);
  const { source, reportBehind } = await accessTable(flags, client, isWorker, log);
  const proxy = startProxy({
    transport: createPeerTransport({
      tls: credentials.peerTls,
      addressPolicy: createAddressPolicy(flags.allowPeerCidrs),
      ...(client !== undefined && { ownToken: async () => (await client.credentials()).token }),
    }),
    requestParsers: loadRequestParsers(),
    source,
    reportBehind,
    createMetrics: createProxyMetrics,
    tls: credentials.frontTls(),
    authentication: credentials.authentication,
    pinnedHome: flags.home,
    serverName: flags.peerServerName,
    accessLog: flags.accessLog,
    clock: systemClock,
    log,
    limits: flags.limits,
    watchLevelingPeriodMs: flags.watchLevelingPeriodMs,
    random: Math.random,
  });
  try {
    credentials.follow({
      metrics: proxy.metrics,
      log,
      now: systemClock.now,
      onFrontTls: (tls) => proxy.server.replaceTls(tls),
      signal: ended.signal,
    });
    if (client !== undefined && readsAuthorities(flags))
      watchClientAuthentication({
        client,
        onChange: (authorities) => {
          credentials.replaceAuthorities(authorities);
          log.info('authorities of client certificates in use', {
            clientCa: authorities.clientCa.length,
            requestHeaderCa: authorities.requestHeaderCa.length,
          });
        },
        onTrouble: (why) => log.warn('authorities of client certificates not taken; the last good ones stay', { why }),
        clock: systemClock,
        log,
        signal: ended.signal,
        random: Math.random,
      });
    const checks = (): ReadinessCheck[] => [
      ...proxy.checks(),
      {
        name: 'client-ca',
        ok: credentials.ready(),
        message: 'kube-system/extension-apiserver-authentication has not been read; see --client-ca-file',
      },
      { name: 'shutdown', ok: !stopping.aborted, message: 'shutting down' },
      ...(workers?.checks() ?? []),
    ];
    const metrics = async () => workers?.metrics(await proxy.metrics.json()) ?? proxy.metrics.text();
    if (isWorker) {
      const duties = {
        report: async () => ({ metrics: await proxy.metrics.json(), checks: checks() }),
        useTicketKeys: (keys: Buffer) => proxy.server.useTicketKeys(keys),
      };
      const release = serveParent(duties, () => orphaned.abort());
      ended.signal.addEventListener('abort', release, { once: true });
    }
    if (flags.healthBindAddress !== undefined)
      await serveEndpoint({ bindAddress: flags.healthBindAddress, checks }, ended.signal);
    const reviewer = () => client ?? connect(flags, context, log);
    await serveMetrics(
      flags,
      {
        metrics,
        client: reviewer,
        certificate: () => ({
          cert: readFileSync(flags.tlsCertFile, 'utf8'),
          key: readFileSync(flags.tlsPrivateKeyFile, 'utf8'),
        }),
      },
      ended.signal,
    );
    const shared = isWorker || flags.workers > 1;
    const { address, port } = await proxy.server.listen(flags.securePort, flags.bindAddress, shared);
    if (isWorker) tellParentUp();
    if (flags.workers > 1)
      workers = startWorkers({
        count: flags.workers - 1,
        args,
        port,
        ticketKeys: proxy.server.ticketKeys(),
        clock: systemClock,
        log,
      });
    log.info('the proxy serves', { version, address, port, home: flags.home ?? 'one per client connection' });
    await aborted(stopping);
    log.info('the proxy drains', { inFlight: proxy.inFlight() });
    const workersEnded = workers?.stop();
    await systemClock.sleep(flags.shutdownDelayMs);
    await proxy.server.drain({ watchGraceMs: flags.shutdownWatchGraceMs, deadlineMs: flags.shutdownTimeoutMs });
    await workersEnded;
  } catch (error) {
    log.error('the proxy cannot run', { error: error instanceof Error ? error.message : String(error) });
    return 1;
  } finally {
    ended.abort();
    await proxy.stop();
  }
  log.info('the proxy has ended');
  return 0;
}

/** Whether clients' authorities come from the API. */
function readsAuthorities({ authenticationMode, clientCaFile }: ProxyFlags): boolean {
  return authenticationMode !== 'TokenPassthrough' && clientCaFile === undefined;
}

/** Undefined where nothing is read from the API. */
function clientFor(flags: ProxyFlags, context: CommandContext, log: Log): ApiClient | undefined {
  if (flags.routingTableFile !== undefined && !readsAuthorities(flags)) return undefined;
  return connect(flags, context, log);
}

function connect(flags: ProxyFlags, context: CommandContext, log: Log): ApiClient {
  const kubeConfig = loadKubeConfig({ kubeconfig: flags.kubeconfig, env: context.env });
  return createApiClient(kubeConfig, { timeoutMs: 10_000, log, userAgent: `peerdiscovery-proxy/${version}` });
}

/** Where the table comes from, and how its owner is told that it is behind. */
interface TableAccess {
  readonly source: RoutingTableSource;
  readonly reportBehind: (address: string) => void;
}

/** What is wrong with the ranges of peers, with the flag that has them. */
function rangeFaults({ allowPeerCidrs }: ProxyFlags): readonly string[] {
  try {
    createAddressPolicy(allowPeerCidrs);
    return [];
  } catch (error) {
    return [`--allow-peer-cidrs: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function accessTable(
  flags: ProxyFlags,
  client: ApiClient | undefined,
  isWorker: boolean,
  log: Log,
): Promise<TableAccess> {
  if (flags.routingTableFile !== undefined || client === undefined)
    return { source: fileSource(flags.routingTableFile ?? ''), reportBehind: () => {} };
  const namespace = await namespaceOr(flags.namespace);
  const location = { namespace, name: flags.routingTable };
  const policy = createAddressPolicy(flags.allowPeerCidrs);
  const servers = rememberServers({ client, file: flags.knownServersFile, policy, log });
  const reportBehind = createBehindReporter(client, location, { clock: systemClock, log });
  const source: RoutingTableSource = {
    start: async (onBundle, onTrouble, signal) => {
      let bundleTrouble: string | undefined;
      let revision = 0;
      let owner: string | undefined;
      const common = { client, ...location, clock: systemClock, log, signal };
      // One of several processes is enough.
      const onHeard = isWorker ? () => {} : reportSilence({ ...common, owner: () => owner });
      const doubt = watchConfirmations({
        ...common,
        onHeard,
        ask: createAsker(client, location, log),
        onAnswered: () => {
          if (revision > 0) onTrouble(bundleTrouble ?? doubt(revision));
        },
        random: Math.random,
      });
      const reflector = watchBundle({
        client,
        namespace,
        name: flags.routingTable,
        onBundle: (bundle) => {
          servers.learn(flags.routingTable, serversOf(bundle.table, policy, flags.peerServerName));
          ({ revision, owner } = bundle.table);
          onBundle(bundle);
          onTrouble(doubt(revision));
        },
        onTrouble: (reason, message) => {
          bundleTrouble = reason === undefined ? undefined : `${reason}: ${message}`;
          onTrouble(bundleTrouble ?? doubt(revision));
        },
        clock: systemClock,
        log,
        signal,
        random: Math.random,
      });
      // A confirmation that does not come calls nobody back. A watch that fails for a while is no doubt by itself: what
      // counts is whether the table is still confirmed, and the Lease that says so is watched by the same client.
      while (!signal.aborted) {
        await systemClock.sleep(1_000, signal);
        if (reflector.synced) onTrouble(bundleTrouble ?? doubt(revision));
      }
      await reflector.stopped;
    },
  };
  return { source, reportBehind };
}

/** Where kube-apiservers are by the table, as far as this proxy may go there. */
function serversOf({ peers }: RoutingTable, policy: AddressPolicy, serverName: string): readonly ServerAddress[] {
  return peers.flatMap(({ address, state }) =>
    address === undefined || state === 'Refused' || !policy.check(address).ok ? [] : [{ address, serverName }],
  );
}

/**
 * Reads a file again whenever it changes; one that cannot be read leaves the last good table in place.
 *
 * Whoever writes it confirms it by writing or touching it; a file older than that is no longer believed to be complete.
 */
function fileSource(path: string): RoutingTableSource {
  return {
    start: async (onBundle, onTrouble, signal) => {
      let trouble: string | undefined;
      let writtenAt = 0;
      let seenAt = 0;
      const read = async () => {
        const decoded = await readBundleFile(path);
        trouble = decoded.ok ? undefined : decoded.reason;
        if (decoded.ok) onBundle(decoded.bundle);
        else onTrouble(decoded.reason);
      };
      const changed = () => {
        read().catch((error: unknown) => onTrouble(String(error)));
      };
      watchFile(path, { interval: 1_000, persistent: false }, changed);
      await read();
      while (!signal.aborted) {
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: 0 }));
        // By the file's date, and by our own time since it last changed: neither a wrong date nor a set-back one helps.
        if (mtimeMs !== writtenAt) seenAt = systemClock.now();
        writtenAt = mtimeMs;
        const ageMs = Math.max(systemClock.date() - mtimeMs, systemClock.now() - seenAt);
        const old = ageMs > fileBelievedForMs;
        onTrouble(
          trouble ?? (old ? `${path} was not written or touched for ${fileBelievedForMs / 1_000} s` : undefined),
        );
        await systemClock.sleep(1_000, signal);
      }
      unwatchFile(path, changed);
    },
  };
}

/** Limits that a container cannot keep are no limits: it would be killed with everybody's requests. */
function warnOfMemory({ limits, workers }: ProxyFlags, log: Log): void {
  const needed = workers * worstCaseBytes(limits);
  const given = process.constrainedMemory();
  if (given <= 0 || given >= needed) return;
  const inMebibytes = (bytes: number) => `${Math.ceil(bytes / 1024 / 1024)}Mi`;
  log.warn(
    'clients can make this proxy take more memory than it has: raise the limit of memory or lower --max-connections',
    {
      limit: inMebibytes(given),
      needed: inMebibytes(needed),
    },
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
