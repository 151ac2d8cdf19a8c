import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireAnswer, WireClient } from '../support/wire-client.ts';

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly template: { readonly spec: { readonly schedulingGroup?: object } } };
}

/** A path over which clients reach the servers. */
interface Way {
  readonly name: string;
  /** The prefix of its objects' names. */
  readonly prefix: string;
  /** One kubeconfig for each server behind it. The servers take the requests in turn. */
  readonly behind: readonly WireClient[];
}

/** A write to an object that does not mention the field; `next` is where the next request goes. */
type Write = (next: () => WireClient, path: string) => Promise<WireAnswer>;

const objectsOfEachKind = 20;
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const type = (name: string) => ['Content-Type', `application/${name}`];
const label = JSON.stringify({ metadata: { labels: { changed: 'x' } } });

/** A Deployment with a field that only 1.36 knows. */
const deployment = (name: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, labels: {} },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { schedulingGroup: { podGroupName: 'g' }, containers: [{ name: 'c', image: 'registry.k8s.io/pause' }] },
    },
  },
});

const patch =
  (kind: string, body: string, subresource = ''): Write =>
  (next, path) =>
    next().http1({ method: 'PATCH', path: `${path}${subresource}`, headers: type(kind), body });

const applied = JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { labels: { applied: 'x' } } });
const writes: Readonly<Record<string, Write>> = {
  'merge patch': patch('merge-patch+json', label),
  'strategic merge patch': patch('strategic-merge-patch+json', label),
  'JSON patch': patch('json-patch+json', '[{"op":"add","path":"/metadata/annotations","value":{"changed":"x"}}]'),
  'server-side apply': patch('apply-patch+yaml', applied, '?fieldManager=m'),
  'GET and PUT': async (next, path) => {
    const { body } = await next().http1({ path });
    return next().http1({ method: 'PUT', path, headers: type('json'), body: body.toString() });
  },
  status: patch('merge-patch+json', '{"status":{"observedGeneration":7}}', '/status'),
  scale: patch('merge-patch+json', '{"spec":{"replicas":1}}', '/scale'),
};

describe('fields behind a load balancer, behind Kubernetes’ own Mixed Version Proxy, and through the proxy', function () {
  this.timeout(600_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let ways: readonly Way[];

  before(async () => {
    const old = { version: '1.35' as const };
    const young = { version: '1.36' as const, runtimeConfig: 'scheduling.k8s.io/v1alpha2=true' };
    const gate = '--feature-gates=GenericWorkload=true';
    plane = await startFieldsPlane({
      servers: [
        { name: 'old-1', ...old },
        { name: 'new-1', ...young, flags: [gate] },
        // The gate is on by default in 1.36.
        { name: 'old-2', ...old, peerCa: true, flags: ['--feature-gates=UnknownVersionInteroperabilityProxy=true'] },
        { name: 'new-2', ...young, peerCa: true, flags: [gate] },
      ],
      home: 'old-1',
    });
    mixed = plane.mixed;
    const { clientOf } = plane;
    ways = [
      { name: 'load balancer', prefix: 'lb', behind: ['old-1', 'new-1'].map(clientOf) },
      { name: 'Mixed Version Proxy', prefix: 'mvp', behind: ['old-2', 'new-2'].map(clientOf) },
      { name: 'PeerDiscovery', prefix: 'own', behind: [plane.proxy] },
    ];
    await waitUntil(
      'all schemas to be compared',
      async () => {
        const row = await plane.differencesOf('deployments', 'old-1');
        return row?.basis === 'Schemas' && row.writers.length === 2;
      },
      { boundMs: 120_000, seen: () => mixed.plane.logTails(10) },
    );
  });
  after(() => plane?.stop());

  /** Takes the servers of a path in turn, starting with the first one. */
  function inTurn(behind: readonly WireClient[]): () => WireClient {
    let turn = 0;
    return () => {
      const client = behind[turn++ % behind.length];
      if (client === undefined) throw new Error('nothing is behind this way');
      return client;
    };
  }

  const hasField = ({ spec }: Deployment) => spec.template.spec.schedulingGroup !== undefined;

  it('are lost by more than half of the writes on the first two paths, and by none through the proxy', async () => {
    const [direct, peered, own] = ways.map(({ behind }) => inTurn(behind)());
    const path = '/apis/scheduling.k8s.io/v1alpha2/podgroups';
    await waitUntil(
      'both proxies to send to a new server what only that one serves',
      async () =>
        (await peered?.http1({ path }))?.status === 200 &&
        (await own?.http1({ path }))?.status === 200 &&
        (await direct?.http1({ path }))?.status === 404,
    );
    for (const { name: way, prefix, behind } of ways)
      for (const [at, [kind, write]] of Object.entries(writes).entries()) {
        const next = inTurn(behind);
        for (let object = 0; object < objectsOfEachKind; object += 1) {
          const name = `${prefix}-${at}-${object}`;
          // At a new server if there is a choice, so that every one of these fields was confirmed.
          const created = await behind.at(-1)?.http1({
            method: 'POST',
            path: deployments,
            headers: type('json'),
            body: JSON.stringify(deployment(name)),
          });
          expect(hasField(JSON.parse(created?.body.toString() ?? '')), name).to.equal(true);
          const { status, body } = await write(next, `${deployments}/${name}`);
          expect(status, `${way}, ${kind}: ${body}`).to.equal(200);
        }
      }
    const { stdout } = await mixed.kubectl('new-1', ['get', 'deployments', '-o', 'json']);
    const items = (JSON.parse(stdout) as { items: Deployment[] }).items;
    const lost = items.filter((item) => !hasField(item)).map(({ metadata }) => metadata.name);
    const total = objectsOfEachKind * Object.keys(writes).length;
    const sums = ways.map(({ name: way, prefix }) => {
      const counts = Object.keys(writes).map(
        (_, at) => lost.filter((name) => name.startsWith(`${prefix}-${at}-`)).length,
      );
      const sum = `${counts.reduce((a, b) => a + b, 0)} of ${total}`;
      const parts = Object.keys(writes).map((kind, at) => `${kind} ${counts[at]}`);
      process.stdout.write(`      … ${way}: ${sum} objects lost their field (${parts.join(', ')})\n`);
      return sum;
    });
    expect(items).to.have.length(total * ways.length);
    // In turn: the old server gets every second write, and one request of each pair of GET and PUT.
    expect(sums).to.deep.equal(['80 of 140', '80 of 140', '0 of 140']);
    const readme = readFileSync(join(repository, 'README.md'), 'utf8');
    const row = readme.split('\n').find((line) => line.startsWith('| Fields that only the new version knows'));
    expect(row?.match(/\d+ of \d+/g)).to.deep.equal([sums[2], sums[1], sums[0]]);
  });
});
