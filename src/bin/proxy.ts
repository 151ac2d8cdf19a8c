import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { createApiClient } from '../adapters/kubernetes/api-client.ts';
import { watchBundle } from '../adapters/kubernetes/config-map-bundle.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import { readBundleFile } from '../adapters/kubernetes/read-bundle-file.ts';
import { watchConfirmations } from '../adapters/kubernetes/table-lease.ts';
import { createAddressPolicy } from '../adapters/peers/address-policy.ts';
import { createPeerTls } from '../adapters/peers/peer-tls.ts';
import { createUndiciTransport } from '../adapters/peers/undici-transport.ts';
import { createLog } from '../adapters/telemetry/create-log.ts';
import { type ReadinessCheck, serveEndpoint } from '../adapters/telemetry/http-endpoint.ts';
import { createProxyMetrics } from '../adapters/telemetry/proxy-metrics.ts';
import type { RoutingTableSource } from '../proxy/ports.ts';
import type { ProxyFlags } from '../proxy/proxy-flags.ts';
import { parseProxyFlags, proxyUsage } from '../proxy/proxy-flags.ts';
import type { ServingCertificate } from '../proxy/server.ts';
import { startProxy } from '../proxy/start-proxy.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { CommandContext } from './operator.ts';
import { version } from './version.ts';

const serviceAccountNamespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';
const drainDeadlineMs = 30_000;
const fileBelievedForMs = 30_000;

/** Runs `peerdiscovery proxy` until its signal aborts, then drains; resolves to the exit code, 2 for bad flags. */
export async function runProxy(args: readonly string[], context: CommandContext): Promise<number> {
  const parsed = parseProxyFlags(args);
  if (parsed.kind === 'help') {
    context.stdout(proxyUsage);
    return 0;
  }
  const problems = parsed.kind === 'problems' ? parsed.problems : unreadable(parsed.flags);
  if (parsed.kind === 'problems' || problems.length > 0) {
    context.stderr(problems.map((problem) => `peerdiscovery proxy: ${problem}\n`).join(''));
    return 2;
  }
  const { flags } = parsed;
  const log = createLog({ format: flags.logFormat, level: flags.logLevel });
  const source = await tableSource(flags, context, log);
  const proxy = startProxy({
    transport: createUndiciTransport({
      tls: createPeerTls({ ca: readFileSync(flags.peerCaFile, 'utf8'), frontProxy: undefined }),
      addressPolicy: createAddressPolicy(flags.allowPeerCidrs),
    }),
    source,
    createMetrics: createProxyMetrics,
    certificate: readCertificate(flags),
    pinnedHome: flags.home,
    serverName: flags.peerServerName,
    accessLog: flags.accessLog,
    clock: systemClock,
    log,
  });
  const ended = new AbortController();
  const reload = () => {
    try {
      const certificate = readCertificate(flags);
      createSecureContext(certificate);
      proxy.server.replaceCertificate(certificate);
      log.info('serving certificate re-read', { file: flags.tlsCertFile });
    } catch (error) {
      log.warn('serving certificate not re-read; the old one stays', { error: String(error) });
    }
  };
  const files = [flags.tlsCertFile, flags.tlsPrivateKeyFile];
  try {
    // Polling sees renames and symlink swaps alike, as mounted Secrets do them.
    for (const file of files) watchFile(file, { interval: 2_000, persistent: false }, reload);
    const checks = (): ReadinessCheck[] => [
      ...proxy.checks(),
      { name: 'shutdown', ok: !context.signal.aborted, message: 'shutting down' },
    ];
    if (flags.healthBindAddress !== undefined)
      await serveEndpoint(
        { bindAddress: flags.healthBindAddress, checks, metrics: () => proxy.metrics.text() },
        ended.signal,
      );
    const { address, port } = await proxy.server.listen(flags.securePort, flags.bindAddress);
    log.info('the proxy serves', { version, address, port, home: flags.home ?? 'one per client connection' });
    await aborted(context.signal);
    log.info('the proxy drains', { inFlight: proxy.inFlight() });
    await systemClock.sleep(flags.shutdownDelayMs);
    await proxy.server.drain(drainDeadlineMs);
  } catch (error) {
    log.error('the proxy cannot run', { error: error instanceof Error ? error.message : String(error) });
    return 1;
  } finally {
    for (const file of files) unwatchFile(file, reload);
    ended.abort();
    await proxy.stop();
  }
  log.info('the proxy has ended');
  return 0;
}

/** Looks at every file that was named before anything listens. */
function unreadable(flags: ProxyFlags): string[] {
  const problems: string[] = [];
  const attempt = (what: string, look: () => unknown) => {
    try {
      look();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  attempt('--tls-cert-file and --tls-private-key-file', () => createSecureContext(readCertificate(flags)));
  attempt('--peer-ca-file', () => {
    if (!readFileSync(flags.peerCaFile, 'utf8').includes('-----BEGIN CERTIFICATE-----'))
      throw new Error(`no certificate in ${flags.peerCaFile}`);
  });
  attempt('--allow-peer-cidrs', () => createAddressPolicy(flags.allowPeerCidrs));
  return problems;
}

function readCertificate(flags: ProxyFlags): ServingCertificate {
  return { cert: readFileSync(flags.tlsCertFile, 'utf8'), key: readFileSync(flags.tlsPrivateKeyFile, 'utf8') };
}

async function tableSource(flags: ProxyFlags, context: CommandContext, log: Log): Promise<RoutingTableSource> {
  if (flags.routingTableFile !== undefined) return fileSource(flags.routingTableFile);
  const kubeConfig = loadKubeConfig({ kubeconfig: flags.kubeconfig, env: context.env });
  const client = createApiClient(kubeConfig, { timeoutMs: 10_000, log, userAgent: `peerdiscovery-proxy/${version}` });
  const namespace = flags.namespace ?? (await podNamespace()) ?? 'peerdiscovery-system';
  return {
    start: async (onBundle, onTrouble, signal) => {
      let bundleTrouble: string | undefined;
      let revision = 0;
      const reflector = watchBundle({
        client,
        namespace,
        name: flags.routingTable,
        onBundle: (bundle) => {
          revision = bundle.table.revision;
          onBundle(bundle);
        },
        onTrouble: (reason, message) => {
          bundleTrouble = reason === undefined ? undefined : `${reason}: ${message}`;
          onTrouble(bundleTrouble);
        },
        clock: systemClock,
        log,
        signal,
        random: Math.random,
      });
      const location = { namespace, name: flags.routingTable };
      const doubt = watchConfirmations({ client, ...location, clock: systemClock, log, signal, random: Math.random });
      // A confirmation that does not come calls nobody back. A watch that fails for a while is no doubt by itself: what
      // counts is whether the table is still confirmed, and the Lease that says so is watched by the same client.
      while (!signal.aborted) {
        await systemClock.sleep(1_000, signal);
        if (reflector.synced) onTrouble(bundleTrouble ?? doubt(revision));
      }
      await reflector.stopped;
    },
  };
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
        const old = systemClock.now() - mtimeMs > fileBelievedForMs;
        onTrouble(
          trouble ?? (old ? `${path} was not written or touched for ${fileBelievedForMs / 1_000} s` : undefined),
        );
        await systemClock.sleep(1_000, signal);
      }
      unwatchFile(path, changed);
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function podNamespace(): Promise<string | undefined> {
  try {
    return (await readFile(serviceAccountNamespaceFile, 'utf8')).trim();
  } catch {
    return undefined;
  }
}
