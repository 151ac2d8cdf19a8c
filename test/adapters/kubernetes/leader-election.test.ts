import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { type LeaderElectionOptions, runLeaderElection } from '../../../src/adapters/kubernetes/leader-election.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import { answerStatus, type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const lease = '/apis/coordination.k8s.io/v1/namespaces/ns/leases/leader';

describe('runLeaderElection', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let stop: AbortController;
  let running: Promise<void>[];
  let story: string[];

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 2000, log: silentLog });
    clock = createManualClock();
    stop = new AbortController();
    running = [];
    story = [];
  });

  afterEach(async () => {
    stop.abort();
    await clock.advance(60_000);
    await Promise.all(running);
    await client.close();
    await server.close();
  });

  function run(identity: string, options: Partial<LeaderElectionOptions> = {}): Promise<void> {
    const election = runLeaderElection({
      client,
      namespace: 'ns',
      name: 'leader',
      identity,
      clock,
      monotonicMs: clock.now,
      log: silentLog,
      signal: stop.signal,
      random: () => 0,
      onStartedLeading: async (signal) => {
        story.push(`${identity} starts`);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
      onStoppedLeading: () => story.push(`${identity} stops`),
      ...options,
    });
    running.push(election.catch(() => {}));
    return election;
  }

  const spec = () => server.objects.get(lease)?.spec as Record<string, unknown> | undefined;
  const idle = (sleepers = 1) => eventually(() => clock.sleeping === sleepers);

  it('tells its work at once that it no longer leads, if its process was stopped and continues', async () => {
    let stoppedMs = 0;
    let leads = () => false;
    void run('a', {
      monotonicMs: () => clock.now() + stoppedMs,
      onStartedLeading: async (signal, stillLeads) => {
        leads = stillLeads;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    });
    await eventually(() => leads());
    stoppedMs = 9_000;
    expect(leads()).to.equal(true);
    stoppedMs = 10_000;
    expect(leads()).to.equal(false);
  });

  it('creates the lease, leads, and renews it every retry period', async () => {
    void run('a');
    await eventually(() => story.length === 1);
    await idle();
    const first = spec();
    expect(first).to.deep.include({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 });
    await clock.advance(2000);
    await eventually(() => spec()?.renewTime !== first?.renewTime);
    expect(spec()?.acquireTime).to.equal(first?.acquireTime);
    expect(server.requests.filter(({ method }) => method === 'GET')).to.have.length(1);
  });

  it("waits until another holder's lease has not changed for its whole duration, whatever its times say", async () => {
    server.put(lease, {
      spec: { holderIdentity: 'other', leaseDurationSeconds: 15, renewTime: '2001-01-01T00:00:00Z' },
    });
    void run('a');
    for (let waited = 0; waited < 14_000; waited += 2000) {
      await idle();
      await clock.advance(2000);
    }
    await idle();
    expect(story).to.deep.equal([]);
    await clock.advance(2000);
    await eventually(() => story.length === 1);
    expect(spec()).to.deep.include({ holderIdentity: 'a', leaseTransitions: 1 });
  });

  it('releases the lease at shutdown, after its work has ended, so that another leads at once', async () => {
    const first = run('a');
    await eventually(() => story.length === 1);
    stop.abort();
    await first;
    expect(story).to.deep.equal(['a starts', 'a stops']);
    expect(spec()).to.deep.include({ holderIdentity: '', leaseDurationSeconds: 1 });
    stop = new AbortController();
    void run('b');
    await eventually(() => story.includes('b starts'));
    expect(spec()).to.deep.include({ holderIdentity: 'b', leaseTransitions: 1 });
  });

  it('keeps the lease at shutdown while its work has not ended', async () => {
    const first = run('a', { onStartedLeading: () => new Promise(() => {}) });
    await eventually(() => spec() !== undefined);
    await idle();
    stop.abort();
    await idle();
    await clock.advance(10_000);
    await first;
    expect(spec()?.holderIdentity).to.equal('a');
  });

  it('stops leading before the lease runs out when it cannot renew, and competes again', async () => {
    void run('a');
    await eventually(() => story.length === 1);
    await idle();
    server.scripts.push((_request, response) => answerStatus(response, 500, 'InternalError'));
    const startedAt = clock.now();
    while (story.length < 2 && clock.now() - startedAt < 15_000) {
      await idle();
      await clock.advance(2000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(story).to.deep.equal(['a starts', 'a stops']);
    expect(clock.now() - startedAt).to.be.at.most(12_000);
    server.scripts.length = 0;
    await idle();
    await clock.advance(2000);
    await eventually(() => story.length === 3);
  });

  it('stops at once when another candidate holds the lease', async () => {
    void run('a');
    await eventually(() => story.length === 1);
    await idle();
    server.put(lease, { spec: { holderIdentity: 'thief', leaseDurationSeconds: 15, renewTime: 'x' } });
    await clock.advance(2000);
    await eventually(() => story.length === 2);
    expect(spec()?.holderIdentity).to.equal('thief');
  });

  it('lets only one of two candidates lead', async () => {
    void run('a');
    void run('b');
    await eventually(() => story.length === 1);
    await idle(2);
    await clock.advance(2000);
    await idle(2);
    expect(story).to.have.length(1);
  });

  it('reports a missing namespace and a refusal, once each, and goes on trying', async () => {
    const troubles: (string | undefined)[] = [];
    let answerWith: [number, string, Record<string, unknown>] | undefined = [
      404,
      'NotFound',
      { details: { kind: 'namespaces', name: 'ns' } },
    ];
    server.scripts.push((request, response) =>
      request.method === 'POST' && answerWith ? answerStatus(response, ...answerWith) : false,
    );
    void run('a', { onTrouble: (reason) => troubles.push(reason), troubleAfterMs: 0 });
    await idle();
    await clock.advance(2000);
    await idle();
    answerWith = [403, 'Forbidden', {}];
    await clock.advance(2000);
    await eventually(() => troubles.length === 2);
    answerWith = undefined;
    await idle();
    await clock.advance(2000);
    await eventually(() => story.length === 1);
    expect(troubles).to.deep.equal(['NamespaceMissing', 'Forbidden', undefined]);
  });

  it('logs a refusal only if it lasts', async () => {
    const troubles: (string | undefined)[] = [];
    let refusing = true;
    server.scripts.push((_request, response) => refusing && answerStatus(response, 403, 'Forbidden'));
    void run('a', { onTrouble: (reason) => troubles.push(reason) });
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 2_000) {
        await idle();
        await clock.advance(2_000);
      }
      await idle();
    };
    await pass(12_000);
    refusing = false;
    await pass(2_000);
    expect(story).to.deep.equal(['a starts']);
    expect(troubles).to.deep.equal([]);
    refusing = true;
    await pass(28_000);
    expect(troubles).to.deep.equal(['Forbidden']);
    refusing = false;
    await pass(2_000);
    expect(troubles).to.deep.equal(['Forbidden', undefined]);
  });

  it('ends with the error of the work, and releases the lease', async () => {
    const fault = new Error('work failed');
    const error = await run('a', { onStartedLeading: () => Promise.reject(fault) }).catch((reason: unknown) => reason);
    expect(error).to.equal(fault);
    expect(spec()?.holderIdentity).to.equal('');
    expect(story).to.deep.equal(['a stops']);
  });
});
