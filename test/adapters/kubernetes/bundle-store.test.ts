import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { createBundleStore } from '../../../src/adapters/kubernetes/bundle-store.ts';
import { type BundleStore, TerminalError } from '../../../src/operator/ports.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';
import { sampleBundle } from '../../support/sample-bundle.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const maps = '/api/v1/namespaces/ns/configmaps';
const head = `${maps}/table`;
const ownerReference = { apiVersion: 'peerdiscovery.dev/v1alpha1', kind: 'PeerDiscovery', name: 'cluster', uid: 'u-1' };
const lease = '/apis/coordination.k8s.io/v1/namespaces/ns/leases/table';

describe('a bundle store', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let store: BundleStore;

  const storeOf = (owner: string) =>
    createBundleStore({
      client,
      location: { namespace: 'ns', name: 'table' },
      owner,
      ownerReference,
      fieldManager: 'test',
      holder: 'me',
      clock,
      signal: new AbortController().signal,
    });

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    clock = createManualClock();
    store = storeOf('cluster');
    expect(await store.publish(sampleBundle(7))).to.equal(undefined);
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  it('confirms its published table with one read and one write', async () => {
    const before = server.requests.length;
    expect(await store.confirm(7)).to.equal(true);
    expect(server.objects.get(lease)?.metadata).to.deep.include({ annotations: { 'peerdiscovery.dev/revision': '7' } });
    expect(server.requests.slice(before).map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
      `GET ${head}`,
      `PATCH ${lease}`,
    ]);
  });

  it('does not confirm a table that was deleted, restored from a backup, or replaced', async () => {
    const old = server.objects.get(head);
    await store.publish(sampleBundle(8));
    const current = server.objects.get(head);
    for (const wrong of [old, { ...current, data: { ...(current?.data as object), sha256: '0'.repeat(64) } }]) {
      server.put(head, { ...wrong });
      expect(await store.confirm(8)).to.equal(false);
    }
    server.remove(head);
    expect(await store.confirm(8)).to.equal(false);
    expect(server.objects.has(lease)).to.equal(false);
    server.put(head, { ...current });
    expect(await store.confirm(8)).to.equal(true);
    expect(await store.confirm(7)).to.equal(false);
  });

  it('writes objects that are deleted with the PeerDiscovery, without a right to its finalizers', async () => {
    const owned = [{ ...ownerReference, blockOwnerDeletion: false }];
    await store.confirm(7);
    const written = [...server.objects].filter(([path]) => path.startsWith(head) || path === lease);
    const sent = server.requests.filter(({ method }) => method === 'PATCH' || method === 'POST');
    expect(written.length + sent.length).to.be.greaterThan(3);
    for (const { body, path } of sent) expect(body?.metadata, path).to.deep.include({ ownerReferences: owned });
  });

  it('stops confirming a table whose shards are gone', async () => {
    const shard = [...server.objects.keys()].find((path) => path.startsWith(`${head}-`)) ?? '';
    server.remove(shard);
    await clock.advance(15_000);
    expect(await store.confirm(7)).to.equal(false);
  });

  it('checks the shards at once when a proxy asks, because the proxy may have just started', async () => {
    expect(await store.confirm(7, ['a question'])).to.equal(true);
    const shard = [...server.objects.keys()].find((path) => path.startsWith(`${head}-`)) ?? '';
    server.remove(shard);
    expect(await store.confirm(7, ['another'])).to.equal(false);
  });

  it('knows the highest revision even if the head is malformed or gone', async () => {
    const found = server.objects.get(head);
    server.put(head, { ...found, data: { ...(found?.data as object), format: 'other' } });
    expect(await store.read()).to.deep.equal({ revision: 7 });
    server.put(head, { ...found });
    await store.confirm(7);
    server.remove(head);
    expect(await storeOf('cluster').read()).to.deep.equal({ revision: 7 });
  });

  it('does not touch a ConfigMap that is not a routing table, and says what to change', async () => {
    server.put(head, { metadata: { labels: { app: 'other' } }, data: { 'ca.crt': 'of somebody else' } });
    const error = await storeOf('cluster')
      .publish(sampleBundle(8))
      .catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(TerminalError);
    expect(error).to.include({ reason: 'NotATable' });
    expect(String(error)).to.match(/is not a routing table: set another spec\.routingTable\.name/);
    expect(server.objects.get(head)?.data).to.deep.equal({ 'ca.crt': 'of somebody else' });
  });

  it('does not touch a Lease of other software, and says what to change', async () => {
    server.putSilently(lease, { spec: { holderIdentity: 'another' } });
    server.scripts.push(({ method, path, query }, response) => {
      if (method !== 'PATCH' || path !== lease || query.get('force') === 'true') return false;
      response.writeHead(409, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ kind: 'Status', code: 409, reason: 'Conflict' }));
      return true;
    });
    const refused = await store.confirm(7).catch((error: Error) => error);
    expect(refused).to.be.instanceOf(TerminalError);
    expect(refused).to.include({ reason: 'LeaseOfAnother' });
    expect(String(refused)).to.contain('spec.routingTable.name');
  });

  it('does not touch the table of another PeerDiscovery, and says what to change', async () => {
    const other = storeOf('other');
    for (const work of [() => other.read(), () => other.publish(sampleBundle(8))]) {
      const error = await work().catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(TerminalError);
      expect(error).to.include({ reason: 'TableOfAnother' });
      expect(String(error)).to.match(/belongs to PeerDiscovery cluster.*spec\.routingTable\.name/);
    }
    expect(await other.confirm(7)).to.equal(false);
    expect((await store.read()).revision).to.equal(7);
  });
});
