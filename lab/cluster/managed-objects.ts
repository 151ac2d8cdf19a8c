import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import type { ManagerFigures } from './client-figures.ts';
import type { Answer, Client } from './clients.ts';
import type { Figures } from './figures-program.ts';

/** A ConfigMap or Secret, as far as it matters to the manager. */
export interface ManagedObject {
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
}

/** The figures of the program `client-go manage`. */
interface Deeds {
  readonly reconciles: number;
  /** How many reconciles failed with each error. */
  readonly failures: Readonly<Record<string, number>>;
  /** The errors with which the manager ended. */
  readonly exits: readonly string[];
}

const changeEveryMs = 1_000;
const sendBoundMs = 3_000;
const settleBounds = { boundMs: 90_000, everyMs: 2_000 };
/** The number of names. It and the next number have no common factor, so each ConfigMap is deleted once in a while. */
const names = 21;
/** Of this many changes, one deletes. */
const deleteEvery = 5;
const labels = { managed: 'true' };
const pathOf = (namespace: string, resource: string) => `/api/v1/namespaces/${namespace}/${resource}`;

/** Creates, updates and deletes the ConfigMaps that the manager copies, each at the first server that takes it. */
export async function changeManaged(
  servers: readonly Client[],
  namespace: string,
  { signal, everyMs = changeEveryMs }: { readonly signal: AbortSignal; readonly everyMs?: number },
): Promise<void> {
  const path = pathOf(namespace, 'configmaps');
  for (let turn = 0; !signal.aborted; turn += 1) {
    const name = `managed-${turn % names}`;
    for (const server of servers) {
      const send = (method: string, at: string, body?: object) => server.send(method, at, body, sendBoundMs);
      const { status } = await change(send, { path, name, turn });
      if (status >= 200 && status < 300) break;
    }
    await setTimeout(everyMs, undefined, { signal }).catch(() => {});
  }
}

async function change(
  send: (method: string, path: string, body?: object) => Promise<Answer>,
  { path, name, turn }: { readonly path: string; readonly name: string; readonly turn: number },
): Promise<Answer> {
  if (turn % deleteEvery === deleteEvery - 1) return send('DELETE', `${path}/${name}`);
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data: { turn: String(turn) } };
  const updated = await send('PUT', `${path}/${name}`, body);
  return updated.status === 404 ? send('POST', path, body) : updated;
}

/**
 * Asks the manager for its figures, and compares its Secrets with the ConfigMaps until they are in step or time is up.
 * Call it when nothing changes the ConfigMaps any more.
 */
export async function judgeManager(
  manager: Figures,
  { servers, namespace }: { readonly servers: readonly Client[]; readonly namespace: string },
  bounds: typeof settleBounds = settleBounds,
): Promise<ManagerFigures> {
  let outOfStep: readonly string[] = [];
  let objects = 0;
  const isInStep = async () => {
    const sources = await listAt(servers, pathOf(namespace, 'configmaps'));
    const copies = await listAt(servers, pathOf(namespace, 'secrets'));
    objects = sources.length;
    outOfStep = compareManaged(sources, copies);
    return outOfStep.length === 0;
  };
  await waitUntil('Secrets in step', isInStep, bounds).catch((error: Error) => {
    if (outOfStep.length === 0) outOfStep = [error.message];
  });
  const { reconciles, failures, exits } = (await manager.ask()) as Deeds;
  return { reconciles, failures, exits, objects, outOfStep };
}

/** Describes each ConfigMap whose Secret is missing or differs, and each Secret without a ConfigMap. */
export function compareManaged(sources: readonly ManagedObject[], copies: readonly ManagedObject[]): readonly string[] {
  const left = new Map(copies.map((copy) => [copy.metadata.name, copy]));
  const wrong = sources.flatMap(({ metadata: { name }, data }) => {
    const copy = left.get(name);
    left.delete(name);
    if (copy === undefined) return [`${name}: no Secret`];
    const copied = Buffer.from(copy.data?.turn ?? '', 'base64').toString('utf8');
    return copied === data?.turn ? [] : [`${name}: the ConfigMap has ${data?.turn}, the Secret ${copied}`];
  });
  return [...wrong, ...[...left.keys()].map((name) => `${name}: a Secret without a ConfigMap`)];
}

/** Lists the managed objects at the first server that does so. */
async function listAt(servers: readonly Client[], path: string): Promise<readonly ManagedObject[]> {
  let last = '';
  for (const server of servers) {
    const { status, body } = await server.send('GET', `${path}?labelSelector=managed`);
    if (status === 200) return (JSON.parse(body) as { readonly items: readonly ManagedObject[] }).items;
    last = `${status} ${body.slice(0, 200)}`;
  }
  throw new Error(`no server lists ${path}: ${last}`);
}
