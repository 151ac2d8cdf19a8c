import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { reportSilence } from '../../../src/adapters/kubernetes/silence-report.ts';
import type { PeerDiscoveryStatus } from '../../../src/api/peer-discovery.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import { answerStatus, type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const lease = '/apis/coordination.k8s.io/v1/namespaces/ns/leases/table';
const object = '/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries/cluster';
const renewTime = '2026-01-01T10:00:00.000000Z';

describe('a proxy whose table no operator confirms', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let stop: AbortController;
  let heard: (renewTime: string) => void;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1_000, log: silentLog });
    clock = createManualClock();
    stop = new AbortController();
    const place = { client, namespace: 'ns', name: 'table', owner: () => 'cluster' };
    heard = reportSilence({ ...place, clock, log: silentLog, signal: stop.signal });
    server.put(lease, { metadata: { name: 'table', namespace: 'ns' }, spec: { renewTime } });
    publish('True', 'True');
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  function publish(ready: string, converged: string): void {
    const condition = (type: string, status: string) => ({ type, status, reason: 'X', message: '' });
    const conditions = [condition('Ready', ready), condition('Stale', 'False'), condition('Converged', converged)];
    const status = { conditions, converged, peerCounts: { total: 3, ready: 3, stale: 0, unreachable: 0 } };
    server.put(object, { metadata: { name: 'cluster' }, status });
  }

  const patches = () => server.requests.filter(({ method }) => method === 'PATCH');

  /** Advances the clock by this much, and waits for the effects. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5_000) {
      const before = server.requests.length;
      await clock.advance(5_000);
      await eventually(() => clock.sleeping === 1 && server.requests.length >= before);
    }
  }

  it('revokes the status after a minute, and says since when the silence lasts', async () => {
    heard(renewTime);
    await pass(55_000);
    expect(server.requests).to.deep.equal([]);
    await pass(5_000);
    await eventually(() => patches().length === 1);
    const [patch] = patches();
    expect(patch?.path).to.equal(`${object}/status`);
    expect(patch?.query.get('fieldManager')).to.equal('peerdiscovery-proxy');
    const status = patch?.body?.status as PeerDiscoveryStatus;
    expect(status).to.deep.include({ converged: 'Unknown', peerCounts: { ready: 0, stale: 3 } });
    expect(status.conditions?.map(({ type, status: holds, reason }) => [type, holds, reason])).to.deep.equal([
      ['Ready', 'Unknown', 'OperatorSilent'],
      ['Converged', 'Unknown', 'OperatorSilent'],
    ]);
    expect(status.conditions?.[0]?.message).to.match(
      /^no operator has confirmed this status since 2026-01-01T10:00:00Z/,
    );
    expect(status.conditions?.[0]?.lastTransitionTime).to.equal('2026-01-01T10:01:00Z');
    await pass(120_000);
    expect(patches()).to.have.length(1);
  });

  it('does nothing while the table is confirmed, and starts again afterwards', async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      heard(`${turn}`);
      await pass(20_000);
    }
    expect(server.requests).to.deep.equal([]);
  });

  it('does nothing if only its watch is late, or if there was never a confirmation', async () => {
    await pass(120_000);
    expect(server.requests).to.deep.equal([]);
    heard('2026-01-01T09:59:00.000000Z');
    await pass(65_000);
    expect(patches()).to.deep.equal([]);
    await pass(60_000);
    expect(patches()).to.have.length(1);
  });

  it('does not touch a status that does not claim success, because its operator may be at work', async () => {
    publish('False', 'True');
    heard(renewTime);
    await pass(180_000);
    expect(patches()).to.deep.equal([]);
  });

  it('ignores a missing object, and tries again after a refusal', async () => {
    server.remove(object);
    heard(renewTime);
    await pass(120_000);
    expect(patches()).to.deep.equal([]);
    publish('True', 'True');
    let refusals = 2;
    server.scripts.push(({ method }, response) =>
      method === 'PATCH' && refusals-- > 0 ? answerStatus(response, 403, 'Forbidden') : false,
    );
    heard('2026-01-01T10:00:00.000000Z');
    await pass(90_000);
    expect(patches().length).to.be.at.most(3);
  });
});
