import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import {
  createAsker,
  createBehindReporter,
  watchBehindReports,
} from '../../../src/adapters/kubernetes/behind-report.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import { answerStatus, type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const location = { namespace: 'ns', name: 'table' };
const path = '/apis/coordination.k8s.io/v1/namespaces/ns/leases/table-behind';

describe('reports that the table is behind', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    clock = createManualClock();
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  it('are patches of one Lease, at most one per server in 5 s', async () => {
    const report = createBehindReporter(client, location, { clock, log: silentLog });
    report('192.0.2.1:6443');
    report('192.0.2.1:6443');
    report('192.0.2.2:6443');
    await eventually(() => server.requests.length === 2);
    await clock.advance(5_000);
    report('192.0.2.1:6443');
    await eventually(() => server.requests.length === 3);
    for (const request of server.requests) expect(request).to.include({ method: 'PATCH', path });
    expect(server.requests.map(({ body }) => JSON.stringify(body)).join()).to.include(
      '"peerdiscovery.dev/behind":"192.0.2.2:6443"',
    );
  });

  it('reach the operator once each, and none from before its start', async () => {
    const stop = new AbortController();
    const behind: string[] = [];
    const lease = (address: string, renewTime: string) => ({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'table-behind', namespace: 'ns', annotations: { 'peerdiscovery.dev/behind': address } },
      spec: { renewTime },
    });
    server.put(path, lease('old', '1'));
    watchBehindReports({
      ...location,
      client,
      fieldManager: 'test',
      onBehind: (address) => behind.push(address),
      clock,
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
    });
    await eventually(() => server.watches.length > 0 && server.requests.some(({ method }) => method === 'PATCH'));
    server.put(path, lease('192.0.2.1:6443', '2'));
    server.put(path, lease('192.0.2.1:6443', '2'));
    server.put(path, lease('192.0.2.2:6443', '3'));
    await eventually(() => behind.length === 2);
    expect(behind).to.deep.equal(['192.0.2.1:6443', '192.0.2.2:6443']);
    stop.abort();
  });

  it('carry questions for a confirmation; a value that is not a question is dropped', async () => {
    const stop = new AbortController();
    const told: string[] = [];
    const metadata = { name: 'table-behind', namespace: 'ns' };
    const lease = (annotations: Record<string, string>) => ({ metadata: { ...metadata, annotations } });
    server.put(path, lease({ 'peerdiscovery.dev/asks': 'aaaaaaaaaaaaaaaa' }));
    watchBehindReports({
      ...location,
      client,
      fieldManager: 'test',
      onBehind: (address) => told.push(address),
      onAsked: (question) => told.push(question),
      clock,
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
    });
    await eventually(() => server.watches.length > 0 && server.requests.some(({ method }) => method === 'PATCH'));
    createAsker(client, location, silentLog)('bbbbbbbbbbbbbbbb');
    const sent = () => server.requests.filter(({ headers }) => /merge-patch/.test(String(headers['content-type'])));
    await eventually(() => sent().length === 1);
    expect(sent()[0]).to.include({ method: 'PATCH', path });
    server.put(path, sent()[0]?.body ?? {});
    server.put(path, lease({ 'peerdiscovery.dev/asks': 'not a question' }));
    server.put(path, lease({ 'peerdiscovery.dev/asks': 'cccccccccccccccc' }));
    server.put(path, lease({ 'peerdiscovery.dev/asks': 'cccccccccccccccc' }));
    await eventually(() => told.length === 2);
    expect(told).to.deep.equal(['bbbbbbbbbbbbbbbb', 'cccccccccccccccc']);
    stop.abort();
  });

  it('create their Lease later if it could not be created at first, or was deleted', async () => {
    const stop = new AbortController();
    let refusing = true;
    server.scripts.push((request, response) =>
      request.method === 'PATCH' && refusing ? answerStatus(response, 403, 'Forbidden') : false,
    );
    const made = () => server.objects.has(path);
    watchBehindReports({
      ...location,
      client,
      fieldManager: 'test',
      onBehind: () => {},
      clock,
      log: silentLog,
      signal: stop.signal,
      random: () => 0.5,
    });
    await eventually(() => server.watches.length > 0 && server.requests.some(({ method }) => method === 'PATCH'));
    expect(made()).to.equal(false);
    refusing = false;
    await eventually(() => {
      void clock.advance(1_000);
      return made();
    });
    server.remove(path);
    await eventually(made);
    stop.abort();
  });
});
