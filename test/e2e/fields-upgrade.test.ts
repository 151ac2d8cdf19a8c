import { expect } from 'chai';
import type { Software } from '../../lab/plane/control-plane.ts';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireAnswer, WireClient } from '../support/wire-client.ts';

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: { readonly spec: { readonly schedulingGroup?: { readonly podGroupName: string } } };
  };
}

/** The request of a writer. With a `group`, it sets the field that only 1.36 knows. */
interface Write {
  readonly kind: string;
  readonly group?: string;
  readonly method: 'PATCH' | 'PUT';
  readonly path: string;
  readonly type: string;
  readonly body: string;
}

const young: Software = {
  version: '1.36',
  runtimeConfig: 'scheduling.k8s.io/v1alpha2=true',
  flags: ['--feature-gates=GenericWorkload=true'],
};
const old: Software = { version: '1.35' };
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const pause = 25;

function deployment(name: string, podGroupName: string): object {
  const spec = { schedulingGroup: { podGroupName }, containers: [{ name: 'c', image: 'registry.k8s.io/pause' }] };
  const matchLabels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: { replicas: 0, selector: { matchLabels }, template: { metadata: { labels: matchLabels }, spec } },
  };
}

/** All kinds of writes in turn. Every second one does not mention the field. */
function writesOf(path: string, name: string, turn: number, stored: Deployment | undefined): readonly Write[] {
  const group = `g-${turn}`;
  const [merge, strategic, json, apply] = ['merge-patch', 'strategic-merge-patch', 'json-patch', 'apply-patch'];
  const podOf = (podGroupName: string) => ({ spec: { template: { spec: { schedulingGroup: { podGroupName } } } } });
  const label = { metadata: { labels: { turn: group } } };
  const patch = (kind: string, type: string, body: object, rest: Partial<Write> = {}): Write => ({
    kind,
    method: 'PATCH',
    path,
    type: `application/${type}${type === apply ? '+yaml' : '+json'}`,
    body: JSON.stringify(body),
    ...rest,
  });
  const field = '/spec/template/spec/schedulingGroup';
  const manager = { path: `${path}?fieldManager=m&force=true` };
  const head = { apiVersion: 'apps/v1', kind: 'Deployment' };
  return [
    patch('merge patch', merge, podOf(group), { group }),
    patch('status', merge, { status: { observedGeneration: turn } }, { path: `${path}/status` }),
    patch('strategic merge patch', strategic, podOf(group), { group }),
    patch('scale', merge, { spec: { replicas: 0 } }, { path: `${path}/scale` }),
    patch('JSON patch', json, [{ op: 'add', path: field, value: { podGroupName: group } }], { group }),
    patch('label', strategic, label),
    patch('server-side apply', apply, { ...head, ...podOf(group) }, { ...manager, group }),
    patch('status', merge, { status: { observedGeneration: turn } }, { path: `${path}/status` }),
    ...(stored === undefined
      ? []
      : [
          patch('PUT', '', deployment(name, group), { method: 'PUT', type: 'application/json', group }),
          patch('GET and PUT', '', stored, { method: 'PUT', type: 'application/json' }),
        ]),
  ];
}

describe('fields while servers change their versions at their addresses', function () {
  this.timeout(900_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;

  before(async () => {
    plane = await startFieldsPlane({
      servers: ['a', 'b', 'c'].map((name) => ({ name, ...old })),
      home: 'a',
      later: ['1.36'],
    });
    ({ mixed, proxy } = plane);
    await ready(0);
  });
  after(() => plane?.stop());

  /** Waits until three servers are ready, this many of them new, and fields have been compared. */
  async function ready(news: number): Promise<void> {
    await waitUntil(
      `three ready servers, ${news} of them new`,
      async () => {
        const status = await plane.status('proxy');
        const row = status?.fieldDifferences?.find(({ resource }) => resource === 'deployments');
        const compared =
          news === 0 || news === 3 ? row === undefined : row?.basis === 'Schemas' && row.writers.length === news;
        return status?.peerCounts?.ready === 3 && compared;
      },
      { boundMs: 120_000, seen: () => mixed.plane.logTails(10) },
    );
  }

  async function become(name: string, software: Software): Promise<void> {
    await mixed.plane.server(name).stop();
    await mixed.plane.server(name).startAs(software);
  }

  it('keep their confirmed values after an upgrade of all servers and a downgrade', async () => {
    /** The permitted values of each object: the last confirmed one, and those of writes without an answer. */
    const objects = new Map<string, Set<string | undefined>>();
    const outcomes = new Map<string, number>();
    const lost: string[] = [];
    let known = false;
    let phase = 'start';
    let running = true;
    const groupOf = ({ spec }: Deployment) => spec?.template?.spec?.schedulingGroup?.podGroupName;

    const send = (kind: string, request: Parameters<WireClient['http1']>[0]) =>
      proxy.http1(request).then(
        (answer) => count(kind, answer.status, answer),
        () => count(kind, 0, undefined),
      );
    function count(kind: string, status: number, answer: WireAnswer | undefined): WireAnswer | undefined {
      const key = `${kind} ${status}`;
      outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
      return answer;
    }

    /** Records the field in an answer. */
    function learn(name: string, { kind, group }: Pick<Write, 'kind' | 'group'>, answer: WireAnswer | undefined): void {
      const possible = objects.get(name);
      if (possible === undefined) return;
      // 503 from the proxy, 409 and 429 mean that nothing was carried out. After 504 and a broken connection, that is
      // unknown.
      const unsure = answer === undefined || answer.status === 504 || answer.status === 500;
      if (unsure && group !== undefined) possible.add(group);
      if (answer === undefined || answer.status >= 300) return;
      const found = JSON.parse(answer.body.toString()) as Deployment & { readonly kind: string };
      if (found.kind !== 'Deployment') return;
      const value = groupOf(found);
      const wanted = group === undefined ? possible : new Set<string | undefined>([group]);
      if (known && !wanted.has(value)) lost.push(`${phase}: ${name} by ${kind} has ${value}`);
      objects.set(name, new Set([value]));
    }

    async function writeAll(writer: number): Promise<void> {
      for (let turn = 0; running; turn += 1) {
        const name = `d-${writer}-${turn}`;
        const path = `${deployments}/${name}`;
        const created = await send('create', {
          method: 'POST',
          path: deployments,
          headers: ['Content-Type', 'application/json'],
          body: JSON.stringify(deployment(name, 'first')),
        });
        if (created?.status !== 201) {
          await sleep(pause);
          continue;
        }
        objects.set(name, new Set([undefined]));
        learn(name, { kind: 'create', group: 'first' }, created);
        for (let at = 0; running; at += 1) {
          const read = at < 8 ? undefined : await send('get', { path });
          const stored = read?.status === 200 ? (JSON.parse(read.body.toString()) as Deployment) : undefined;
          if (at >= 8) learn(name, { kind: 'get' }, read);
          const write = writesOf(path, name, turn * 10 + at, stored)[at];
          if (write === undefined) break;
          const { kind, method, type, body } = write;
          const headers = ['Content-Type', type];
          learn(name, write, await send(kind, { method, path: write.path, headers, body }));
          await sleep(pause);
        }
      }
    }

    const writers = [0, 1, 2, 3].map(writeAll);
    for (const [at, name] of ['a', 'b', 'c'].entries()) {
      phase = `${name} turns new`;
      await become(name, young);
      phase = `${name} is new`;
      await ready(at + 1);
      phase = `${name} is ready`;
      known = true;
    }
    for (const [at, name] of ['a', 'b'].entries()) {
      phase = `${name} turns old`;
      await become(name, old);
      phase = `${name} is old`;
      await ready(2 - at);
    }
    running = false;
    await Promise.all(writers);
    const seen = [...outcomes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, number]) => `${key}: ${number}`);
    process.stdout.write(`      … ${objects.size} objects; ${seen.join(', ')}\n`);
    expect(lost).to.deep.equal([]);
    const { stdout } = await mixed.kubectl('c', ['get', 'deployments', '-o', 'json']);
    const items = new Map(
      (JSON.parse(stdout) as { items: Deployment[] }).items.map((item) => [item.metadata.name, item]),
    );
    for (const [name, possible] of objects) {
      const item = items.get(name);
      if (item === undefined) expect.fail(`${name} is gone`);
      expect([...possible], name).to.include(groupOf(item));
    }
    for (const kind of ['create', 'get']) expect(outcomes.get(`${kind} ${kind === 'get' ? 200 : 201}`)).to.be.above(20);
    for (const { kind } of writesOf('', '', 0, deployment('', '') as Deployment))
      expect(outcomes.get(`${kind} 200`), kind).to.be.greaterThan(20);
    await become('c', old);
    await waitUntil('writes to be taken where all are old again', async () => {
      const body = JSON.stringify({ status: { observedGeneration: 1 } });
      const headers = ['Content-Type', 'application/merge-patch+json'];
      const [name = ''] = objects.keys();
      return (
        (await send('last', { method: 'PATCH', path: `${deployments}/${name}/status`, headers, body }))?.status === 200
      );
    });
  });
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
