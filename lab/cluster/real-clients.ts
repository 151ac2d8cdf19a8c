import { setMaxListeners } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { stringify } from 'yaml';
import { localImage } from '../../scripts/build-image.ts';
import { waitUntil } from '../wait-until.ts';
import { type Balancer, startBalancer } from './balancer.ts';
import type { ClientPrograms } from './build-programs.ts';
import { type Attempt, type ClientFigures, tally } from './client-figures.ts';
import { type Client, type Credentials, createClient } from './clients.ts';
import { asClient } from './cpu-shares.ts';
import { type Figures, startFigures } from './figures-program.ts';
import { type HeldWatches, startHeldWatches } from './held-watches.ts';
import type { Machine } from './machine.ts';
import { changeManaged, judgeManager } from './managed-objects.ts';
import type { NewApi } from './new-api.ts';
import { runProgram, startStream } from './run-program.ts';
import { type ClientUser, chartFiles, doomedPrefix, toolDaemonSet, toolNamespace, workloads } from './workloads.ts';

/** Programs that people use, behind a load balancer for each side. */
export interface RealClients {
  /** Counts long-lived watches and connections now. Call it while everything runs. */
  count(): Promise<void>;
  /** Stops them and resolves to what each side saw. Call it when nothing else changes what informers follow. */
  stop(): Promise<Sides>;
}

/** What each side saw. */
export interface Sides {
  /** Undefined without proxies. */
  readonly through: ClientFigures | undefined;
  readonly straight: ClientFigures;
}

/** What the real clients run on. */
export interface Setting {
  readonly machines: readonly Machine[];
  readonly credentials: Credentials;
  readonly programs: ClientPrograms;
  /** The folder for their files. */
  readonly folder: string;
  /** The namespace of the load, whose ConfigMaps informers follow. */
  readonly loadNamespace: string;
  readonly newApi: NewApi;
  /** The number of long-lived watches of each side. */
  readonly heldWatches: number;
}

/** One side while it runs. */
interface Side {
  readonly balancer: Balancer;
  readonly user: ClientUser;
  readonly attempts: Attempt[];
  readonly running: readonly Promise<void>[];
  readonly informers: Figures;
  readonly election: Figures;
  readonly manager: Figures;
  readonly held: HeldWatches;
  readonly kind: SideKind;
  /** The names of the objects that long-lived watches must have shown. */
  readonly added: string[];
}

interface SideKind {
  readonly name: 'proxies' | 'servers';
  readonly port: number;
  /** A name in the certificate of every endpoint. */
  readonly serverName: string;
  /** What the long-lived watches of this side watch. Nobody else watches it in one namespace. */
  readonly heldResource: string;
  /** An object of that resource without its name. */
  readonly heldObject: object;
  isHealthy(host: string): Promise<boolean>;
}

/** The address of this process in the network of the machines. */
const here = '10.10.0.1';
const checkMs = 1_500;
const commandBoundMs = 200_000;
/** How long deleted namespaces may take after the end of the load. */
const emptyBoundMs = 90_000;
const settleBoundMs = 60_000;
const addEveryMs = 5_000;

/** Starts all clients on both sides, or only at the servers. */
export async function startRealClients(setting: Setting, hasProxies: boolean): Promise<RealClients> {
  const [first] = setting.machines;
  if (first === undefined) throw new Error('a cluster has machines');
  const servers = setting.machines.map(({ name, address }) =>
    createClient({ name, host: address, port: 6443, proxied: false }, setting.credentials),
  );
  const kinds = sideKinds(servers).filter(({ name }) => hasProxies || name === 'servers');
  const toolPods = await startTools(first, [...kinds.map(namespaceOf), toolNamespace]);
  writeChart(join(setting.folder, 'chart'), setting.newApi);
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const newApi = { ...setting.newApi, isServed: false };
  const since = Date.now();
  const sides: Side[] = [];
  for (const kind of kinds) sides.push(await startSide({ ...setting, kind, toolPods, newApi, signal: stop.signal }));
  const writing = sides.flatMap((side) => [
    addHeld(servers, side, stop.signal),
    changeManaged(servers, side.user.namespace, stop),
  ]);
  const levels = new Map<Side, Level>();
  return {
    count: async () => {
      for (const side of sides)
        levels.set(side, {
          perServer: await Promise.all(servers.map((server) => countWatches(server, side.kind.heldResource))),
          perEndpoint: side.balancer.connections(),
          proxyConnections: side.kind.name === 'proxies' ? await countProxyConnections(setting.machines) : undefined,
        });
    },
    stop: async () => {
      stop.abort();
      await Promise.all(writing);
      await Promise.all(sides.flatMap(({ running }) => running));
      const figures: ClientFigures[] = [];
      for (const side of sides) {
        const level = levels.get(side) ?? { perServer: [], perEndpoint: [], proxyConnections: undefined };
        const ends = { ...setting, servers, level, since };
        figures.push(await finish(side, ends));
      }
      for (const server of servers) server.close();
      const [one, other] = figures;
      const straight = other ?? one;
      if (straight === undefined) throw new Error('there is no side');
      return { through: other === undefined ? undefined : one, straight };
    },
  };
}

/** The namespace of the clients of one side. */
export const clientNamespace = (side: 'proxies' | 'servers') => `clients-of-${side}`;

const namespaceOf = ({ name }: SideKind) => clientNamespace(name);

function sideKinds(servers: readonly Client[]): readonly SideKind[] {
  return [
    {
      name: 'proxies',
      port: 7443,
      serverName: 'm1',
      heldResource: 'podtemplates',
      heldObject: {
        kind: 'PodTemplate',
        template: { metadata: { labels: { app: 'none' } }, spec: { containers: [{ name: 'none', image: 'none' }] } },
      },
      isHealthy: async (host) => {
        const signal = AbortSignal.timeout(checkMs);
        return (await fetch(`http://${host}:7444/readyz`, { signal })).ok;
      },
    },
    {
      name: 'servers',
      port: 6443,
      serverName: 'kubernetes.default.svc',
      heldResource: 'serviceaccounts',
      heldObject: { kind: 'ServiceAccount' },
      isHealthy: async (host) => {
        const server = servers.find(({ way }) => way.host === host);
        return (await server?.send('GET', '/readyz', undefined, checkMs))?.status === 200;
      },
    },
  ];
}

/** Starts the Pods for exec, logs and port-forward. Resolves to their names. */
export async function startTools(machine: Machine, namespaces: readonly string[]): Promise<readonly string[]> {
  for (const namespace of namespaces) await machine.must(['kubectl', 'create', 'namespace', namespace]);
  await machine.must(['kubectl', 'apply', '-f', '-'], { input: stringify(toolDaemonSet(localImage())) });
  const inTools = ['-n', toolNamespace];
  await machine.must(['kubectl', 'rollout', 'status', ...inTools, 'daemonset/tool', '--timeout=5m']);
  const names = await machine.must(['kubectl', 'get', 'pods', ...inTools, '-o', 'jsonpath={.items[*].metadata.name}']);
  return names.split(' ');
}

function writeChart(folder: string, newApi: NewApi): void {
  for (const [path, text] of Object.entries(chartFiles(newApi))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

interface SideSetting extends Setting {
  readonly kind: SideKind;
  readonly toolPods: readonly string[];
  readonly newApi: NewApi & ClientUser['newApi'];
  readonly signal: AbortSignal;
}

async function startSide(setting: SideSetting): Promise<Side> {
  const { machines, credentials, programs, folder, kind, toolPods, newApi, signal } = setting;
  const backends = machines.map(({ name, address }) => ({
    name,
    host: address,
    port: kind.port,
    isHealthy: () => kind.isHealthy(address),
  }));
  const balancer = await startBalancer(here, kind.port, backends);
  const home = join(folder, kind.name);
  mkdirSync(home);
  const kubeconfig = join(home, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigFor(kind, credentials));
  const path = [programs.kubectl, programs.helm, programs.clientGo, '/usr/bin', '/bin'].join(':');
  const env = { PATH: path, HOME: home, KUBECONFIG: kubeconfig };
  const find = ([program = '', ...args]: readonly string[]) => [...asClient, programOf(program, programs), ...args];
  const user: ClientUser = {
    namespace: namespaceOf(kind),
    toolPods,
    chart: join(folder, 'chart'),
    newApi,
    run: (command, input = '') => runProgram(find(command), { env, signal }, { input, boundMs: commandBoundMs }),
    stream: (command) => startStream(find(command), { env, signal }),
  };
  const attempts: Attempt[] = [];
  const start = (mode: string, namespace: string) =>
    startFigures([...asClient, join(programs.clientGo, 'client-go'), mode, kubeconfig, namespace], env);
  const target = {
    host: here,
    port: kind.port,
    serverName: kind.serverName,
    credentials,
    path: `/api/v1/namespaces/${user.namespace}/${kind.heldResource}`,
  };
  return {
    balancer,
    user,
    attempts,
    kind,
    added: [],
    running: workloads.map((workload, index) =>
      loop(workload, user, attempts, { signal, firstAfterMs: index * 1_500 }),
    ),
    informers: start('inform', setting.loadNamespace),
    election: start('elect', user.namespace),
    manager: start('manage', user.namespace),
    held: startHeldWatches(target, setting.heldWatches),
  };
}

function programOf(name: string, programs: ClientPrograms): string {
  return name === 'helm' ? join(programs.helm, 'helm') : join(programs.kubectl, name);
}

/** Repeats a workload until the end. An attempt that the end interrupts does not count. */
async function loop(
  { name, pauseMs, attempt }: (typeof workloads)[number],
  user: ClientUser,
  attempts: Attempt[],
  { signal, firstAfterMs }: { readonly signal: AbortSignal; readonly firstAfterMs: number },
): Promise<void> {
  const pause = (ms: number) => setTimeout(ms, undefined, { signal }).catch(() => {});
  await pause(firstAfterMs);
  for (let turn = 0; !signal.aborted; turn += 1) {
    const startedAt = Date.now();
    const result = await attempt(user, turn).catch((error: unknown) => ({
      ending: 'failed' as const,
      message: String(error),
    }));
    if (!signal.aborted) attempts.push({ workload: name, startedAt, ...result });
    await pause(pauseMs);
  }
}

/** Adds objects for the long-lived watches, each at the first server that takes it. */
async function addHeld(servers: readonly Client[], { kind, user, added }: Side, signal: AbortSignal): Promise<void> {
  const path = `/api/v1/namespaces/${user.namespace}/${kind.heldResource}`;
  for (let turn = 0; !signal.aborted; turn += 1) {
    const name = `held-${turn}`;
    const body = { apiVersion: 'v1', metadata: { name }, ...kind.heldObject };
    for (const server of servers) {
      const { status } = await server.send('POST', path, body, 3_000);
      if (status !== 201 && status !== 409) continue;
      added.push(name);
      break;
    }
    await setTimeout(addEveryMs, undefined, { signal }).catch(() => {});
  }
}

function kubeconfigFor({ port, serverName }: SideKind, { ca, cert, key }: Credentials): string {
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const cluster = {
    server: `https://${here}:${port}`,
    'tls-server-name': serverName,
    'certificate-authority-data': encode(ca),
  };
  const user = { 'client-certificate-data': encode(cert), 'client-key-data': encode(key) };
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  });
}

type Level = Pick<ClientFigures['held'], 'perServer' | 'perEndpoint'> & Pick<ClientFigures, 'proxyConnections'>;

interface Ends {
  readonly servers: readonly Client[];
  readonly loadNamespace: string;
  readonly newApi: NewApi;
  readonly level: Level;
  readonly since: number;
}

/** Stops a side whose workloads have ended, and resolves to what it saw. */
async function finish(side: Side, { servers, loadNamespace, newApi, level, since }: Ends): Promise<ClientFigures> {
  const { user, attempts, informers, election, manager, held, balancer } = side;
  const namespacesLeft = await emptied(servers, doomedPrefix(user));
  const { differences, objects } = await compareInformers(informers, servers, loadNamespace);
  const { lost } = (await election.ask()) as { readonly lost: number };
  const managerFigures = await judgeManager(manager, { servers, namespace: user.namespace });
  const heldFigures = held.figures(side.added);
  await held.stop();
  informers.kill();
  election.kill();
  manager.kill();
  balancer.close();
  return {
    tallies: tally(
      workloads.map(({ name }) => name),
      attempts,
      since,
    ),
    informerDifferences: differences,
    informerObjects: objects,
    leadersLost: lost,
    manager: managerFigures,
    namespacesLeft,
    orphans: await orphans(servers, doomedPrefix(user), newApi),
    held: { ...heldFigures, perServer: level.perServer, perEndpoint: level.perEndpoint },
    proxyConnections: level.proxyConnections,
  };
}

/** Deletes namespaces that the end of the load left, and resolves to those that do not go away. */
async function emptied(servers: readonly Client[], prefix: string): Promise<readonly string[]> {
  const path = '/api/v1/namespaces';
  const left = async () => (await namesAt(servers, path)).filter((name) => name.startsWith(prefix));
  for (const name of await left()) for (const server of servers) await server.send('DELETE', `${path}/${name}`);
  let last: readonly string[] = [];
  const isEmpty = async () => {
    last = await left();
    return last.length === 0;
  };
  await waitUntil('the end of all deleted namespaces', isEmpty, { boundMs: emptyBoundMs, everyMs: 1_000 }).catch(
    () => {},
  );
  return last;
}

/** Objects of the new API whose namespace no longer exists. */
async function orphans(
  servers: readonly Client[],
  prefix: string,
  { object, resource }: NewApi,
): Promise<readonly string[]> {
  const namespaces = new Set(await namesAt(servers, '/api/v1/namespaces'));
  const objects = await objectsAt(servers, `/apis/${object.apiVersion}/${resource}`).catch(() => []);
  return objects
    .filter(({ namespace = '' }) => namespace.startsWith(prefix) && !namespaces.has(namespace))
    .map(({ namespace, name }) => `${namespace}/${name}`);
}

interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly resourceVersion: string;
}

async function namesAt(servers: readonly Client[], path: string): Promise<readonly string[]> {
  return (await objectsAt(servers, path)).map(({ name }) => name);
}

/** Lists objects at the first server that does so. */
async function objectsAt(servers: readonly Client[], path: string): Promise<readonly Metadata[]> {
  let last = '';
  for (const server of servers) {
    const { status, body } = await server.send('GET', path);
    if (status === 200)
      return (JSON.parse(body) as { readonly items: readonly { readonly metadata: Metadata }[] }).items.map(
        ({ metadata }) => metadata,
      );
    last = `${status} ${body.slice(0, 200)}`;
  }
  throw new Error(`no server lists ${path}: ${last}`);
}

/** Compares what informers know with what there is, until both are equal or time is up. */
async function compareInformers(
  informers: Figures,
  servers: readonly Client[],
  loadNamespace: string,
): Promise<{ readonly differences: readonly string[]; readonly objects: number }> {
  const paths = {
    configmaps: `/api/v1/namespaces/${loadNamespace}/configmaps`,
    pods: '/api/v1/pods',
    deployments: '/apis/apps/v1/deployments',
  };
  let differences: string[] = [];
  let objects = 0;
  const isEqual = async () => {
    differences = [];
    objects = 0;
    const known = (await informers.ask()) as Readonly<Record<string, Readonly<Record<string, string>>>>;
    for (const [resource, path] of Object.entries(paths)) {
      const mine = new Map(Object.entries(known[resource] ?? {}));
      const there = await objectsAt(servers, path);
      objects += there.length;
      for (const { namespace, name, resourceVersion } of there) {
        const key = `${namespace}/${name}`;
        if (mine.get(key) !== resourceVersion) differences.push(`${resource} ${key}: ${mine.get(key) ?? 'missing'}`);
        mine.delete(key);
      }
      differences.push(...[...mine.keys()].map((key) => `${resource} ${key}: no longer there`));
    }
    return differences.length === 0;
  };
  await waitUntil('informers that know everything', isEqual, { boundMs: settleBoundMs, everyMs: 2_000 }).catch(
    (error: Error) => {
      if (differences.length === 0) differences = [error.message];
    },
  );
  return { differences, objects };
}

/** How many watches of a resource in one namespace a server has, by its own metrics. */
async function countWatches(server: Client, resource: string): Promise<number> {
  const { body } = await server.send('GET', '/metrics');
  return body
    .split('\n')
    .filter((line) => line.startsWith('apiserver_longrunning_requests{') && line.includes('verb="WATCH"'))
    .filter((line) => line.includes(`resource="${resource}"`) && line.includes('scope="namespace"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** How many connections all proxies together have to each server. */
async function countProxyConnections(machines: readonly Machine[]): Promise<readonly number[]> {
  const counts = new Map<string, number>();
  for (const machine of machines) {
    const { stdout } = await machine.run(['ss', '-Htnp', 'state', 'established', 'dport', '=', ':6443']);
    const pids = (await machine.run(['pgrep', '-f', '--', '--secure-port=7443'])).stdout.trim().split('\n');
    for (const line of stdout.split('\n').filter((text) => pids.some((pid) => text.includes(`pid=${pid},`)))) {
      const address = /(10\.10\.0\.\d+)\]?:6443/.exec(line)?.[1] ?? '';
      counts.set(address, (counts.get(address) ?? 0) + 1);
    }
  }
  return machines.map(({ address }) => counts.get(address) ?? 0);
}
