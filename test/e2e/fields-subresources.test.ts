import { expect } from 'chai';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { type FieldsPlane, startFieldsPlane } from '../support/fields-plane.ts';
import type { WireClient } from '../support/wire-client.ts';

interface Pod {
  readonly metadata: { readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string; readonly schedulingGroup?: { readonly podGroupName: string } };
}

const namespace = '/api/v1/namespaces/default';
const json = ['Content-Type', 'application/json'];

/** A Pod with a field that only the new server knows. */
const pod = (name: string) => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
  spec: {
    schedulingGroup: { podGroupName: 'together' },
    containers: [{ name: 'c', image: 'registry.k8s.io/pause' }],
  },
});
const binding = (name: string) => ({
  ...{ apiVersion: 'v1', kind: 'Binding', metadata: { name } },
  target: { kind: 'Node', name: 'old-1' },
});

describe('fields of an object that is written through another kind', function () {
  this.timeout(600_000);
  let plane: FieldsPlane;
  let mixed: MixedPlane;
  let proxy: WireClient;
  let old: WireClient;
  let young: WireClient;

  before(async () => {
    const withoutAccounts = '--disable-admission-plugins=ServiceAccount';
    plane = await startFieldsPlane({
      servers: [
        { name: 'old-1', version: '1.35', flags: [withoutAccounts] },
        {
          ...{ name: 'new-1', version: '1.36', runtimeConfig: 'scheduling.k8s.io/v1alpha2=true' },
          flags: [withoutAccounts, '--feature-gates=GenericWorkload=true'],
        },
      ],
      home: 'old-1',
    });
    ({ mixed, proxy } = plane);
    [old, young] = [plane.clientOf('old-1'), plane.clientOf('new-1')];
    await waitUntil(
      'the proxy to route writes of Pods',
      async () => {
        const answer = await post(proxy, '/pods?dryRun=All', pod('probe')).catch(() => undefined);
        return answer?.status === 201 && answer.body.includes('schedulingGroup');
      },
      { boundMs: 60_000, seen: () => mixed.plane.logTails(10) },
    );
  });
  after(() => plane?.stop());

  const post = (client: WireClient, path: string, body: object) =>
    client.http1({ method: 'POST', path: `${namespace}${path}`, headers: json, body: JSON.stringify(body) });
  async function created(client: WireClient, path: string, body: object): Promise<void> {
    const answer = await post(client, path, body);
    expect(answer.status, answer.body.toString()).to.equal(201);
  }
  const read = async (name: string): Promise<Pod> =>
    JSON.parse((await young.http1({ path: `${namespace}/pods/${name}` })).body.toString());

  for (const [what, path] of [
    ['a Binding in its own list', () => '/bindings'],
    ['a Binding of the Pod', (name: string) => `/pods/${name}/binding`],
  ] as const)
    it(`are lost by ${what} at the old server, and kept through the proxy`, async () => {
      const name = what.endsWith('list') ? 'listed' : 'bound';
      for (const [client, suffix, kept] of [
        [old, 'direct', undefined],
        [proxy, 'through', 'together'],
      ] as const) {
        const target = `${name}-${suffix}`;
        await created(young, '/pods', pod(target));
        await created(client, path(target), binding(target));
        const { spec } = await read(target);
        expect([spec.nodeName, spec.schedulingGroup?.podGroupName], target).to.deep.equal(['old-1', kept]);
      }
    });

  it('are kept by an eviction through the proxy, and lost by one at the old server', async () => {
    for (const [client, name, kept] of [
      [old, 'evicted-direct', undefined],
      [proxy, 'evicted-through', 'together'],
    ] as const) {
      await created(young, '/pods', pod(name));
      await created(young, `/pods/${name}/binding`, binding(name));
      await created(client, `/pods/${name}/eviction`, {
        ...{ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name } },
      });
      const { metadata, spec } = await read(name);
      expect(metadata.deletionTimestamp).to.be.a('string');
      expect(spec.schedulingGroup?.podGroupName, name).to.equal(kept);
    }
  });

  it('wait for a server that knows them, while tokens are issued all the same', async () => {
    await created(young, '/serviceaccounts', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'robot' } });
    await created(young, '/pods', pod('waiting'));
    await mixed.plane.server('new-1').kill();
    for (const path of ['/bindings', '/pods/waiting/binding'])
      await waitUntil(`${path} to be refused`, async () => {
        const answer = await post(proxy, path, binding('waiting'));
        return answer.status === 503 && answer.body.includes('knows all fields');
      });
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: ['x'] } };
    await created(proxy, '/serviceaccounts/robot/token', request);
  });
});
