import { expect } from 'chai';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireClient } from '../support/wire-client.ts';

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly template: { readonly spec: { readonly schedulingGroup?: object } } };
}

const deployments = '/apis/apps/v1/namespaces/default/deployments';
const type = (name: string) => ['Content-Type', `application/${name}`];
const deployment = (name: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { schedulingGroup: { podGroupName: 'g' }, containers: [{ name: 'c', image: 'registry.k8s.io/pause' }] },
    },
  },
});

describe('fields while every server is restarted in turn', function () {
  this.timeout(900_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;

  before(async () => {
    const young = {
      version: '1.36' as const,
      runtimeConfig: 'scheduling.k8s.io/v1alpha2=true',
      flags: ['--feature-gates=GenericWorkload=true'],
    };
    plane = await startFieldsPlane({
      servers: [
        { name: 'old-1', version: '1.35' },
        { name: 'old-2', version: '1.35' },
        { name: 'new-1', ...young },
        { name: 'new-2', ...young },
      ],
      home: 'old-1',
    });
    ({ mixed, proxy } = plane);
    await allReady();
  });
  after(() => plane?.stop());

  async function allReady(): Promise<void> {
    await waitUntil(
      'four ready servers, compared by their schemas',
      async () => {
        const status = await plane.status('old-2');
        const row = status?.fieldDifferences?.find(({ resource }) => resource === 'deployments');
        return status?.peerCounts?.ready === 4 && row?.basis === 'Schemas' && row.writers.length === 2;
      },
      { boundMs: 120_000, seen: () => mixed.plane.logTails(10) },
    );
  }

  it('are all there at the end, whatever was written meanwhile', async () => {
    const confirmed: string[] = [];
    const codes = new Map<string, number>();
    let running = true;
    const send = async (what: string, method: string, path: string, headers: string[] = [], body?: string) => {
      const answer = await proxy.http1({ method, path, headers, ...(body !== undefined && { body }) });
      const key = `${what} ${answer.status}`;
      codes.set(key, (codes.get(key) ?? 0) + 1);
      return answer;
    };
    const label = (value: number) => JSON.stringify({ metadata: { labels: { turn: String(value) } } });
    const writes: ((path: string, turn: number) => Promise<unknown>)[] = [
      (path, turn) => send('merge', 'PATCH', path, type('merge-patch+json'), label(turn)),
      (path, turn) => send('strategic', 'PATCH', path, type('strategic-merge-patch+json'), label(turn)),
      (path, turn) =>
        send(
          'status',
          'PATCH',
          `${path}/status`,
          type('merge-patch+json'),
          JSON.stringify({ status: { observedGeneration: turn } }),
        ),
      (path) => send('scale', 'PATCH', `${path}/scale`, type('merge-patch+json'), '{"spec":{"replicas":0}}'),
      async (path) => {
        const found = await send('get', 'GET', path);
        if (found.status === 200) await send('put', 'PUT', path, type('json'), found.body.toString());
      },
      (path, turn) => {
        const applied = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { labels: { applied: String(turn) } } };
        return send(
          'apply',
          'PATCH',
          `${path}?fieldManager=m&force=true`,
          type('apply-patch+yaml'),
          JSON.stringify(applied),
        );
      },
    ];
    const write = async (writer: number) => {
      for (let turn = 0; running; turn += 1) {
        if (turn % 10 === 0) {
          const name = `d-${writer}-${turn}`;
          const { status } = await send('create', 'POST', deployments, type('json'), JSON.stringify(deployment(name)));
          if (status === 201) confirmed.push(name);
        }
        const name = confirmed[(turn * 7 + writer) % Math.max(1, confirmed.length)];
        if (name !== undefined) await writes[turn % writes.length]?.(`${deployments}/${name}`, turn);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    };
    const writers = [0, 1, 2, 3].map(write);
    const { plane } = mixed;
    for (const name of ['old-1', 'new-1', 'old-2', 'new-2']) {
      await plane.server(name).stop();
      await plane.server(name).start();
      await allReady();
    }
    await Promise.all(['new-1', 'new-2'].map((name) => plane.server(name).kill()));
    await waitUntil('writes to be refused', async () => [...codes.keys()].includes('status 503'));
    await Promise.all(['new-1', 'new-2'].map((name) => plane.server(name).start()));
    await allReady();
    running = false;
    await Promise.all(writers);
    process.stdout.write(
      `      … ${confirmed.length} objects; ${[...codes]
        .map(([key, count]) => `${key}: ${count}`)
        .sort()
        .join(', ')}\n`,
    );
    const { stdout } = await mixed.kubectl('new-1', ['get', 'deployments', '-o', 'json']);
    const items = (JSON.parse(stdout) as { items: Deployment[] }).items;
    const lost = items.filter(({ spec }) => spec.template.spec.schedulingGroup === undefined);
    expect(lost.map(({ metadata }) => metadata.name)).to.deep.equal([]);
    const left = new Set(items.map(({ metadata }) => metadata.name));
    expect(confirmed.filter((name) => !left.has(name))).to.deep.equal([]);
    expect(confirmed.length).to.be.greaterThan(20);
    for (const what of ['merge', 'strategic', 'status', 'scale', 'put', 'apply'])
      expect(codes.get(`${what} 200`), what).to.be.greaterThan(5);
  });
});
