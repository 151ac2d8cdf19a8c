import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { writeWhile } from '../../../src/adapters/kubernetes/write-while.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const configMapsPath = '/api/v1/namespaces/ns/configmaps';
const map = { metadata: { name: 'a' } };

describe('writeWhile', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1_000, log: silentLog });
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  const writes: Record<string, (writer: ApiClient) => Promise<unknown>> = {
    create: (writer) => writer.create(configMapsPath, map),
    apply: (writer) => writer.apply(`${configMapsPath}/a`, map, { fieldManager: 'test' }),
    patchMerge: (writer) => writer.patchMerge(`${configMapsPath}/a`, map),
    replace: (writer) => writer.replace(`${configMapsPath}/a`, map),
    delete: (writer) => writer.delete(`${configMapsPath}/a`),
  };

  for (const [name, write] of Object.entries(writes))
    it(`sends ${name} only while it may`, async () => {
      server.put(`${configMapsPath}/a`, map);
      let leads = false;
      const writer = writeWhile(client, () => leads);
      const error = await write(writer).catch((reason: unknown) => reason);
      expect(error).to.have.property('message', 'this process no longer leads, so it writes nothing');
      expect(server.requests).to.deep.equal([]);
      leads = true;
      await write(writer).catch(() => {});
      expect(server.requests).to.have.length(1);
    });

  for (const [name, write] of Object.entries(writes))
    it(`does not send a begun ${name} once it may not`, async () => {
      server.put(`${configMapsPath}/a`, map);
      let leads = true;
      const writer = writeWhile(client, () => leads);
      // It waits for its connection.
      const written = write(writer).catch((reason: unknown) => reason);
      leads = false;
      expect(await written)
        .to.have.property('message')
        .that.includes('this process no longer leads, so it writes nothing');
      expect(server.requests).to.deep.equal([]);
    });

  it('reads at any time', async () => {
    server.put(`${configMapsPath}/a`, map);
    const writer = writeWhile(client, () => false);
    expect(await writer.get(`${configMapsPath}/a`)).to.have.property('metadata');
    expect((await writer.list(configMapsPath)).items).to.have.length(1);
  });
});
