import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { createEventRecorder, type EventRecorder } from '../../../src/adapters/kubernetes/events.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';
import { answerStatus, type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const cluster = { apiVersion: 'peerdiscovery.dev/v1alpha1', kind: 'PeerDiscovery', name: 'cluster', uid: 'u' };

describe('createEventRecorder', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let recorder: EventRecorder;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    clock = createManualClock();
    recorder = createEventRecorder({ client, component: 'test', instance: 'pod', clock, log: silentLog });
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  const sent = () => server.requests.map(({ method }) => method);

  it('writes the event of a cluster-scoped object to namespace default', async () => {
    recorder.record(cluster, 'Warning', 'PeerLost', 'peer is gone', 'Probe');
    await recorder.flush();
    const [request] = server.requests;
    expect(request?.path).to.equal('/apis/events.k8s.io/v1/namespaces/default/events');
    expect(request?.body).to.deep.include({
      type: 'Warning',
      reason: 'PeerLost',
      note: 'peer is gone',
      action: 'Probe',
    });
    expect(request?.body?.regarding).to.deep.equal(cluster);
    expect(request?.body?.eventTime).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  it('folds repetitions within 10 minutes into a series, and starts anew later', async () => {
    for (let i = 0; i < 3; i += 1) recorder.record(cluster, 'Normal', 'R', 'same', 'A');
    recorder.record(cluster, 'Normal', 'R', 'other', 'A');
    await recorder.flush();
    expect(sent()).to.deep.equal(['POST', 'PATCH', 'PATCH', 'POST']);
    const series = server.requests.map(({ body }) => (body?.series as { count: number } | undefined)?.count);
    expect(series.slice(0, 3)).to.deep.equal([undefined, 2, 3]);
    await clock.advance(10 * 60_000 + 1);
    recorder.record(cluster, 'Normal', 'R', 'same', 'A');
    await recorder.flush();
    expect(sent().at(-1)).to.equal('POST');
  });

  it('starts a new series when the event of the old one is gone', async () => {
    recorder.record(cluster, 'Normal', 'R', 'same', 'A');
    await recorder.flush();
    server.objects.clear();
    recorder.record(cluster, 'Normal', 'R', 'same', 'A');
    await recorder.flush();
    expect(sent()).to.deep.equal(['POST', 'PATCH', 'POST']);
  });

  it('sends at most 25 events about one object at once, and one more in 5 minutes, without limiting other objects', async () => {
    for (let i = 0; i < 40; i += 1) recorder.record(cluster, 'Normal', 'R', `message ${i}`, 'A');
    recorder.record({ ...cluster, name: 'other' }, 'Normal', 'R', 'm', 'A');
    await recorder.flush();
    expect(server.requests).to.have.length(26);
    await clock.advance(5 * 60_000);
    for (let i = 0; i < 3; i += 1) recorder.record(cluster, 'Normal', 'R', `later ${i}`, 'A');
    await recorder.flush();
    expect(server.requests).to.have.length(27);
  });

  it('never throws, and continues after a failure', async () => {
    server.scripts.push((request, response) =>
      server.requests.indexOf(request) === 0 ? answerStatus(response, 403, 'Forbidden') : false,
    );
    recorder.record(cluster, 'Normal', 'R', 'first', 'A');
    recorder.record(cluster, 'Normal', 'R', 'second', 'A');
    await recorder.flush();
    expect(server.objects.size).to.equal(1);
  });

  it('keeps a long message within the 1024 bytes that the API allows', async () => {
    recorder.record(cluster, 'Normal', 'R', 'ä'.repeat(2000), 'A');
    await recorder.flush();
    const note = String(server.requests[0]?.body?.note);
    expect(Buffer.byteLength(note)).to.be.within(1000, 1024);
    expect(note.endsWith('ä…')).to.equal(true);
  });
});
