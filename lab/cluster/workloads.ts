import { setTimeout } from 'node:timers/promises';
import { stringify } from 'yaml';
import { waitUntil } from '../wait-until.ts';
import { pauseImage } from './build-images.ts';
import { type Ending, endingOf } from './client-figures.ts';
import type { Outcome } from './machine.ts';
import type { NewApi } from './new-api.ts';
import { lastWords, type Stream } from './run-program.ts';

/** A user of one side: of the proxies, or of the servers. */
export interface ClientUser {
  /** The namespace of its objects, also the prefix of the namespaces that it creates. */
  readonly namespace: string;
  /** The Pods of `toolDaemonSet`, one on each machine. */
  readonly toolPods: readonly string[];
  /** The folder of the Helm chart. */
  readonly chart: string;
  run(command: readonly string[], input?: string): Promise<Outcome>;
  stream(command: readonly string[]): Stream;
  /** An API that only the new version serves. `isServed` is true once any client has used it. */
  readonly newApi: Pick<NewApi, 'object'> & { isServed: boolean };
}

/** What one attempt came to. */
export interface Result {
  readonly ending: Ending;
  readonly message?: string;
}

/** Something that a user does again and again. */
export interface Workload {
  readonly name: string;
  /** The pause after each attempt. */
  readonly pauseMs: number;
  attempt(user: ClientUser, turn: number): Promise<Result>;
}

/** The namespace of the Pods that `exec`, `logs` and `port-forward` use. */
export const toolNamespace = 'clients-tools';
const ok: Result = { ending: 'ok' };
const startBoundMs = 20_000;
/** How long a stream is used. */
const streamMs = 15_000;
/** The port at which the Pods of `toolDaemonSet` answer. */
export const toolPort = 8080;

/** All workloads. Each runs in a loop of its own. */
export const workloads: readonly Workload[] = [
  {
    name: '`kubectl apply` of a Deployment and `kubectl rollout status`',
    pauseMs: 10_000,
    attempt: (user, turn) =>
      inTurn(user, [
        [['kubectl', 'apply', '-n', user.namespace, '-f', '-'], stringify(deployment(turn))],
        [['kubectl', 'rollout', 'status', '-n', user.namespace, 'deployment/rolling', '--timeout=150s']],
      ]),
  },
  {
    name: '`kubectl create` of a Pod, `kubectl wait` until it is Ready, `kubectl delete`',
    pauseMs: 10_000,
    attempt: (user, turn) => {
      const pod = `awaited-${turn}`;
      return inTurn(user, [
        [['kubectl', 'create', '-n', user.namespace, '-f', '-'], stringify(pausePod(pod))],
        [['kubectl', 'wait', '-n', user.namespace, `pod/${pod}`, '--for=condition=Ready', '--timeout=150s']],
        [['kubectl', 'delete', '-n', user.namespace, `pod/${pod}`, '--timeout=150s']],
      ]);
    },
  },
  { name: '`helm install`, `upgrade` and `uninstall`', pauseMs: 10_000, attempt: installChart },
  {
    name: 'a namespace with an object of an API that is new, created and deleted',
    pauseMs: 5_000,
    attempt: deleteNamespace,
  },
  {
    name: '`kubectl exec`',
    pauseMs: 3_000,
    attempt: (user, turn) =>
      useStream(user, ['kubectl', 'exec', ...toolPod(user, turn), '--', '/usr/bin/node', '-e', tickScript], /tick/),
  },
  {
    name: '`kubectl logs -f`',
    pauseMs: 3_000,
    attempt: (user, turn) => useStream(user, ['kubectl', 'logs', '-f', '--tail=1', ...toolPod(user, turn + 1)], /tick/),
  },
  { name: '`kubectl port-forward`', pauseMs: 3_000, attempt: forwardPort },
];

/** The beginning of the names of namespaces that a user creates to delete them. */
export const doomedPrefix = (user: Pick<ClientUser, 'namespace'>) => `${user.namespace}-doomed-`;

const tickScript = "setInterval(()=>console.log('tick'),1000);setTimeout(process.exit,20000)";

/** Runs commands until one fails. */
async function inTurn(user: ClientUser, commands: readonly (readonly [readonly string[], string?])[]): Promise<Result> {
  for (const [command, input] of commands) {
    const { code, stderr } = await user.run(command, input);
    if (code !== 0) return failure(command, stderr);
  }
  return ok;
}

function failure(command: readonly string[], output: string): Result {
  const message = `${command.slice(0, 2).join(' ')}: ${lastWords(output)}`;
  return { ending: endingOf(message), message };
}

async function installChart(user: ClientUser, turn: number): Promise<Result> {
  const release = `release-${turn}`;
  const place = ['-n', user.namespace];
  for (const what of ['install', 'upgrade']) {
    const mustHave = user.newApi.isServed;
    const command = ['helm', what, release, user.chart, ...place, '--set', `step=${what}`, '-o', 'json'];
    const { code, stdout, stderr } = await user.run(command);
    if (code !== 0) {
      await user.run(['helm', 'uninstall', release, ...place, '--ignore-not-found']);
      return failure(command, stderr);
    }
    // A chart that asks `.Capabilities.APIVersions.Has` must not be told that the API is missing.
    if (mustHave && !stdout.includes('hasNewApi: \\"true\\"')) {
      await user.run(['helm', 'uninstall', release, ...place]);
      return { ending: 'failed', message: `helm ${what} was told that no server has ${user.newApi.object.apiVersion}` };
    }
  }
  return inTurn(user, [[['helm', 'uninstall', release, ...place]]]);
}

async function deleteNamespace(user: ClientUser, turn: number): Promise<Result> {
  const name = `${doomedPrefix(user)}${turn}`;
  const mustHave = user.newApi.isServed;
  const created = await inTurn(user, [[['kubectl', 'create', 'namespace', name]]]);
  if (created.ending !== 'ok') return created;
  const filled = await inTurn(user, [[['kubectl', 'create', '-n', name, '-f', '-'], stringify(user.newApi.object)]]);
  if (filled.ending === 'ok') user.newApi.isServed = true;
  const deleted = await inTurn(user, [[['kubectl', 'delete', 'namespace', name, '--timeout=150s']]]);
  if (filled.ending !== 'ok') return mustHave ? filled : { ending: 'early' };
  return deleted;
}

/** Uses a stream for a while. What it prints first must match `first`. */
async function useStream(user: ClientUser, command: readonly string[], first: RegExp): Promise<Result> {
  const stream = user.stream(command);
  try {
    const isThere = await hasBegun(stream, first);
    if (!isThere) return failure(command, stream.output() || 'nothing for too long');
    const end = performance.now() + streamMs;
    while (performance.now() < end && !stream.hasEnded()) await setTimeout(250);
    return stream.hasEnded() ? { ending: 'cut', message: lastWords(stream.output()) } : ok;
  } finally {
    await stream.kill();
  }
}

async function hasBegun(stream: Stream, first: RegExp): Promise<boolean> {
  const look = async () => first.test(stream.output()) || stream.hasEnded();
  await waitUntil('the first output', look, { boundMs: startBoundMs, everyMs: 100 }).catch(() => {});
  return first.test(stream.output());
}

async function forwardPort(user: ClientUser, turn: number): Promise<Result> {
  const command = ['kubectl', 'port-forward', ...toolPod(user, turn + 2), `:${toolPort}`];
  const stream = user.stream(command);
  try {
    if (!(await hasBegun(stream, /Forwarding from 127\.0\.0\.1:\d+/)))
      return failure(command, stream.output() || 'nothing for too long');
    const port = /127\.0\.0\.1:(\d+)/.exec(stream.output())?.[1];
    const ask = () => answers(`http://127.0.0.1:${port}/`);
    if (!(await ask())) return failure(command, stream.output());
    const end = performance.now() + streamMs;
    while (performance.now() < end) {
      await setTimeout(2_000);
      if (stream.hasEnded() || !(await ask())) return { ending: 'cut', message: lastWords(stream.output()) };
    }
    return ok;
  } finally {
    await stream.kill();
  }
}

async function answers(url: string): Promise<boolean> {
  const options = { signal: AbortSignal.timeout(5_000), headers: { connection: 'close' } };
  return fetch(url, options).then(
    async (response) => (await response.text()) === 'tick',
    () => false,
  );
}

function toolPod({ toolPods }: ClientUser, turn: number): readonly string[] {
  return ['-n', toolNamespace, toolPods[turn % toolPods.length] ?? 'no Pod'];
}

/** A Pod on each machine that prints a line each second, and answers HTTP. */
export function toolDaemonSet(image: string): object {
  const script = `setInterval(()=>console.log('tick'),1000);require('http').createServer((q,a)=>a.end('tick')).listen(${toolPort})`;
  const container = { name: 'tool', image, imagePullPolicy: 'Never', command: ['/usr/bin/node', '-e', script] };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'tool', namespace: toolNamespace },
    spec: {
      selector: { matchLabels: { app: 'tool' } },
      template: {
        metadata: { labels: { app: 'tool' } },
        spec: { containers: [container], terminationGracePeriodSeconds: 1 },
      },
    },
  };
}

/** The files of a chart that asks whether there is an API, by their paths. */
export const chartFiles = ({ object }: Pick<NewApi, 'object'>): Readonly<Record<string, string>> => ({
  'Chart.yaml': 'apiVersion: v2\nname: asking\nversion: 1.0.0\n',
  'templates/config-map.yaml': [
    'apiVersion: v1',
    'kind: ConfigMap',
    'metadata:',
    '  name: {{ .Release.Name }}',
    'data:',
    '  step: {{ .Values.step | quote }}',
    `  hasNewApi: {{ .Capabilities.APIVersions.Has "${object.apiVersion}/${object.kind}" | quote }}`,
    '',
  ].join('\n'),
});

const pauseSpec = {
  terminationGracePeriodSeconds: 1,
  containers: [{ name: 'pause', image: pauseImage, imagePullPolicy: 'Never' }],
};

function deployment(turn: number): object {
  const labels = { app: 'rolling' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'rolling' },
    spec: {
      replicas: 1,
      revisionHistoryLimit: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels, annotations: { turn: String(turn) } }, spec: pauseSpec },
    },
  };
}

function pausePod(name: string): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: pauseSpec };
}
