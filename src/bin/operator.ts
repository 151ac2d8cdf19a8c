import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { type ApiClient, createApiClient } from '../adapters/kubernetes/api-client.ts';
import { createCertificateStore } from '../adapters/kubernetes/certificate-store.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import { createEventRecorder } from '../adapters/kubernetes/events.ts';
import { runLeaderElection } from '../adapters/kubernetes/leader-election.ts';
import { fieldManager } from '../adapters/kubernetes/peer-discovery-status.ts';
import { rememberServers } from '../adapters/kubernetes/remember-servers.ts';
import { reportStandstillOnAll } from '../adapters/kubernetes/report-standstill.ts';
import { writeWhile } from '../adapters/kubernetes/write-while.ts';
import { createLog } from '../adapters/logging/create-log.ts';
import { createMetrics } from '../adapters/metrics/operator-metrics.ts';
import { createAddressPolicy } from '../adapters/peers/address-policy.ts';
import { type ReadinessCheck, serveEndpoint } from '../adapters/serving/http-endpoint.ts';
import { serveMetrics } from '../adapters/serving/serve-metrics.ts';
import { electionLease } from '../api/table-name.ts';
import { type Environment, namespaceOr } from '../flags/environment.ts';
import { operatorUsage, parseOperatorFlags } from '../flags/operator-flags.ts';
import { explainElectionTrouble } from '../operator/explain-election-trouble.ts';
import { keepCertificates } from '../operator/keep-certificates.ts';
import { createStatusRoute } from '../operator/status-page/status-route.ts';
import { systemClock } from '../runtime/clock.ts';
import { followStatuses } from './follow-statuses.ts';
import { type Observed, runControllers } from './run-controllers.ts';
import { version } from './version.ts';

/** The services that a command gets from its process. */
export interface CommandContext {
  readonly environment: Environment;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Aborts when the command should end. */
  readonly signal: AbortSignal;
}

const apiTimeoutMs = 10_000;

/** Runs `peerdiscovery operator` until its signal aborts. Resolves to the exit code, 2 for bad flags. */
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
  const { tlsCertFile, tlsPrivateKeyFile } = flags;
  // An idle operator makes little garbage, so V8's usual 16 MiB of young memory would only stay resident.
  setFlagsFromString('--max-semi-space-size=1');
  const log = createLog({ format: flags.logFormat, level: flags.logLevel });
  const kubeConfig = loadKubeConfig({ kubeconfig: flags.kubeconfig, environment: context.environment });
  const namespace = namespaceOr(flags.namespace);
  const identity = `${hostname()}_${randomUUID()}`;
  const client = createApiClient(kubeConfig, {
    timeoutMs: apiTimeoutMs,
    log,
    userAgent: `peerdiscovery-operator/${version}`,
  });
  // The spec's allowed ranges are known only from the first status on.
  const policy = createAddressPolicy([]);
  const servers = rememberServers({ client, file: flags.knownServersFile, policy, log });
  followStatuses({
    client,
    servers,
    namespace,
    clock: systemClock,
    log,
    signal: context.signal,
    random: Math.random,
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
          },
          context.signal,
        );
  let observed: { readonly read: () => Observed; readonly since: number } | undefined;
  const snapshot = () =>
    observed && {
      now: systemClock.now(),
      date: systemClock.date(),
      operator: { version, identity, leadsSince: observed.since },
      ...observed.read(),
    };
  const metricsEndpoint = await serveMetrics(
    flags,
    {
      metrics: () => metrics.render(),
      extra: { '/status': createStatusRoute(snapshot) },
      client: () => client,
      ...(tlsCertFile !== undefined &&
        tlsPrivateKeyFile !== undefined && {
          certificate: () => ({
            cert: readFileSync(tlsCertFile, 'utf8'),
            key: readFileSync(tlsPrivateKeyFile, 'utf8'),
          }),
        }),
    },
    context.signal,
  );
  log.info('the operator starts', {
    version,
    namespace,
    identity,
    apiServer: client.serverUrl,
    health: endpoint?.address,
    metrics: metricsEndpoint?.address,
  });
  const recordBy = (client: ApiClient) =>
    createEventRecorder({
      client,
      component: 'peerdiscovery-operator',
      instance: identity,
      clock: systemClock,
      log,
    });
  /** For work that does not depend on the leader. */
  const outlets = { client, recorder: recordBy(client), date: systemClock.date, signal: context.signal };
  const issue = (signal: AbortSignal, client: ApiClient) =>
    keepCertificates({
      store: createCertificateStore({ client, fieldManager, signal }),
      namespace,
      wanted: flags.issueCertificates,
      lifetimeMs: flags.certificateLifetimeMs,
      clock: systemClock,
      log,
      signal,
    });
  const control = (signal: AbortSignal, client: ApiClient) =>
    runControllers({
      client,
      identity,
      namespace,
      metrics,
      recorder: recordBy(client),
      checks,
      clock: systemClock,
      random: Math.random,
      log,
      signal,
      onObservable: (read) => {
        observed = read && { read, since: systemClock.now() };
      },
    });
  const lead = (signal: AbortSignal, writer: ApiClient) =>
    Promise.all([control(signal, writer), ...(flags.issueCertificates.length > 0 ? [issue(signal, writer)] : [])]);
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
      async onStartedLeading(signal, leads) {
        metrics.leader.set({ name: electionLease }, 1);
        await lead(signal, writeWhile(client, leads));
      },
      onStoppedLeading: () => metrics.leader.set({ name: electionLease }, 0),
      onTrouble: (reason, message) => {
        checks.set('leader-election', { name: 'leader-election', ok: reason === undefined, message });
        const standstill = explainElectionTrouble(reason, message, namespace);
        if (standstill === undefined) return;
        reportStandstillOnAll(outlets, standstill, 'Elect').catch((error: unknown) =>
          log.warn('cannot write the trouble into the status of PeerDiscovery', { error }),
        );
      },
    });
  else await lead(context.signal, client);
  await endpoint?.close();
  await metricsEndpoint?.close();
  await client.close();
  log.info('the operator has ended');
  return 0;
}
