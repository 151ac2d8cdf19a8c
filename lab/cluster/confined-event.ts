import { get } from 'node:https';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import { createClient } from './clients.ts';
import {
  type Container,
  containersOf,
  looseEnds,
  memoryTrouble,
  processesOf,
  viewMemory,
  viewProcess,
} from './confinement.ts';
import type { Outcome } from './life.ts';
import type { LifeCluster } from './life-cluster.ts';
import { loadNamespace, readCredentials, waysOf } from './load.ts';
import type { Machine } from './machine.ts';
import { firstProcess, type Placed, placedPods } from './placed-pods.ts';
import { type Listener, listenInPods, reach, waitForPolicies } from './pod-network.ts';
import { startPolicyEnforcer } from './policy-enforcer.ts';
import { type Attempt, describeReaches, type Phase, wrongReaches } from './reach.ts';
import { startTools } from './real-clients.ts';
import { toolNamespace } from './workloads.ts';

const system = 'peerdiscovery-system';
const namespaces = [system, 'peerdiscovery-front-proxy'];
/** How long many large answers go through each proxy, and how many at a time. */
const burst = { forMs: 15_000, atATime: 2 };
const tokenEveryMs = 250;
const binding = ['clusterrolebinding', 'confined-reader'];

/**
 * Reads from the kernel how confined every container of PeerDiscovery is, lets a real controller enforce the
 * NetworkPolicies of this project, replaces the operators meanwhile, and judges the use of memory under load.
 */
export async function confine({ machines, plan }: LifeCluster): Promise<Outcome> {
  const [first] = machines;
  if (plan.kubeRouter === undefined) throw new Error('the plan has no kube-router');
  const kubectl = (...args: string[]) => first.must(['kubectl', ...args], { log: 'confined.log' });
  const folder = join(first.folder, 'peerdiscovery', 'config', 'proxy');
  await kubectl('apply', '--server-side', '-k', folder);
  await kubectl('-n', system, 'rollout', 'status', 'deployment/peerdiscovery-proxy', '--timeout=5m');
  await startTools(first, [toolNamespace]);
  await kubectl('create', ...binding, '--clusterrole=view', `--serviceaccount=${toolNamespace}:default`);
  const restarts = restartsOf(await placedPods(machines, namespaces));
  const confinement = await judgeConfinement(machines);
  const seen = await looseEndsOfTools(machines);
  const tokens = await startTokenLoad(machines);
  const listeners: Listener[] = [];
  const attempts: Attempt[] = [];
  const problems = [...confinement.problems];
  if (!seen.includes('Seccomp is 0, not 2')) problems.push('an unconfined Pod was taken for a confined one');
  const tryAll = async (phase: Phase) => attempts.push(...(await reach(machines, phase)));
  const listen = async () => listeners.push(...(await listenInPods(machines)));
  try {
    await listen();
    await tryAll('before');
    const enforcer = await startPolicyEnforcer(machines, plan.kubeRouter);
    const status = watchStatus(first);
    try {
      await waitForPolicies(machines);
      problems.push(...(await loadProxies(machines)));
      await replaceOperators(machines);
      await listen();
      await waitForPolicies(machines);
      await tryAll('enforced');
    } finally {
      problems.push(...(await status.stop()));
      await enforcer.stop();
    }
    await tryAll('after');
  } finally {
    for (const { machine, pid } of listeners) await machine.run(['kill', pid]);
    await tokens.stop();
  }
  const { sent, failed } = await tokens.stop();
  const memory = await judgeMemory(machines, restarts);
  await kubectl('delete', '-k', folder);
  await kubectl('delete', ...binding);
  await kubectl('delete', 'namespace', toolNamespace);
  const areGone = async () => (await proxyPods(machines)).length === 0;
  await waitUntil('the end of the proxies in Pods', areGone, { boundMs: 120_000, everyMs: 1_000 });
  return {
    problems: [...problems, ...wrongReaches(attempts), ...new Set(failed), ...memory.problems],
    notes: [
      confinement.note,
      `Of a Pod without a security context, it said: ${seen.join(', ')}.`,
      describeReaches(attempts),
      `Meanwhile, proxies in Pods answered ${sent - failed.length} of ${sent} requests with a token.`,
      memory.note,
    ],
  };
}

const proxyPods = (machines: readonly Machine[]) => placedPods(machines, [system], 'app.kubernetes.io/component=proxy');

function restartsOf(placed: readonly Placed[]): ReadonlyMap<string, number> {
  return new Map(placed.flatMap(({ pod }) => containersOf(pod).map(({ pod: name, restarts }) => [name, restarts])));
}

async function judgeConfinement(
  machines: readonly Machine[],
): Promise<{ readonly problems: readonly string[]; readonly note: string }> {
  const problems: string[] = [];
  let processes = 0;
  let containers = 0;
  for (const { pod, machine } of await placedPods(machines, namespaces))
    for (const container of containersOf(pod)) {
      const pids = await processesOf(machine, container);
      if (pids.length === 0) problems.push(`${container.pod}: no process was found`);
      containers += 1;
      processes += pids.length;
      for (const pid of pids) {
        const loose = looseEnds(await viewProcess(machine, pid), container.promised);
        problems.push(...loose.map((point) => `${container.pod}, process ${pid}: ${point}`));
      }
    }
  const note = `The kernel confirmed for the ${processes} processes of ${containers} containers: a seccomp filter, no new privileges, no capability, the user and group of the manifest, a read-only root and the manifest’s limit of memory.`;
  return { problems, note: problems.length === 0 ? note : `${problems.length} points of confinement were missing.` };
}

/** What an unconfined Pod lacks, which proves that a missing point of the others would be noticed. */
async function looseEndsOfTools(machines: readonly Machine[]): Promise<readonly string[]> {
  const [tool] = await placedPods(machines, [toolNamespace], 'app=tool');
  if (tool === undefined) throw new Error('there is no tool');
  const view = await viewProcess(tool.machine, await firstProcess(tool.machine, tool.pod));
  return containersOf(tool.pod).flatMap(({ promised }) => looseEnds(view, promised));
}

/** Polls the conditions of the PeerDiscovery, which must all stay `True`. */
function watchStatus(machine: Machine): { stop(): Promise<readonly string[]> } {
  const wrong = new Set<string>();
  const over = new AbortController();
  const path = 'jsonpath={range .status.conditions[*]}{.type}={.status} {end}';
  const look = async () => {
    while (!over.signal.aborted) {
      const { code, stdout } = await machine.run(['kubectl', 'get', 'peerdiscovery', 'cluster', '-o', path]);
      for (const wanted of ['Ready=True', 'Converged=True'])
        if (code === 0 && !stdout.includes(wanted)) wrong.add(`while policies were enforced, not ${wanted}: ${stdout}`);
      await setTimeout(1_000);
    }
  };
  const looking = look();
  return {
    stop: async () => {
      over.abort();
      await looking;
      return [...wrong];
    },
  };
}

/** Sends requests with large answers through each proxy on a machine. Resolves to those that failed. */
async function loadProxies(machines: readonly Machine[]): Promise<readonly string[]> {
  const [first] = machines;
  if (first === undefined) return [];
  const credentials = await readCredentials(first);
  const paths = ['/openapi/v2', `/api/v1/namespaces/${loadNamespace}/configmaps`, '/apis', '/api/v1/pods'];
  const end = Date.now() + burst.forMs;
  const failed: string[] = [];
  const proxies = waysOf(machines).filter(({ proxied }) => proxied);
  const run = async (way: (typeof proxies)[number]) => {
    const client = createClient(way, credentials);
    for (let turn = 0; Date.now() < end; turn += 1) {
      const path = paths[turn % paths.length] ?? '';
      const { status, error = '' } = await client.send('GET', path);
      if (status !== 200) failed.push(`${way.name} answered ${status} ${error} to ${path}`);
    }
    client.close();
  };
  await Promise.all(proxies.flatMap((way) => Array.from({ length: burst.atATime }, () => run(way))));
  return failed;
}

/** Replaces one operator after the other. The new ones connect under the policies. */
async function replaceOperators(machines: readonly Machine[]): Promise<void> {
  const [first] = machines;
  const operators = await placedPods(machines, [system], 'app.kubernetes.io/component=operator');
  for (const { pod } of operators) {
    await first?.must(['kubectl', 'delete', 'pod', '-n', system, pod.metadata.name]);
    const rollout = ['rollout', 'status', 'deployment/peerdiscovery-operator', '--timeout=3m'];
    await first?.must(['kubectl', '-n', system, ...rollout]);
  }
}

/** Sends requests with a token through the proxies in Pods, until it is stopped. */
async function startTokenLoad(
  machines: readonly Machine[],
): Promise<{ stop(): Promise<{ readonly sent: number; readonly failed: readonly string[] }> }> {
  const [first] = machines;
  if (first === undefined) throw new Error('a cluster has machines');
  const token = (await first.must(['kubectl', 'create', 'token', '-n', toolNamespace, 'default'])).trim();
  const ca = await first.must([
    ...['kubectl', 'get', 'configmap', 'peerdiscovery-ca', '-n', system, '-o', 'jsonpath={.data.ca\\.crt}'],
  ]);
  const pods = await proxyPods(machines);
  const over = new AbortController();
  const failed: string[] = [];
  let sent = 0;
  const ask = (host: string) =>
    new Promise<string>((resolve) => {
      const asked = get(
        {
          host,
          port: 6_443,
          path: `/api/v1/namespaces/${loadNamespace}/configmaps/kube-root-ca.crt`,
          ca,
          servername: `peerdiscovery-proxy.${system}.svc`,
          headers: { authorization: `Bearer ${token}` },
          // Each request needs a connection of its own, which a policy could refuse.
          agent: false,
          timeout: 10_000,
        },
        (response) => {
          response.resume();
          response.once('close', () => resolve(String(response.statusCode)));
        },
      );
      asked.once('timeout', () => asked.destroy(new Error('no answer')));
      asked.once('error', ({ message }) => resolve(message));
    });
  const run = async ({ pod }: Placed) => {
    while (!over.signal.aborted) {
      const answer = await ask(pod.status.podIP ?? '');
      sent += 1;
      if (answer !== '200') failed.push(`${pod.metadata.name} answered ${answer} to a request with a token`);
      await setTimeout(tokenEveryMs);
    }
  };
  const running = pods.map(run);
  return {
    stop: async () => {
      over.abort();
      await Promise.all(running);
      return { sent, failed };
    },
  };
}

async function judgeMemory(
  machines: readonly Machine[],
  restarts: ReadonlyMap<string, number>,
): Promise<{ readonly problems: readonly string[]; readonly note: string }> {
  const problems: string[] = [];
  let highest = { share: 0, text: 'unknown' };
  for (const { pod, machine } of await placedPods(machines, namespaces))
    for (const container of containersOf(pod)) {
      const memory = await viewMemory(machine, await firstProcess(machine, pod));
      const counts = { before: restarts.get(container.pod) ?? 0, now: container.restarts };
      problems.push(...memoryTrouble(memory, counts).map((trouble) => `${container.pod}: ${trouble}`));
      const used = usedShare(container, Number(memory.peak));
      if (used.share > highest.share) highest = used;
    }
  return { problems, note: `The memory of a container came nearest to its limit with ${highest.text}.` };
}

function usedShare({ pod, promised: { memoryBytes = 0 } }: Container, peak: number): { share: number; text: string } {
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  return { share: peak / memoryBytes, text: `${mebibytes(peak)} of ${mebibytes(memoryBytes)} MiB (${pod})` };
}
