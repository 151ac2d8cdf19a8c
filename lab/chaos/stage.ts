import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { secondProxyAddress, startMixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { createHttp1Client } from './client.ts';
import { tableLabel, tableNamespace } from './faults.ts';
import { createOracle, type Oracle, readinessOf } from './oracle.ts';
import { groupIds, must, type Program, programs, type Scene } from './scene.ts';

/** The proxies. Each has a different home. */
export const proxies = [
  { name: 'proxy-1', url: 'https://10.77.0.30:6443' },
  { name: 'proxy-2', url: `https://${secondProxyAddress}:6443` },
] as const;
const recoveryBoundMs = 120_000;
/** A restarted server or proxy counts as fit only this long after it is ready, because others must notice it first. */
const noticeMs = 3_000;
const readyWithinMs = 1_000;

/** A complete control plane of three servers, two operators and two proxies. */
export interface Stage {
  readonly scene: Scene;
  readonly oracle: Oracle;
  close(): Promise<void>;
}

/**
 * Resolves when everything works.
 *
 * @param options.by a command that starts a program, by the program's name
 */
export async function openStage(options: {
  readonly log: (line: string) => void;
  readonly now: () => number;
  readonly dateLibrary: string | undefined;
  readonly by?: (name: Program) => readonly string[];
}): Promise<Stage> {
  const { log, now, dateLibrary, by = () => [] } = options;
  const oracle = createOracle(
    new Map([
      ['old-1', new Set(['configmaps', 'jobs', 'widgets'])],
      ['new-1', new Set(['configmaps', 'jobs', 'resourceclaims', 'widgets'])],
      ['new-2', new Set(['configmaps', 'jobs', 'resourceclaims', 'widgets'])],
    ]),
  );
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-chaos-'));
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
      { name: 'new-2', version: '1.36' },
    ],
    home: 'old-1',
    log,
  });
  const close = async () => {
    await mixed.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const setUp = createScene(mixed, oracle, now, { folder, dateLibrary });
    for (const name of programs) await setUp.start(name, by(name));
    await letReaderRead(setUp);
    await recover(setUp, []);
    const scene = { ...setUp, firstTable: await copyTable(setUp) };
    await must(scene, ['apply', '-f', '-'], widgets);
    await recover(scene);
    const endWatch = watchReadiness(scene, oracle, now);
    return {
      scene,
      oracle,
      close: async () => {
        endWatch();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Marks a server as not ready from its last good `/readyz` answer until it is ready again. Returns a function that ends
 * the watching.
 */
function watchReadiness({ mixed }: Scene, oracle: Oracle, now: () => number): () => void {
  const { plane } = mixed;
  const ca = readFileSync(plane.caFile, 'utf8');
  const watched = plane.servers.map(({ name, url }) => {
    const client = createHttp1Client(url, ca);
    let wasReady = true;
    let readyAtMs = now();
    const look = async () => {
      const askedAtMs = now();
      const { status } = await client.ask({ method: 'GET', path: '/readyz', token: plane.tokens.admin }, readyWithinMs);
      if (status === 200 && !wasReady) oracle.mark(readinessOf(name), true, now() + noticeMs);
      if (status !== 200 && wasReady) oracle.mark(readinessOf(name), false, readyAtMs);
      wasReady = status === 200;
      if (wasReady) readyAtMs = askedAtMs;
    };
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      void look().finally(() => (busy = false));
    }, 500);
    return () => {
      clearInterval(timer);
      client.close();
    };
  });
  return () => {
    for (const end of watched) end();
  };
}

type Mixed = Awaited<ReturnType<typeof startMixedPlane>>;

function createScene(
  mixed: Mixed,
  oracle: ReturnType<typeof createOracle>,
  now: () => number,
  given: Pick<Scene, 'folder' | 'dateLibrary'>,
): Scene {
  const running = new Map<Program, ReturnType<Mixed['startOperator']>>();
  const quiet = ['--health-bind-address', '0'];
  type Launch = (by: readonly string[], flags: readonly string[]) => ReturnType<Mixed['startOperator']>;
  const launch: Record<Program, Launch> = {
    'operator-1': (by, flags) => mixed.startOperator([...quiet, ...flags], { name: 'operator-1', by }),
    'operator-2': (by, flags) => mixed.startOperator([...quiet, ...flags], { name: 'operator-2', by }),
    'proxy-1': (by, flags) => mixed.startProxy([...quiet, ...flags], { name: 'proxy-1', by }),
    'proxy-2': (by, flags) => {
      const home = ['--home', mixed.plane.server('new-1').address, '--bind-address', secondProxyAddress];
      return mixed.startProxy([...quiet, ...home, ...flags], { name: 'proxy-2', by });
    },
  };
  const mark = (name: string, fit: boolean) => oracle.mark(name, fit, fit ? now() + noticeMs : now());
  const scene: Scene = {
    ...given,
    mixed,
    firstTable: '',
    mark,
    pidOf: (name) => mixed.plane.pidOf(name),
    async kubectl(args, input) {
      const fit = mixed.plane.servers.find(({ name }) => oracle.fitThroughout(name, now(), now()));
      return mixed.kubectl(fit?.name ?? 'new-1', [...args, '--request-timeout=20s'], input);
    },
    async start(name, by = [], flags = []) {
      const group = ['setpriv', `--regid=${groupIds[name]}`, '--clear-groups', '--'];
      running.set(name, launch[name]([...by, ...group], flags));
      const proxy = proxies.find((one) => one.name === name);
      if (proxy === undefined) return;
      const curl = ['-s', '--max-time', '2', '--cacert', mixed.plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
      const answers = async () => (await mixed.plane.exec('curl', [...curl, `${proxy.url}/version`])).stdout !== '000';
      // With too few descriptors, the proxy may never answer.
      if (!by.includes('prlimit'))
        await waitUntil(`${name} to answer`, answers, { seen: () => mixed.plane.logTails(20) });
      mark(name, true);
    },
    async signal(name, signal) {
      const child = running.get(name);
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      if (signal === 'SIGKILL' || signal === 'SIGTERM') await ended;
    },
    leader() {
      const lastLine = (name: Program) => {
        const lines = mixed.plane.readLog(name).split('\n');
        return lines.filter((line) => / (stopped )?leading\b/.test(line)).at(-1) ?? '';
      };
      const leads = (name: Program) => {
        const line = lastLine(name);
        return line !== '' && !line.includes('stopped leading');
      };
      return leads('operator-2') && !leads('operator-1') ? 'operator-2' : 'operator-1';
    },
  };
  return scene;
}

/** Gives the reader a right that only the servers' RBAC knows. */
async function letReaderRead(scene: Scene): Promise<void> {
  const rbac = 'rbac.authorization.k8s.io';
  const rules = [
    { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: ['batch', 'resource.k8s.io', 'chaos.example'], resources: ['*'], verbs: ['get', 'list', 'watch'] },
  ];
  const role = { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: 'chaos-reader' }, rules };
  await must(scene, ['apply', '-f', '-'], JSON.stringify(role));
  await must(scene, ['create', 'clusterrolebinding', 'chaos-reader', '--clusterrole=chaos-reader', '--user=reader']);
}

/** A resource that the first table does not list. */
const widgets = JSON.stringify({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.chaos.example' },
  spec: {
    group: 'chaos.example',
    names: { kind: 'Widget', plural: 'widgets' },
    scope: 'Namespaced',
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
  },
});

/** The ConfigMaps of the table, as in a backup. */
async function copyTable(scene: Scene): Promise<string> {
  const text = await must(scene, ['get', 'configmap', '-n', tableNamespace, '-l', tableLabel, '-o', 'json']);
  const { items } = JSON.parse(text) as { readonly items: readonly { readonly metadata: Record<string, unknown> }[] };
  const kept = items.map(({ metadata: { name, namespace, labels, annotations }, ...rest }) => ({
    ...rest,
    metadata: { name, namespace, labels, annotations },
  }));
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: kept });
}

/** The reads that show whether everything works. */
const served = ['/apis/resource.k8s.io/v1/resourceclaims', '/apis/chaos.example/v1/widgets'];

/**
 * Resolves when all servers are ready in the status, and both proxies answer rightly for served and unserved resources.
 */
export async function recover(scene: Scene, paths: readonly string[] = served): Promise<void> {
  const { plane } = scene.mixed;
  const code = async (url: string) => {
    const flags = ['-s', '--max-time', '5', '--cacert', plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
    return (await plane.exec('curl', [...flags, '-H', `Authorization: Bearer ${plane.tokens.admin}`, url])).stdout;
  };
  const calm = async () => {
    for (const { url } of proxies) {
      for (const path of paths) if ((await code(`${url}${path}`)) !== '200') return false;
      if ((await code(`${url}/apis/nobody.example/v1/things`)) !== '404') return false;
    }
    const { stdout } = await scene.kubectl(['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    const peers: { state: string }[] = stdout === '' ? [] : (JSON.parse(stdout).status?.peers ?? []);
    return peers.length === 3 && peers.every(({ state }) => state === 'Ready');
  };
  await waitUntil('the control plane to recover', calm, { boundMs: recoveryBoundMs, everyMs: 250 });
}
