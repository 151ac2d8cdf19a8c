import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { hashOf } from '../../../src/adapters/kubernetes/bundle-codec.ts';
import { publishBundle, readHead, watchBundle } from '../../../src/adapters/kubernetes/config-map-bundle.ts';
import { parseServers } from '../../../src/adapters/kubernetes/known-servers-file.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually } from '../../support/manual-clock.ts';
import { sampleBundle } from '../../support/sample-bundle.ts';
import { answerStatus, type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const configMapsPath = '/api/v1/namespaces/ns/configmaps';
const headPath = `${configMapsPath}/table`;
const location = { namespace: 'ns', name: 'table', fieldManager: 'test', owner: 'cluster' };

describe('a bundle in ConfigMaps', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let stop: AbortController;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    stop = new AbortController();
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  function watch() {
    const revisions: number[] = [];
    const troubles: (string | undefined)[] = [];
    const messages: string[] = [];
    const clock = createManualClock();
    watchBundle({
      client,
      namespace: 'ns',
      name: 'table',
      onBundle: (bundle) => revisions.push(bundle.table.revision),
      onTrouble: (reason, message) => {
        troubles.push(reason);
        messages.push(message);
      },
      clock,
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
    });
    return { revisions, troubles, messages, clock };
  }

  const shardPaths = () => [...server.objects.keys()].filter((path) => path !== headPath);

  it('is written shards first and head last', async () => {
    const outcome = await publishBundle(client, location, sampleBundle(1));
    expect(outcome).to.deep.include({ published: true, leftover: [] });
    const writes = server.requests.filter(({ method }) => method !== 'GET');
    expect(writes.map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
      `POST ${configMapsPath}`,
      `POST ${configMapsPath}`,
    ]);
    expect(writes[0]?.body).to.deep.include({ immutable: true });
    const head = await readHead(client, location);
    expect(head.ok && head.head.revision).to.equal(1);
  });

  it('names the servers in the head, in the format of the file that operators and proxies start with', async () => {
    const bundle = sampleBundle(1);
    const peers = [
      { id: 'a', address: '10.0.0.1:6443', state: 'Ready' },
      { id: 'b', address: '10.0.0.2:6443', state: 'Unreachable' },
      { id: 'c', address: '10.0.0.3:6443', state: 'Refused' },
      { id: 'd', state: 'Unresolved' },
    ] as const;
    await publishBundle(client, location, { ...bundle, table: { ...bundle.table, peers } });
    const data = (server.objects.get(headPath)?.data ?? {}) as Record<string, string>;
    expect(parseServers(data['servers.json'] ?? '')).to.deep.equal(
      ['10.0.0.1:6443', '10.0.0.2:6443'].map((address) => ({ address, serverName: bundle.table.serverName })),
    );
  });

  it('keeps the shards of the previous head, deletes older ones, and nothing else', async () => {
    const labels = { 'peerdiscovery.dev/routing-table': 'table' };
    server.put(`${configMapsPath}/unrelated`, { metadata: { labels } });
    for (const revision of [1, 2, 3]) await publishBundle(client, location, sampleBundle(revision));
    const head = await readHead(client, location);
    if (!head.ok) throw new Error(head.reason);
    expect(shardPaths()).to.have.length(3);
    expect(shardPaths()).to.include(`${configMapsPath}/${head.head.shards[0]?.name}`);
  });

  it('refuses to publish a revision that is not newer', async () => {
    await publishBundle(client, location, sampleBundle(5));
    const outcome = await publishBundle(client, location, sampleBundle(4));
    expect(outcome).to.deep.equal({ published: false, reason: 'NotNewer', revision: 5 });
    expect((await publishBundle(client, location, sampleBundle(5))).published).to.equal(true);
  });

  it('reports that another publisher was faster', async () => {
    await publishBundle(client, location, sampleBundle(1));
    server.scripts.push((request, response) =>
      request.method === 'PATCH' ? answerStatus(response, 409, 'Conflict') : false,
    );
    const outcome = await publishBundle(client, location, sampleBundle(2));
    expect(outcome).to.deep.equal({ published: false, reason: 'Conflict' });
  });

  it('is not replaced by that of another PeerDiscovery', async () => {
    await publishBundle(client, location, sampleBundle(1));
    const outcome = await publishBundle(client, { ...location, owner: 'other' }, sampleBundle(2));
    expect(outcome).to.deep.equal({ published: false, reason: 'OfAnother', owner: 'cluster' });
    expect(await readHead(client, location)).to.deep.include({ ok: true, owner: 'cluster' });
  });

  it('is written by one of two publishers that begin at the same time, and the other one learns of it', async () => {
    const other = { ...location, owner: 'other' };
    server.scripts.push((request, response) => {
      // Both read before either one writes.
      const reads = server.requests.filter(({ method, path }) => method === 'GET' && path === headPath).length;
      return request.method === 'GET' && request.path === headPath && reads <= 2
        ? answerStatus(response, 404, 'NotFound', { details: { kind: 'configmaps', name: 'table' } })
        : false;
    });
    const outcomes = [
      await publishBundle(client, location, sampleBundle(1)),
      await publishBundle(client, other, sampleBundle(1)),
    ];
    expect(outcomes.map(({ published }) => published)).to.deep.equal([true, false]);
    expect(outcomes[1]).to.include({ reason: 'Conflict' });
  });

  it('reports its revision even if the head is malformed', async () => {
    await publishBundle(client, location, sampleBundle(5));
    const head = server.objects.get(headPath);
    server.put(headPath, { ...head, data: { ...(head?.data as object), shards: 'none' } });
    expect(await readHead(client, location)).to.include({ ok: false, reason: 'Malformed', revision: 5 });
  });

  it('loses no shard to a slow writer that is overtaken after writing its head', async () => {
    await publishBundle(client, location, sampleBundle(1));
    let slow: (() => void) | undefined;
    const overtaken = new Promise<void>((resolve) => {
      slow = resolve;
    });
    let passed = false;
    const slowClient: ApiClient = {
      ...client,
      async apply(path, object, options) {
        const applied = await client.apply(path, object, options);
        await overtaken;
        passed = true;
        return applied as never;
      },
    };
    const writing = publishBundle(slowClient, location, sampleBundle(2));
    await eventually(() => JSON.stringify(server.objects.get(headPath)?.data).includes('"revision":"2"'));
    await publishBundle(client, location, sampleBundle(3));
    await publishBundle(client, location, sampleBundle(4));
    slow?.();
    await writing;
    expect(passed).to.equal(true);
    const head = await readHead(client, location);
    if (!head.ok) throw new Error(head.reason);
    expect(shardPaths()).to.include.members(head.head.shards.map(({ name }) => `${configMapsPath}/${name}`));
  });

  it('ignores another table with its own revision', async () => {
    await publishBundle(client, location, sampleBundle(2));
    const { revisions, troubles } = watch();
    await eventually(() => revisions.length === 1 && server.watches.length === 1);
    const head = server.objects.get(headPath);
    const elsewhere = { ...location, name: 'forged' };
    const forged = sampleBundle(2);
    await publishBundle(client, elsewhere, { ...forged, table: { ...forged.table, owner: 'other' } });
    const forgedHead = server.objects.get(`${configMapsPath}/forged`);
    const shard = server.objects.get([...server.objects.keys()].find((path) => path.includes('/forged-')) ?? '');
    server.put(`${configMapsPath}/${shard?.metadata.name}`, {
      ...shard,
      metadata: { ...shard?.metadata, labels: head?.metadata.labels },
    });
    server.put(headPath, { ...head, data: forgedHead?.data });
    await eventually(() => troubles.includes('OlderRevision'));
    expect(revisions).to.deep.equal([2]);
  });

  it('replaces a tampered shard', async () => {
    await publishBundle(client, location, sampleBundle(1));
    const [path = ''] = shardPaths();
    server.put(path, { ...server.objects.get(path), binaryData: { bundle: 'AAAA' } });
    await publishBundle(client, location, sampleBundle(1));
    expect(server.objects.get(path)?.binaryData).not.to.deep.equal({ bundle: 'AAAA' });
  });

  it('reaches its readers complete, one revision after another', async () => {
    await publishBundle(client, location, sampleBundle(1));
    const { revisions, troubles } = watch();
    await eventually(() => revisions.length === 1 && server.watches.length === 1);
    await publishBundle(client, location, sampleBundle(2));
    await eventually(() => revisions.length === 2);
    expect(revisions).to.deep.equal([1, 2]);
    expect(troubles).to.deep.equal([]);
  });

  it('counts as missing until it exists, and keeps its last good state when it is deleted or damaged', async () => {
    const { revisions, troubles } = watch();
    await eventually(() => troubles.length === 1 && server.watches.length === 1);
    await publishBundle(client, location, sampleBundle(1));
    await eventually(() => revisions.length === 1);
    const head = server.objects.get(headPath);
    server.put(headPath, { ...head, data: { ...(head?.data as object), revision: '2', sha256: '0'.repeat(64) } });
    await eventually(() => troubles.includes('Invalid'));
    server.remove(headPath);
    await eventually(() => troubles.at(-1) === 'Missing');
    expect(revisions).to.deep.equal([1]);
  });

  it('is read at most once a second by a reader that has refused it, and once per content', async () => {
    await publishBundle(client, location, sampleBundle(1));
    const { revisions, messages, clock } = watch();
    await eventually(() => revisions.length === 1 && server.watches.length === 1);
    const old = server.objects.get(headPath);
    const labels = { 'peerdiscovery.dev/routing-table': 'table' };
    const put = (revision: number, content: string) => {
      const name = `table-${content.length}`;
      const sha256 = hashOf(Buffer.from(content));
      server.put(`${configMapsPath}/${name}`, {
        metadata: { name, namespace: 'ns', labels },
        binaryData: { bundle: Buffer.from(content).toString('base64') },
      });
      const data = { ...(old?.data as object), revision: String(revision), sha256 };
      server.put(headPath, { ...old, data: { ...data, shards: JSON.stringify([{ name, sha256 }]) } });
    };
    put(2, '{');
    await eventually(() => messages.length > 0);
    expect(messages).to.deep.equal(['revision 2: it is not JSON']);
    put(3, '[1,');
    put(4, '[1,2');
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(messages).to.have.length(1);
    await clock.advance(1_000);
    await eventually(() => messages.length === 2);
    expect(messages.at(-1)).to.equal('revision 4: it is not JSON');
    await clock.advance(1_000);
    put(5, '[1,2');
    await publishBundle(client, location, sampleBundle(6));
    await eventually(() => revisions.length === 2);
    expect([revisions, messages.length, messages.at(-1)]).to.deep.equal([[1, 6], 3, '']);
  });

  it('never returns to an older revision, unless the head was recreated', async () => {
    await publishBundle(client, location, sampleBundle(1));
    const old = server.objects.get(headPath);
    const { revisions, troubles } = watch();
    await eventually(() => revisions.length === 1 && server.watches.length === 1);
    await publishBundle(client, location, sampleBundle(2));
    await eventually(() => revisions.length === 2);
    server.put(headPath, { ...old });
    await eventually(() => troubles.includes('OlderRevision'));
    expect(revisions).to.deep.equal([1, 2]);
    server.remove(headPath);
    await eventually(() => troubles.at(-1) === 'Missing');
    server.put(headPath, { ...old });
    await eventually(() => revisions.length === 3);
    expect(revisions).to.deep.equal([1, 2, 1]);
    expect(troubles.at(-1)).to.equal(undefined);
  });
});
