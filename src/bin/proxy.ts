import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { loadCredentials } from '../adapters/credentials/proxy-credentials.ts';
import type { ApiClient } from '../adapters/kubernetes/api-client.ts';
import { createApiClient } from '../adapters/kubernetes/api-client.ts';
import { watchClientAuthentication } from '../adapters/kubernetes/client-authentication.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import { rememberServers } from '../adapters/kubernetes/remember-servers.ts';
import { type TableAccess, tableFromCluster } from '../adapters/kubernetes/table-from-cluster.ts';
import { tableFromFile } from '../adapters/kubernetes/table-from-file.ts';
import { createLog } from '../adapters/logging/create-log.ts';
import { createProxyMetrics } from '../adapters/metrics/proxy-metrics.ts';
import { createAddressPolicy } from '../adapters/peers/address-policy.ts';
import { createPeerTransport } from '../adapters/peers/peer-transport.ts';
import { type ProxyWorkers, serveParent, startWorkers, tellParentUp } from '../adapters/processes/proxy-workers.ts';
import { type ReadinessCheck, serveEndpoint } from '../adapters/serving/http-endpoint.ts';
import { serveMetrics } from '../adapters/serving/serve-metrics.ts';
import { namespaceOr, workerVariable } from '../flags/environment.ts';
import { type ProxyFlags, parseProxyFlags, proxyUsage, readsApi, readsAuthorities } from '../flags/proxy-flags.ts';
import { loadRequestParsers } from '../http/llhttp/request-parser.ts';
import { findMemoryShortage } from '../proxy/admission/find-memory-shortage.ts';
import { startProxy } from '../proxy/start-proxy.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { messageOf } from '../runtime/message-of.ts';
import type { CommandContext } from './operator.ts';
import { tuneHeap } from './tune-heap.ts';
import { version } from './version.ts';

/** Runs `peerdiscovery proxy` until its signal aborts, then drains. Resolves to the exit code, 2 for bad flags. */
export async function runProxy(args: readonly string[], context: CommandContext): Promise<number> {
  const parsed = parseProxyFlags(args);
  if (parsed.kind === 'help') {
    context.stdout(proxyUsage);
    return 0;
  }
  const problems = parsed.kind === 'problems' ? [...parsed.problems] : [];
  const loaded = parsed.kind === 'flags' ? loadCredentials(parsed.flags) : undefined;
  if (loaded?.kind === 'problems') problems.push(...loaded.problems);
  if (parsed.kind !== 'flags' || loaded?.kind !== 'credentials' || problems.length > 0) {
    context.stderr(problems.map((problem) => `peerdiscovery proxy: ${problem}\n`).join(''));
    return 2;
  }
  tuneHeap();
  const { flags } = parsed;
  const { credentials } = loaded;
  const isWorker = context.environment.isWorker && process.send !== undefined;
  const orphaned = new AbortController();
  const stopping = AbortSignal.any([context.signal, orphaned.signal]);
  const log = createLog({ format: flags.logFormat, level: flags.logLevel });
  const shortage = isWorker ? undefined : findMemoryShortage(flags, process.constrainedMemory());
  if (shortage !== undefined)
    log.warn(
      'clients can make this proxy use more memory than it has: raise the memory limit, or lower --max-connections',
      { ...shortage },
    );
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
          log.info('using the CAs of client certificates', {
            clientCa: authorities.clientCa.length,
            requestHeaderCa: authorities.requestHeaderCa.length,
          });
        },
        onTrouble: (why) => log.warn('cannot use the CAs of client certificates; keeping the last good ones', { why }),
        clock: systemClock,
        log,
        signal: ended.signal,
        random: Math.random,
      });
    const checks = (): ReadinessCheck[] => [
      ...proxy.checks(),
      credentials.check(),
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
    const { address, port } = await proxy.server.listen(flags.securePort, flags.bindAddress, { shared });
    if (isWorker) tellParentUp();
    if (flags.workers > 1)
      workers = startWorkers({
        count: flags.workers - 1,
        args,
        port,
        ticketKeys: proxy.server.ticketKeys(),
        run: (own) => fork(process.argv[1] ?? '', [...own], { env: { ...process.env, [workerVariable]: '1' } }),
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
    log.error('the proxy cannot run', { error: messageOf(error) });
    return 1;
  } finally {
    ended.abort();
    await proxy.stop();
  }
  log.info('the proxy has ended');
  return 0;
}

/** Undefined if the proxy reads nothing from the API. */
function clientFor(flags: ProxyFlags, context: CommandContext, log: Log): ApiClient | undefined {
  if (!readsApi(flags)) return undefined;
  return connect(flags, context, log);
}

function connect(flags: ProxyFlags, context: CommandContext, log: Log): ApiClient {
  const kubeConfig = loadKubeConfig({ kubeconfig: flags.kubeconfig, environment: context.environment });
  return createApiClient(kubeConfig, { timeoutMs: 10_000, log, userAgent: `peerdiscovery-proxy/${version}` });
}

async function accessTable(
  flags: ProxyFlags,
  client: ApiClient | undefined,
  isWorker: boolean,
  log: Log,
): Promise<TableAccess> {
  if (flags.routingTableFile !== undefined || client === undefined)
    return { source: tableFromFile(flags.routingTableFile ?? '', systemClock), reportBehind: () => {} };
  const policy = createAddressPolicy(flags.allowPeerCidrs);
  return tableFromCluster({
    client,
    location: { namespace: namespaceOr(flags.namespace), name: flags.routingTable },
    policy,
    serverName: flags.peerServerName,
    servers: rememberServers({ client, file: flags.knownServersFile, policy, log }),
    // One of several processes is enough.
    reportsSilence: !isWorker,
    clock: systemClock,
    random: Math.random,
    log,
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
