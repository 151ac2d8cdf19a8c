import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { peerDiscoveriesPath } from '../../../src/adapters/kubernetes/peer-discovery-status.ts';
import { reportStandstillOnAll } from '../../../src/adapters/kubernetes/report-standstill.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

describe('reportStandstillOnAll', () => {
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

  it('writes each status, and records an Event only for a status that did not say so yet', async () => {
    for (const name of ['blue', 'green'])
      server.put(`${peerDiscoveriesPath}/${name}`, { metadata: { name, generation: 1 }, spec: {} });
    const events: unknown[] = [];
    const report = () =>
      reportStandstillOnAll(
        {
          client,
          recorder: { record: (object, ...more) => void events.push([object.name, ...more]) },
          date: () => 0,
          signal: new AbortController().signal,
        },
        { reason: 'Forbidden', message: 'no operator can lead' },
        'Elect',
      );
    await report();
    const written = server.requests.filter(({ method }) => method === 'PATCH');
    expect(written.map(({ path }) => path)).to.deep.equal(
      ['blue', 'green'].map((name) => `${peerDiscoveriesPath}/${name}/status`),
    );
    const expected = ['blue', 'green'].map((name) => [name, 'Warning', 'Forbidden', 'no operator can lead', 'Elect']);
    expect(events).to.deep.equal(expected);

    const { status } = (written[0]?.body ?? {}) as { readonly status?: object };
    const metadata = { name: 'blue', generation: 1 };
    server.put(`${peerDiscoveriesPath}/blue`, { metadata, spec: {}, status });
    server.remove(`${peerDiscoveriesPath}/green`);
    await report();
    expect(events).to.have.length(2);
  });
});
