import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1Node, V1Pod, V1Probe } from '@kubernetes/client-node';
import type { ApiClient } from '../../src/adapters/kubernetes/api-client.ts';
import { ApiError } from '../../src/adapters/kubernetes/api-error.ts';
import { deviceOf, podProcess } from './pod-process.ts';
import { type VolumeSource, writeVolumes } from './pod-volumes.ts';

/** The inputs of the agent. */
export interface NodeAgentOptions {
  readonly client: ApiClient;
  readonly rootfs: string;
  readonly entrypoint: readonly string[];
  /** The address of the API for Pods. */
  readonly apiServer: { readonly host: string; readonly port: string };
  readonly launch: (command: string, args: readonly string[], name: string) => ChildProcess;
  readonly log: (message: string) => void;
}

/** Replaces scheduler, kubelet and container runtime for PeerDiscovery's own Pods. */
export interface NodeAgent {
  /** Process ids of running containers, by `namespace/name`. */
  pids(): ReadonlyMap<string, number>;
  /** Ends every container and removes its resources. */
  stop(): Promise<void>;
}

interface Running {
  readonly pod: V1Pod;
  readonly child: ChildProcess;
  readonly folder: string;
  readonly podIp: string;
  readonly startedAt: string;
  ended: boolean;
  stopping: boolean;
  probing: boolean;
  ready: boolean | undefined;
  volumesAtMs: number;
}

const bridge = 'pods';
const gateway = '10.78.0.1';
const tickMs = 200;
/** A kubelet checks mounted Secrets about once a minute. Tests should not wait that long. */
const volumesEveryMs = 2_000;

/**
 * Runs every Pod with PeerDiscovery's label that the API server has admitted, according to its spec: image file system,
 * arguments, environment, volumes with a bound token, user, read-only root, own network, readiness probe, grace period.
 * Without a container runtime it cannot apply seccomp, cgroups and NetworkPolicy.
 */
export function startNodeAgent(options: NodeAgentOptions): NodeAgent {
  const { client, log } = options;
  const running = new Map<string, Running>();
  const canChangeUser = /^\s*0\s+0\s+\d{6,}/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  let nextAddress = 10;
  let stopped = false;
  ip(['link', 'add', bridge, 'type', 'bridge']);
  ip(['address', 'add', `${gateway}/24`, 'dev', bridge]);
  ip(['link', 'set', bridge, 'up']);

  const podPath = (pod: V1Pod, subresource = '') =>
    `/api/v1/namespaces/${pod.metadata?.namespace}/pods/${pod.metadata?.name}${subresource}`;
  const nameOf = (pod: V1Pod) => `${pod.metadata?.namespace}/${pod.metadata?.name}`;

  const volumes: VolumeSource = {
    secret: (namespace, name) => client.get(`/api/v1/namespaces/${namespace}/secrets/${name}`),
    configMap: (namespace, name) => client.get(`/api/v1/namespaces/${namespace}/configmaps/${name}`),
    async token(pod, audience, expirationSeconds) {
      const { namespace, name, uid } = pod.metadata ?? {};
      const spec = {
        audiences: audience === undefined ? [] : [audience],
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      };
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${pod.spec?.serviceAccountName}/token`;
      const made = await client.create<{ status?: { token?: string } }>(path, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec,
      });
      return made.status?.token ?? '';
    },
  };

  async function bind(pod: V1Pod, nodes: readonly V1Node[], pods: readonly V1Pod[]): Promise<void> {
    const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
    const named = terms?.flatMap(({ matchFields }) => matchFields?.flatMap(({ values }) => values ?? []) ?? []) ?? [];
    const selector = Object.entries(pod.spec?.nodeSelector ?? {});
    const fitting = nodes.filter(
      ({ metadata }) =>
        selector.every(([key, value]) => metadata?.labels?.[key] === value) &&
        (named.length === 0 || named.includes(metadata?.name ?? '')),
    );
    const load = (node: V1Node) => pods.filter(({ spec }) => spec?.nodeName === node.metadata?.name).length;
    const [node] = fitting.sort((a, b) => load(a) - load(b));
    if (node === undefined) return;
    await client.create(podPath(pod, '/binding'), {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata?.name },
      target: { apiVersion: 'v1', kind: 'Node', name: node.metadata?.name },
    });
  }

  async function start(pod: V1Pod, nodes: readonly V1Node[]): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-pod-'));
    const { folders, missing } = await writeVolumes(pod, folder, volumes);
    if (missing.length > 0) {
      rmSync(folder, { recursive: true, force: true });
      return;
    }
    const node = nodes.find(({ metadata }) => metadata?.name === pod.spec?.nodeName);
    const hostIp = node?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? gateway;
    const onHost = pod.spec?.hostNetwork === true;
    const podIp = onHost ? hostIp : `10.78.0.${nextAddress++}`;
    const { rootfs, entrypoint, apiServer } = options;
    const place = { rootfs, entrypoint, apiServer, folder, podIp, hostIp, gateway, volumes: folders, canChangeUser };
    const { command, args } = podProcess(pod, place);
    const child = options.launch(command, args, pod.metadata?.name ?? '');
    const startedAt = new Date().toISOString();
    const entry: Running = {
      ...{ pod, child, folder, podIp, startedAt, ended: false, stopping: false, probing: false },
      ready: undefined,
      volumesAtMs: Date.now(),
    };
    running.set(pod.metadata?.uid ?? '', entry);
    child.once('exit', (code, signal) => {
      entry.ended = true;
      log(`Pod ${nameOf(pod)} ended with ${signal ?? code}`);
    });
    if (onHost) return;
    const device = deviceOf(podIp);
    try {
      await inNetworkOfItsOwn(child);
      ip(['link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(child.pid)]);
      ip(['link', 'set', device, 'master', bridge, 'up']);
    } catch (error) {
      // The next tick restarts it.
      running.delete(pod.metadata?.uid ?? '');
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async function terminate(entry: Running): Promise<void> {
    if (entry.stopping) return;
    entry.stopping = true;
    const { pod, child } = entry;
    const graceMs = (pod.metadata?.deletionGracePeriodSeconds ?? pod.spec?.terminationGracePeriodSeconds ?? 30) * 1_000;
    if (!entry.ended) {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const impatient = setTimeout(() => {
        log(`Pod ${nameOf(pod)} was killed after its grace period of ${graceMs / 1_000} s`);
        child.kill('SIGKILL');
      }, graceMs);
      await exited;
      clearTimeout(impatient);
    }
    rmSync(entry.folder, { recursive: true, force: true });
    running.delete(pod.metadata?.uid ?? '');
    if (!stopped) await ignoreMissing(client.delete(podPath(pod), { query: { gracePeriodSeconds: 0 } }));
  }

  async function observe(entry: Running): Promise<void> {
    if (entry.probing || entry.stopping) return;
    entry.probing = true;
    try {
      if (Date.now() - entry.volumesAtMs > volumesEveryMs) {
        entry.volumesAtMs = Date.now();
        await writeVolumes(entry.pod, entry.folder, volumes);
      }
      const container = entry.pod.spec?.containers[0];
      const probes = [container?.startupProbe, container?.livenessProbe, container?.readinessProbe];
      let ready = !entry.ended;
      for (const probe of probes) ready &&= await passes(probe, entry);
      if (ready === entry.ready) return;
      await ignoreMissing(client.patchMerge(podPath(entry.pod, '/status'), { status: statusOf(entry, ready) }));
      // The state is stored only now, so that a failed report is sent again.
      entry.ready = ready;
    } finally {
      entry.probing = false;
    }
  }

  function passes(probe: V1Probe | undefined, entry: Running): Promise<boolean> {
    const { httpGet, timeoutSeconds = 1 } = probe ?? {};
    if (httpGet === undefined) return Promise.resolve(probe === undefined);
    const ports = entry.pod.spec?.containers[0]?.ports ?? [];
    const port = ports.find(({ name }) => name === httpGet.port)?.containerPort ?? Number(httpGet.port);
    return new Promise((resolve) => {
      const asked = request(
        { host: httpGet.host ?? entry.podIp, port, path: httpGet.path ?? '/', timeout: timeoutSeconds * 1_000 },
        (response) => {
          response.resume();
          resolve(response.statusCode !== undefined && response.statusCode >= 200 && response.statusCode < 400);
        },
      );
      asked.on('timeout', () => asked.destroy());
      asked.on('error', () => resolve(false));
      asked.end();
    });
  }

  async function tick(): Promise<void> {
    const query = { labelSelector: 'app.kubernetes.io/name=peerdiscovery' };
    const [{ items: pods }, { items: nodes }] = await Promise.all([
      client.list<V1Pod>('/api/v1/pods', { query }),
      client.list<V1Node>('/api/v1/nodes', {}),
    ]);
    for (const pod of pods) {
      const entry = running.get(pod.metadata?.uid ?? '');
      if (pod.metadata?.deletionTimestamp !== undefined) {
        if (entry !== undefined) terminate(entry).catch(report);
        else await ignoreMissing(client.delete(podPath(pod), { query: { gracePeriodSeconds: 0 } }));
      } else if (pod.spec?.nodeName === undefined) await bind(pod, nodes, pods);
      else if (entry === undefined) await start(pod, nodes);
      else observe(entry).catch(report);
    }
    for (const [uid, entry] of running)
      if (!pods.some(({ metadata }) => metadata?.uid === uid)) terminate(entry).catch(report);
  }

  function report(error: unknown): void {
    if (!stopped) log(`the node agent: ${error instanceof Error ? error.message : String(error)}`);
  }

  const loop = (async () => {
    while (!stopped) {
      await tick().catch(report);
      await new Promise((resolve) => setTimeout(resolve, tickMs));
    }
  })();

  return {
    pids: () => new Map([...running.values()].map(({ pod, child }) => [nameOf(pod), child.pid ?? 0])),
    async stop() {
      stopped = true;
      await loop;
      for (const { child } of running.values()) child.kill('SIGKILL');
      for (const { folder } of running.values()) rmSync(folder, { recursive: true, force: true });
      running.clear();
    },
  };
}

function statusOf({ pod, podIp, startedAt, ended }: Running, ready: boolean): object {
  const container = pod.spec?.containers[0];
  const state = ended ? { terminated: { exitCode: 1, finishedAt: startedAt } } : { running: { startedAt } };
  const condition = (type: string, holds: boolean) => ({
    type,
    status: holds ? 'True' : 'False',
    lastTransitionTime: new Date().toISOString(),
  });
  return {
    phase: 'Running',
    podIP: podIp,
    podIPs: [{ ip: podIp }],
    startTime: startedAt,
    conditions: [
      condition('PodScheduled', true),
      condition('Initialized', true),
      condition('ContainersReady', ready),
      condition('Ready', ready),
    ],
    containerStatuses: [
      {
        name: container?.name,
        image: container?.image,
        imageID: 'lab',
        ready,
        started: !ended,
        restartCount: 0,
        state,
      },
    ],
  };
}

/** Waits until a process that has just started has left our network. Throws if it ends before. */
async function inNetworkOfItsOwn(child: ChildProcess): Promise<void> {
  const networkOf = (process: number | 'self') => readlinkSync(`/proc/${process}/ns/net`);
  while (child.pid === undefined || networkOf(child.pid) === networkOf('self')) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      throw new Error('a Pod ended before it had a network');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function ignoreMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
}

function ip(args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')} ended with ${status}: ${stderr}`);
}
