import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { createApiClient } from '../adapters/kubernetes/api-client.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import { createEventRecorder } from '../adapters/kubernetes/events.ts';
import { runLeaderElection } from '../adapters/kubernetes/leader-election.ts';
import { createLog } from '../adapters/telemetry/create-log.ts';
import { type ReadinessCheck, serveEndpoint } from '../adapters/telemetry/http-endpoint.ts';
import { createMetrics } from '../adapters/telemetry/metrics.ts';
import { systemClock } from '../runtime/clock.ts';
import { operatorUsage, parseOperatorFlags } from './operator-flags.ts';
import { runControllers } from './run-controllers.ts';
import { version } from './version.ts';

/** What a command needs of the process around it. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Aborts when the command should end. */
  readonly signal: AbortSignal;
}

const electionLease = 'peerdiscovery-operator';
const apiTimeoutMs = 10_000;
const serviceAccountNamespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** Runs `peerdiscovery operator` until its signal aborts; resolves to the exit code, 2 for bad flags. */
export async function runOperator(args: readonly string[], context: CommandContext): Promise<number> {
  const parsed = parseOperatorFlags(args);
  if (parsed.kind === 'help') {
    context.stdout(operatorUsage);
    return 0;
  }
  if (parsed.kind === 'problems') {
    context.stderr(parsed.problems.map((problem) => `peerdiscovery operator: ${problem}\n`).join(''));
    return 2;
  }
  const { flags } = parsed;
  const log = createLog({ format: flags.logFormat, level: flags.logLevel });
  const kubeConfig = loadKubeConfig({ kubeconfig: flags.kubeconfig, env: context.env });
  const namespace = flags.namespace ?? (await podNamespace()) ?? 'peerdiscovery-system';
  const identity = `${hostname()}_${randomUUID()}`;
  const client = createApiClient(kubeConfig, {
    timeoutMs: apiTimeoutMs,
    log,
    userAgent: `peerdiscovery-operator/${version}`,
  });
  const metrics = createMetrics();
  const checks = new Map<string, ReadinessCheck>();
  const endpoint =
    flags.healthBindAddress === undefined
      ? undefined
      : await serveEndpoint(
          {
            bindAddress: flags.healthBindAddress,
            checks: () => [...checks.values()],
            metrics: () => metrics.render(),
          },
          context.signal,
        );
  log.info('the operator starts', {
    version,
    namespace,
    identity,
    apiServer: client.serverUrl,
    health: endpoint?.address,
  });
  const recorder = createEventRecorder({
    client,
    component: 'peerdiscovery-operator',
    instance: identity,
    clock: systemClock,
    log,
  });
  const lead = (signal: AbortSignal) =>
    runControllers({
      client,
      identity,
      namespace,
      metrics,
      recorder,
      checks,
      clock: systemClock,
      random: Math.random,
      log,
      signal,
    });
  if (flags.leaderElect)
    await runLeaderElection({
      client,
      namespace,
      name: electionLease,
      identity,
      clock: systemClock,
      random: Math.random,
      log,
      signal: context.signal,
      async onStartedLeading(signal) {
        metrics.leader.set({ name: electionLease }, 1);
        await lead(signal);
      },
      onStoppedLeading: () => metrics.leader.set({ name: electionLease }, 0),
      onTrouble: (reason, message) => log.warn('the election Lease cannot be used', { reason, message, namespace }),
    });
  else await lead(context.signal);
  await endpoint?.close();
  await client.close();
  log.info('the operator has ended');
  return 0;
}

async function podNamespace(): Promise<string | undefined> {
  try {
    return (await readFile(serviceAccountNamespaceFile, 'utf8')).trim();
  } catch {
    return undefined;
  }
}
