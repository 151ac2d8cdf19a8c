import { expect } from 'chai';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireAnswer, WireClient } from '../support/wire-client.ts';

interface Deployment {
  readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly labels?: object };
  readonly spec: {
    readonly replicas: number;
    readonly template: { readonly spec: { readonly schedulingGroup?: { readonly podGroupName: string } } };
  };
  readonly status?: { readonly observedGeneration?: number };
}

const deployments = '/apis/apps/v1/namespaces/default/deployments';
const type = (name: string) => ['Content-Type', `application/${name}`];
const patches = {
  json: type('json-patch+json'),
  merge: type('merge-patch+json'),
  strategic: type('strategic-merge-patch+json'),
  apply: type('apply-patch+yaml'),
};

/** A Deployment with a field that only the new server knows. */
const deployment = (name: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        schedulingGroup: { podGroupName: 'together' },
        containers: [{ name: 'c', image: 'registry.k8s.io/pause' }],
      },
    },
  },
});
const status = JSON.stringify({ status: { observedGeneration: 7 } });

describe('fields that only one version knows', function () {
  this.timeout(600_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;
  let old: WireClient;
  let young: WireClient;

  before(async () => {
    plane = await startFieldsPlane({
      servers: [
        { name: 'old-1', version: '1.35' },
        {
          name: 'new-1',
          version: '1.36',
          runtimeConfig: 'scheduling.k8s.io/v1alpha2=true',
          flags: ['--feature-gates=GenericWorkload=true'],
        },
      ],
      home: 'old-1',
    });
    ({ mixed, proxy } = plane);
    [old, young] = [plane.clientOf('old-1'), plane.clientOf('new-1')];
    await comparedBy('Schemas');
    await waitUntil(
      'the proxy to route writes',
      async () => (await home('POST', `${deployments}?dryRun=All`)) === 'new-1',
    );
  });
  after(() => plane?.stop());

  async function found(): Promise<PeerDiscovery> {
    return JSON.parse((await mixed.kubectl('old-1', ['get', 'peerdiscovery', 'cluster', '-o', 'json'])).stdout);
  }
  const rowOf = ({ status }: PeerDiscovery, name: string) =>
    status?.fieldDifferences?.find(({ resource }) => resource === name);
  const comparedBy = (basis: string) =>
    waitUntil(`fields to be compared by ${basis}`, async () => rowOf(await found(), 'deployments')?.basis === basis, {
      boundMs: 60_000,
      seen: () => mixed.plane.logTails(10),
    });

  /** Finds out which server a request reaches, by a field that only the new one knows. */
  async function home(method: string, path: string): Promise<string> {
    const body = JSON.stringify(deployment(`probe-${Math.random().toString(36).slice(2)}`));
    const answer = await proxy.http1({ method, path, headers: type('json'), body });
    if (answer.status >= 300) return String(answer.status);
    return (JSON.parse(answer.body.toString()) as Deployment).spec.template.spec.schedulingGroup === undefined
      ? 'old-1'
      : 'new-1';
  }

  async function create(client: WireClient, name: string): Promise<void> {
    const answer = await client.http1({
      method: 'POST',
      path: deployments,
      headers: type('json'),
      body: JSON.stringify(deployment(name)),
    });
    expect(answer.status, answer.body.toString()).to.equal(201);
  }
  const read = async (client: WireClient, name: string): Promise<Deployment> =>
    JSON.parse((await client.http1({ path: `${deployments}/${name}` })).body.toString());
  const groupOf = async (name: string) => (await read(young, name)).spec.template.spec.schedulingGroup?.podGroupName;
  const warningOf = ({ rawHeaders }: WireAnswer) =>
    rawHeaders.find((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'warning');

  it('are lost by a status update at the old server', async () => {
    await create(young, 'direct');
    expect(await groupOf('direct')).to.equal('together');
    const path = `${deployments}/direct/status`;
    const { status: code } = await old.http1({ method: 'PATCH', path, headers: patches.merge, body: status });
    expect(code).to.equal(200);
    expect(await groupOf('direct')).to.equal(undefined);
  });

  it('are kept by writes of every kind through the proxy, whose home is the old server', async () => {
    await create(proxy, 'kept');
    const path = `${deployments}/kept`;
    const write = async (method: string, target: string, headers: string[], body: string) => {
      const answer = await proxy.http1({ method, path: target, headers, body });
      expect(answer.status, `${method} ${target}: ${answer.body}`).to.be.oneOf([200, 201]);
      expect(await groupOf('kept'), `after ${method} ${target} ${headers[1]}`).to.equal('together');
    };
    const label = (value: string) => JSON.stringify({ metadata: { labels: { changed: value } } });
    await write('PATCH', path, patches.merge, label('merge'));
    await write('PATCH', path, patches.strategic, label('strategic'));
    await write(
      'PATCH',
      path,
      patches.json,
      JSON.stringify([{ op: 'add', path: '/metadata/labels/json', value: 'x' }]),
    );
    const applied = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'kept', labels: { applied: 'x' } } };
    await write('PATCH', `${path}?fieldManager=somebody`, patches.apply, JSON.stringify(applied));
    await write('PUT', path, type('json'), JSON.stringify(await read(proxy, 'kept')));
    await write('PATCH', `${path}/status`, patches.merge, status);
    await write(
      'PUT',
      `${path}/status`,
      type('json'),
      JSON.stringify({ ...(await read(proxy, 'kept')), status: { observedGeneration: 9 } }),
    );
    await write('PATCH', `${path}/scale`, patches.merge, JSON.stringify({ spec: { replicas: 1 } }));
    const scale = (await proxy.http1({ path: `${path}/scale` })).body.toString();
    await write('PUT', `${path}/scale`, type('json'), scale);
    await write('PATCH', `${path}?dryRun=All`, patches.merge, label('dry'));
    expect((await read(proxy, 'kept')).spec.replicas).to.equal(1);
  });

  it('are kept from an old controller that works through the proxy', async () => {
    const controllers = mixed.startControllerManager('proxy', undefined, '1.35');
    try {
      await create(proxy, 'controlled');
      await waitUntil(
        'the controller to write the status',
        async () => (await read(young, 'controlled')).status?.observedGeneration === 1,
        {
          boundMs: 60_000,
        },
      );
      expect(await groupOf('controlled')).to.equal('together');
      const sets = (
        await young.http1({ path: '/apis/apps/v1/namespaces/default/replicasets?labelSelector=app%3Dcontrolled' })
      ).body;
      expect(JSON.parse(sets.toString())).to.have.property('items').with.length(1);
    } finally {
      controllers.kill('SIGKILL');
    }
  });

  it('are listed in the status and by the plugin, with their writers', async () => {
    const object = await found();
    const row = rowOf(object, 'deployments');
    expect(row?.appearing?.paths).to.include('spec.template.spec.schedulingGroup');
    expect(row?.disappearing?.paths).to.include('spec.template.spec.workloadRef');
    expect(row?.writers).to.have.length(1);
    expect(object.status?.fieldDifferentResources).to.be.greaterThan(20).and.lessThan(60);
    for (const same of ['leases', 'events', 'secrets', 'configmaps'])
      expect(rowOf(object, same), same).to.equal(undefined);
  });

  it('are never lost while the only server that knows them is away, and heartbeats continue', async () => {
    await create(proxy, 'waiting');
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'node-1' },
      spec: { leaseDurationSeconds: 40 },
    };
    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    await young.http1({ method: 'POST', path: leases, headers: type('json'), body: JSON.stringify(lease) });
    await mixed.plane.server('new-1').kill();
    const path = `${deployments}/waiting`;
    const attempt = (method: string, target: string, headers: string[], body?: string) =>
      proxy.http1({ method, path: target, headers, ...(body !== undefined && { body }) });
    const refused = await waitUntil('a write to be refused', async () => {
      const answer = await attempt('PATCH', `${path}/status`, patches.merge, status);
      return answer.status === 503 && answer.body.includes('knows all fields') && answer;
    });
    expect(refused.rawHeaders.map((text) => text.toLowerCase())).to.include('retry-after');
    expect((await attempt('GET', path, [])).status).to.equal(503);
    expect((await attempt('GET', deployments, [])).status).to.equal(200);
    const renew = JSON.stringify({ spec: { leaseDurationSeconds: 41 } });
    const beat = await attempt('PATCH', `${leases}/node-1`, patches.merge, renew);
    expect(beat.status, beat.body.toString()).to.equal(200);
    const node = await attempt(
      'PATCH',
      '/api/v1/nodes/old-1/status',
      patches.merge,
      JSON.stringify({ status: { phase: 'Running' } }),
    );
    expect(node.status, node.body.toString()).to.equal(200);
    expect(warningOf(node)).to.include('nodes of v1');
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'get' } },
    };
    const reviewed = await attempt(
      'POST',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      type('json'),
      JSON.stringify(review),
    );
    expect(reviewed.status).to.equal(201);
    await mixed.plane.server('new-1').start();
    await waitUntil(
      'writes to be taken again',
      async () => (await attempt('PATCH', `${path}/status`, patches.merge, status)).status === 200,
      { boundMs: 60_000 },
    );
    expect(await groupOf('waiting')).to.equal('together');
  });

  it('are left to home with fieldSkew Ignore', async () => {
    const ignore = (fieldSkew: string) =>
      mixed.kubectl('old-1', [
        'patch',
        'peerdiscovery',
        'cluster',
        '--type=merge',
        '-p',
        JSON.stringify({ spec: { routing: { fieldSkew } } }),
      ]);
    expect((await ignore('Ignore')).code).to.equal(0);
    await waitUntil(
      'writes to stay at home',
      async () => (await home('POST', `${deployments}?dryRun=All`)) === 'old-1',
    );
    expect(rowOf(await found(), 'deployments')?.basis).to.be.a('string');
    expect((await ignore('Preserve')).code).to.equal(0);
    await waitUntil('writes to leave home', async () => (await home('POST', `${deployments}?dryRun=All`)) === 'new-1');
  });
});
