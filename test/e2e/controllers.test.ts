import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { deleteNamespaceWithClaim, resourceClaim } from '../../lab/demo/demo-namespace.ts';
import type { Narrator } from '../../lab/demo/narrator.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { claims, startThreeServers, type ThreeServers } from '../support/three-servers.ts';
import { createWireClient, type WireClient } from '../support/wire-client.ts';

const silent: Pick<Narrator, 'show'> = {
  show: (mixed, target, args, { input } = {}) => mixed.kubectl(target, args, input),
};

/** `old-1`, which is home, emulates 1.33, where resource.k8s.io/v1 does not exist. */
describe('a real kube-controller-manager and a client-go informer through the proxy', function () {
  this.timeout(240_000);
  let servers: ThreeServers;
  let mixed: ThreeServers['mixed'];
  let status: ThreeServers['status'];
  let allReady: ThreeServers['allReady'];
  let client: WireClient;
  let manager: ChildProcess | undefined;

  before(async () => {
    servers = await startThreeServers();
    ({ mixed, client, status, allReady } = servers);
  });

  after(() => servers?.stop());

  async function create(object: object): Promise<string> {
    const { code, stdout, stderr } = await mixed.kubectl(
      'proxy',
      ['create', '-f', '-', '-o', 'jsonpath={.metadata.uid}'],
      JSON.stringify(object),
    );
    expect(code, stderr).to.equal(0);
    return stdout;
  }

  /** A ConfigMap owned by a ResourceClaim, so that the garbage collector asks for the claim. */
  const dependent = (name: string, owner: string, uid: string) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace: 'default',
      ownerReferences: [{ apiVersion: 'resource.k8s.io/v1', kind: 'ResourceClaim', name: owner, uid }],
    },
  });
  const dependents = async () => {
    const { body } = await client.http1({ path: '/api/v1/namespaces/default/configmaps' });
    const { items } = JSON.parse(body.toString()) as { items: { metadata: { name: string } }[] };
    return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('of-'));
  };

  it('leaves objects behind when it deletes a namespace at the old server, and none through the proxy', async () => {
    const common = { witness: 'new-1', narrator: silent as Narrator };
    const direct = await deleteNamespaceWithClaim(mixed, { ...common, target: 'old-1', namespace: 'doomed' });
    expect(direct.leftBehind, 'the damage has to be there, or this shows nothing').to.equal(true);
    const proxied = await deleteNamespaceWithClaim(mixed, { ...common, target: 'proxy', namespace: 'saved' });
    expect(proxied.leftBehind).to.equal(false);
  });

  it('collects only true orphans while the servers that know their owners are killed and restarted', async () => {
    manager = mixed.startControllerManager('proxy');
    const kept: string[] = [];
    const unknown = '00000000-0000-4000-8000-00000000000';
    for (const [round, victims] of [['new-1'], ['new-2'], ['new-1', 'new-2']].entries()) {
      const uid = await create(resourceClaim('default', `owner-${round}`));
      await Promise.all(victims.map((victim) => mixed.plane.server(victim).kill()));
      // It is created through home, which does not know the owner's resource.
      await create(dependent(`of-owner-${round}`, `owner-${round}`, uid));
      await create(dependent(`of-nobody-${round}`, `nobody-${round}`, `${unknown}${round}`));
      kept.push(`of-owner-${round}`);
      const collected = async () => !(await dependents()).includes(`of-nobody-${round}`);
      if (victims.length === 1) await waitUntil('the orphan to be collected', collected);
      await Promise.all(victims.map((victim) => mixed.plane.server(victim).start()));
      await allReady();
      await waitUntil('the orphan to be collected', collected);
      expect(await dependents()).to.include.members(kept);
    }
    // Once an owner is really gone, its dependents are deleted as well.
    await mixed.kubectl('proxy', ['delete', 'resourceclaim', 'owner-0']);
    await waitUntil('the dependent to follow its owner', async () => !(await dependents()).includes('of-owner-0'));
    expect(await dependents()).to.have.members(kept.slice(1));
  });

  it('gets 10,000 right answers while every apiserver is restarted in turn, and an informer keeps up', async () => {
    const args = ['--kubeconfig', mixed.proxyKubeconfig, '--group', 'resource.k8s.io', '--resource', 'deviceclasses'];
    mixed.plane.spawn('informer-watch', args, { name: 'informer' });
    const lines = () =>
      mixed.plane
        .readLog('informer')
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as { event: string; name?: string });
    await waitUntil('the informer to be in sync', async () => lines().some(({ event }) => event === 'synced'));
    const deviceClass = (name: string) => ({
      apiVersion: 'resource.k8s.io/v1',
      kind: 'DeviceClass',
      metadata: { name },
      spec: {},
    });
    const expected: Readonly<Record<string, number>> = {
      [claims]: 200,
      '/api/v1/namespaces/default/configmaps': 200,
      '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/owner-1': 200,
      '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/none': 404,
      '/apis/apps/v1/deployments': 200,
      '/version': 200,
    };
    const paths = Object.keys(expected);
    const wrong = new Map<string, number>();
    let count = 0;
    let restarting = true;
    const read = async (turn: number) => {
      for (let at = turn; restarting || count < 10_000; at++) {
        const path = paths[at % paths.length] ?? '';
        const send = at % 2 === 0 ? client.http1 : client.http2;
        const answer = await send({ path }).then(
          ({ status: code, body }) => (code === expected[path] ? '' : `${code} ${body.toString().slice(0, 200)}`),
          (error: Error) => error.message,
        );
        count++;
        if (answer !== '') wrong.set(`${path}: ${answer}`, (wrong.get(`${path}: ${answer}`) ?? 0) + 1);
      }
    };
    const readers = Promise.all(Array.from({ length: 8 }, (_, turn) => read(turn)));
    for (const name of ['new-1', 'new-2', 'old-1']) {
      await mixed.plane.server(name).stop();
      await create(deviceClass(`while-${name}-was-away`));
      await mixed.plane.server(name).start();
      await allReady();
    }
    restarting = false;
    await readers;
    expect(count).to.be.at.least(10_000);
    expect(Object.fromEntries(wrong)).to.deep.equal({});
    for (const name of ['new-1', 'new-2', 'old-1'])
      await waitUntil(`the informer to see what was created while ${name} was away`, async () =>
        lines().some((line) => line.event === 'added' && line.name === `while-${name}-was-away`),
      );
    expect(lines().filter(({ event }) => event === 'deleted')).to.deep.equal([]);
    await mixed.kubectl('proxy', ['delete', 'deviceclass', 'while-old-1-was-away']);
    await waitUntil('the informer to see a deletion', async () => lines().some(({ event }) => event === 'deleted'));
  });

  it('gets 503 and never 404 from the moment that the only capable server is stopped cleanly until it is back', async () => {
    await mixed.plane.server('new-2').stop();
    await waitUntil('new-1 to serve alone', async () => (await status(claims)) === 200);
    const seen = new Map<number, number>();
    let reading = true;
    const reader = (async () => {
      while (reading) {
        const code = await status(claims);
        seen.set(code, (seen.get(code) ?? 0) + 1);
      }
    })();
    await mixed.plane.server('new-1').stop();
    await waitUntil('503', async () => (seen.get(503) ?? 0) > 50);
    await mixed.plane.server('new-1').start();
    await waitUntil('service again', async () => (await status(claims)) === 200);
    reading = false;
    await reader;
    expect([...seen.keys()].sort()).to.deep.equal([200, 503]);
    await mixed.plane.server('new-2').start();
  });

  it('lets kube-controller-manager continue, and end in good order', async () => {
    expect(manager?.exitCode).to.equal(null);
    await create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'late' } });
    await waitUntil('the ServiceAccount of a new namespace', async () => {
      return (await status('/api/v1/namespaces/late/serviceaccounts/default')) === 200;
    });
  });

  it('lets the proxy tell the operator, with only its own rights, to read a server again', async () => {
    const kubeconfig = mixed.plane.kubeconfig({
      server: mixed.plane.server('old-1').url,
      token: mixed.plane.tokens.proxy,
      name: 'proxy-account',
    });
    const asProxy = (args: readonly string[]) =>
      mixed.plane.exec('kubectl', ['--kubeconfig', kubeconfig, '--namespace', 'peerdiscovery-system', ...args]);
    const address = mixed.plane.server('new-1').address;
    const patch = {
      metadata: { annotations: { 'peerdiscovery.dev/behind': address } },
      spec: { renewTime: '2026-01-01T00:00:00.000000Z' },
    };
    const args = ['--type=merge', '-p', JSON.stringify(patch)];
    const told = await asProxy(['patch', 'lease', 'peerdiscovery-cluster-behind', ...args]);
    // kubectl reads an object before it patches it. The proxy may not read it, and need not.
    if (told.code !== 0) {
      expect(told.stderr).to.match(/cannot get resource "leases"/);
      const path = '/apis/coordination.k8s.io/v1/namespaces/peerdiscovery-system/leases/peerdiscovery-cluster-behind';
      const direct = createWireClient({
        url: mixed.plane.server('old-1').url,
        ca: readFileSync(mixed.plane.caFile, 'utf8'),
        token: mixed.plane.tokens.proxy,
      });
      const headers = ['Content-Type', 'application/merge-patch+json'];
      const answer = await direct.http1({ method: 'PATCH', path, headers, body: JSON.stringify(patch) });
      direct.close();
      expect(answer.status, answer.body.toString()).to.equal(200);
    }
    await waitUntil('the operator to read it again', async () =>
      new RegExp(`a proxy found the table behind.*${address}`).test(mixed.plane.readLog('operator')),
    );
    const forged = await asProxy(['patch', 'lease', 'peerdiscovery-cluster', ...args]);
    expect(forged.stderr).to.match(/forbidden/i);
  });
});
