import { setMaxListeners } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import { type Client, type Credentials, createClient, measure, type Way } from './clients.ts';
import type { Machine } from './machine.ts';
import type { Observations, Sample, Sight, Write } from './samples.ts';

/** What the load uses. */
export interface LoadSetting {
  readonly machines: readonly Machine[];
  readonly credentials: Credentials;
  /** Its endpoints. */
  readonly ways: readonly Way[];
  /** The path of a list that only the new version serves. */
  readonly newList: string;
}

/** Clients that run while something happens to the cluster. */
export interface Load {
  /** Resolves to what the clients have seen so far. They continue. */
  seen(): Promise<LoadSeen>;
  /** When a server was last not ready; 0 if all were ready all the time. */
  lastAway(): number;
  /** Gives all clients the current credentials of this machine's administrator. */
  renew(machine: Machine): Promise<void>;
  /** Stops the clients. Resolves to what they saw. */
  stop(): Promise<LoadSeen>;
}

type LoadSeen = Pick<Observations, 'samples' | 'sights' | 'writes'>;

/** The namespace of the load's objects. */
export const loadNamespace = 'upgrade-load';
const writes = `/api/v1/namespaces/${loadNamespace}/configmaps`;
/** A time limit, so that a server that hangs does not hold up the observations. */
const lookMs = 2_000;
/** Longer than any client waits for an answer. */
const endBoundMs = 40_000;
const everyMs = { read: 500, write: 1_000, look: 1_000 };

/** Starts clients for every endpoint. */
export async function startLoad({ machines, credentials, ways, newList }: LoadSetting): Promise<Load> {
  const [first] = machines;
  if (first === undefined) throw new Error('a cluster has machines');
  await first.must(['kubectl', 'create', 'namespace', loadNamespace]);
  // kube-controller-manager creates the ConfigMap that the load reads. Until then, 404 is the right answer.
  const read = ['kubectl', 'get', 'configmap', 'kube-root-ca.crt', '-n', loadNamespace];
  await waitUntil('the ConfigMap of the load', async () => (await first.run(read)).code === 0, { everyMs: 500 });
  let current = credentials;
  const clients = ways.map((way) => createClient(way, credentials));
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const samples: Sample[] = [];
  const sights: Sight[] = [];
  const sent: Omit<Write, 'found' | 'seen'>[] = [];
  const seen = new Map<Client, Set<string>>(clients.map((client) => [client, new Set()]));
  let serial = 0;
  const running = clients.flatMap((client) => [
    repeat(everyMs.read, stop.signal, async () => {
      samples.push((await measure(client, 'read', ['GET', `${writes}/kube-root-ca.crt`])).sample);
    }),
    repeat(everyMs.read, stop.signal, async () => {
      samples.push((await measure(client, 'new', ['GET', newList])).sample);
    }),
    repeat(everyMs.write, stop.signal, async () => {
      const name = `${client.way.name.replace(', ', '-')}-${serial++}`;
      const { sample } = await measure(client, 'write', ['POST', writes, configMap(name)]);
      samples.push(sample);
      const { proxied, status, startedAt } = sample;
      sent.push({ name, proxied, status, startedAt });
    }),
    follow(client, stop.signal, (name) => seen.get(client)?.add(name)),
  ]);
  const servers = machines.map(({ name, address }) =>
    createClient({ name: `${name}, looked at`, host: address, port: 6443, proxied: false }, credentials),
  );
  running.push(
    repeat(everyMs.look, stop.signal, async () => {
      sights.push(await look(servers));
    }),
  );
  const observe = async (): Promise<LoadSeen> => {
    // The count below does not include later writes.
    const written = [...sent];
    const found = await countWrites(ways, current);
    const watched = clients.filter(({ way }) => way.proxied || !ways.some(({ proxied }) => proxied));
    const shown = new Set(watched.flatMap((client) => [...(seen.get(client) ?? [])]));
    return {
      samples: [...samples],
      sights: [...sights],
      writes: written.map((write) => ({ ...write, found: found.get(write.name) ?? 0, seen: shown.has(write.name) })),
    };
  };
  return {
    seen: observe,
    lastAway: () => sights.findLast(({ servers: versions }) => versions.includes(undefined))?.at ?? 0,
    async renew(machine) {
      current = await readCredentials(machine);
      for (const client of [...clients, ...servers]) client.renew(current);
    },
    async stop() {
      // Watches get a moment for the last events.
      await setTimeout(5_000);
      stop.abort();
      for (const client of [...clients, ...servers]) client.close();
      await Promise.race([Promise.all(running), setTimeout(endBoundMs)]);
      return observe();
    },
  };
}

/** The endpoints of each machine: its proxy and its server. */
export function waysOf(machines: readonly Machine[]): readonly Way[] {
  return machines.flatMap(({ name, address }) => [
    { name: `${name}, proxy`, host: address, port: 7443, proxied: true },
    { name: `${name}, server`, host: address, port: 6443, proxied: false },
  ]);
}

/** The administrator's certificate and all authorities, as a user gets them. */
export async function readCredentials(machine: Machine): Promise<Credentials> {
  const view = ['kubectl', 'config', 'view', '--raw', '-o'];
  const decode = async (path: string) =>
    Buffer.from(await machine.must([...view, `jsonpath={${path}}`]), 'base64').toString('utf8');
  // Without this project, there are only the servers.
  const proxies = await machine.must([
    ...['kubectl', 'get', 'configmap', 'peerdiscovery-ca', '-n', 'peerdiscovery-front-proxy', '--ignore-not-found'],
    ...['-o', 'jsonpath={.data.ca\\.crt}'],
  ]);
  return {
    ca: `${await decode('.clusters[0].cluster.certificate-authority-data')}\n${proxies}`,
    cert: await decode('.users[0].user.client-certificate-data'),
    key: await decode('.users[0].user.client-key-data'),
  };
}

/** A ConfigMap whose name the server chooses. A write that is carried out twice leaves two of them. */
function configMap(name: string): object {
  const metadata = { generateName: `${name}-`, labels: { 'upgrade-load': name } };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata };
}

/** Counts the writes at the first server that answers. */
async function countWrites(ways: readonly Way[], credentials: Credentials): Promise<ReadonlyMap<string, number>> {
  let last = '';
  for (const way of ways.filter(({ proxied }) => !proxied)) {
    const client = createClient(way, credentials);
    const { status, body, error } = await client.send('GET', `${writes}?labelSelector=upgrade-load`, undefined, 60_000);
    client.close();
    if (status === 200) return countLabels(body);
    last = `${way.name}: ${status} ${error ?? body.slice(0, 200)}`;
  }
  throw new Error(`cannot count the writes: ${last}`);
}

function countLabels(body: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const { items } = JSON.parse(body) as { readonly items: readonly Labelled[] };
  for (const item of items) counts.set(nameOf(item), (counts.get(nameOf(item)) ?? 0) + 1);
  return counts;
}

interface Labelled {
  readonly metadata: { readonly resourceVersion?: string; readonly labels?: Readonly<Record<string, string>> };
}

const nameOf = ({ metadata }: Labelled) => metadata.labels?.['upgrade-load'] ?? '';

/** Follows all writes as an informer does: a list, a watch from there, and a new list when that is too old. */
async function follow(client: Client, signal: AbortSignal, onName: (name: string) => void): Promise<void> {
  let version: string | undefined;
  while (!signal.aborted) {
    if (version === undefined) {
      const { status, body } = await client.send('GET', `${writes}?labelSelector=upgrade-load`);
      if (status === 200) {
        const list = JSON.parse(body) as Labelled & { readonly items: readonly Labelled[] };
        version = list.metadata.resourceVersion;
        for (const item of list.items) onName(nameOf(item));
      }
    } else {
      const query = `watch=1&allowWatchBookmarks=true&labelSelector=upgrade-load&timeoutSeconds=300&resourceVersion=${version}`;
      const status = await client.watch(`${writes}?${query}`, (line) => {
        const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: Labelled };
        if (type === 'ERROR') version = undefined;
        else {
          version = object.metadata?.resourceVersion ?? version;
          onName(nameOf(object));
        }
      });
      if (status === 410) version = undefined;
    }
    await pause(500, signal);
  }
}

/** What each server reports about itself, and what the operator reports through any server that answers. */
async function look(servers: readonly Client[]): Promise<Sight> {
  const at = Date.now();
  const read = (client: Client, path: string) => client.send('GET', path, undefined, lookMs);
  const versions = await Promise.all(
    servers.map(async (client) => {
      if ((await read(client, '/readyz')).status !== 200) return undefined;
      const { status, body } = await read(client, '/version');
      return status === 200 ? (JSON.parse(body) as { readonly gitVersion: string }).gitVersion : undefined;
    }),
  );
  const ready = servers.filter((_, index) => versions[index] !== undefined);
  const first = async <T>(path: string, take: (body: unknown) => T): Promise<T | undefined> => {
    for (const client of ready) {
      const { status, body } = await read(client, path);
      if (status === 200) return take(JSON.parse(body));
    }
    return undefined;
  };
  const lease = '/apis/coordination.k8s.io/v1/namespaces/peerdiscovery-system/leases/peerdiscovery-cluster';
  return {
    at,
    servers: versions,
    converged: await first('/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries/cluster', convergedOf),
    confirmedAt: await first(lease, (body) => Date.parse((body as ConfirmationLease).spec.renewTime)),
  };
}

interface ConfirmationLease {
  readonly spec: { readonly renewTime: string };
}

function convergedOf(body: unknown): string | undefined {
  const { status } = body as {
    readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  };
  return status?.conditions?.find(({ type }) => type === 'Converged')?.status;
}

/**
 * Runs `act` at a steady pace, whether or not the last call has ended, as many clients do. Waits for all calls at the
 * end.
 */
async function repeat(everyMs: number, signal: AbortSignal, run: () => Promise<void>): Promise<void> {
  const open = new Set<Promise<void>>();
  while (!signal.aborted) {
    // An unreadable answer costs one observation, not the run.
    const once = run()
      .catch(() => {})
      .finally(() => open.delete(once));
    open.add(once);
    await pause(everyMs, signal);
  }
  await Promise.all(open);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return setTimeout(ms, undefined, { signal }).catch(() => {});
}
