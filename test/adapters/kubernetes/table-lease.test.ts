import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { confirmTable, ForeignLeaseError, watchConfirmations } from '../../../src/adapters/kubernetes/table-lease.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const path = '/apis/coordination.k8s.io/v1/namespaces/ns/leases/table';

describe('confirmations of a routing table', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;
  let clock: ManualClock;
  let stop: AbortController;
  let doubt: (revision: number) => string | undefined;
  let asked: string[];
  let answered: number;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    clock = createManualClock();
    stop = new AbortController();
    const common = { client, namespace: 'ns', name: 'table', clock, log: silentLog, signal: stop.signal };
    asked = [];
    answered = 0;
    doubt = watchConfirmations({
      ...common,
      random: () => 0.5,
      ask: (question) => asked.push(question),
      onAnswered: () => {
        answered += 1;
      },
    });
    await eventually(() => server.watches.length > 0);
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  /** The Lease that `confirmTable` writes, as the API server would store it. */
  async function confirm(revision: number, answers: readonly string[] = []): Promise<void> {
    const before = server.requests.length;
    const location = { namespace: 'ns', name: 'table', fieldManager: 'test', holder: 'me', signal: stop.signal };
    await confirmTable(client, location, revision, clock.now(), answers).catch(() => {});
    const sent = server.requests[before];
    expect(sent).to.include({ method: 'PATCH', path });
    server.put(path, sent?.body ?? {});
    // Lets the watch deliver it: then an older revision is in doubt, or the silence is measured anew.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Confirms twice, at the regular interval. */
  async function confirmTwice(revision: number): Promise<void> {
    await confirm(revision);
    await eventually(() => seen(revision));
    await clock.advance(5_000);
    await confirm(revision);
    await eventually(() => doubt(revision) === undefined);
  }

  /** True once the watch has delivered the confirmation. Only a newer revision is judged by its age alone. */
  function seen(revision: number): boolean {
    return server.watches.some(({ closed }) => !closed) && doubt(revision) !== undefined;
  }

  it('holds for 30 s after the last one, and no longer', async () => {
    await confirmTwice(7);
    await clock.advance(29_000);
    expect(doubt(7)).to.equal(undefined);
    await clock.advance(2_000);
    expect(doubt(7)).to.match(/has not confirmed the table for more than 30 s/);
    await confirmTwice(7);
  });

  it('does not count a confirmation from before its start, or after a gap of unknown length', async () => {
    expect(doubt(7)).to.match(/has not confirmed the table twice/);
    await confirm(7);
    await clock.advance(5_000);
    expect(doubt(7)).to.match(/has not confirmed the table twice/);
    await clock.advance(60_000);
    await confirm(7);
    await confirm(7);
    await settled();
    expect(doubt(7)).to.match(/has not confirmed the table twice/);
    await clock.advance(5_000);
    await confirm(7);
    await eventually(() => doubt(7) === undefined);
  });

  it('doubts a table that is older than the confirmed one, once its own watch has had time to follow', async () => {
    await confirmTwice(7);
    await clock.advance(5_000);
    await confirm(8);
    await settled();
    expect(doubt(7)).to.equal(undefined);
    await clock.advance(3_000);
    expect(doubt(7)).to.equal('the operator confirms revision 8, but this proxy has 7');
    expect(doubt(8)).to.equal(undefined);
    expect(doubt(9)).to.equal(undefined);
  });

  it('asks at once, and trusts only a confirmation that names its question at once', async () => {
    expect(asked).to.have.length(1);
    await confirm(7, ['0123456789abcdef']);
    await settled();
    expect(doubt(7)).to.match(/has not confirmed the table twice/);
    await clock.advance(500);
    await confirm(7, ['0123456789abcdef', asked[0] ?? '']);
    await eventually(() => answered === 1);
    expect(doubt(7)).to.equal(undefined);
    expect(doubt(6)).to.equal(undefined);
    await clock.advance(20_000);
    expect(asked).to.have.length(1);
  });

  it('trusts an answer from the time of its question on, however late it arrives', async () => {
    await clock.advance(6_000);
    await confirm(7, asked.slice(0, 1));
    await eventually(() => answered === 1);
    await clock.advance(23_000);
    expect(doubt(7)).to.equal(undefined);
    await clock.advance(1_000);
    expect(doubt(7)).to.match(/for more than 30 s/);
  });

  it('asks again at growing intervals while no operator answers, and at once when trust has ended', async () => {
    await clock.advance(60_000);
    expect(asked.length).to.be.within(4, 12);
    await confirm(7, asked.slice(-1));
    await eventually(() => answered === 1);
    const before = asked.length;
    await clock.advance(40_000);
    expect(asked.length).to.be.greaterThan(before);
    await confirm(8, asked.slice(-1));
    await eventually(() => doubt(8) === undefined);
  });

  it('ignores an answer in a Lease that names an older revision than it has seen', async () => {
    await confirm(8, asked);
    await eventually(() => doubt(8) === undefined);
    await clock.advance(2_000);
    await confirm(7, asked);
    await eventually(() => /has not confirmed the table twice/.test(doubt(7) ?? ''));
  });

  it('does not take a Lease of other software for a confirmation, however often it is renewed', async () => {
    for (let time = 0; time < 3; time += 1) {
      const renewTime = new Date(clock.date()).toISOString();
      server.put(path, { metadata: { name: 'table' }, spec: { holderIdentity: 'another', renewTime } });
      await settled();
      await clock.advance(5_000);
      expect(doubt(7)).to.match(/has not confirmed the table twice/);
    }
  });

  it('does not touch a Lease of other software, and takes over one that confirms a table', async () => {
    const apply = () =>
      confirmTable(client, { namespace: 'ns', name: 'table', fieldManager: 'test', holder: 'me' }, 7, clock.now());
    const another = { spec: { holderIdentity: 'another' } };
    server.putSilently(path, another);
    // The API server reports a conflict to a client that applies another manager's fields, unless the client forces its
    // own.
    server.scripts.push(({ method, query }, response) => {
      if (method !== 'PATCH' || query.get('force') === 'true') return false;
      response.writeHead(409, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ kind: 'Status', code: 409, reason: 'Conflict' }));
      return true;
    });
    const refused = await apply().catch((error: Error) => error);
    expect(refused).to.be.instanceOf(ForeignLeaseError);
    expect(String(refused)).to.contain('held by another');
    expect(server.objects.get(path)).to.deep.include(another);
    server.putSilently(path, { ...another, metadata: { annotations: { 'peerdiscovery.dev/revision': '6' } } });
    await apply();
    expect(server.objects.get(path)).to.have.nested.property('spec.holderIdentity', 'me');
  });

  it('ignores a Lease from a backup until the operator has renewed it', async () => {
    await confirmTwice(8);
    await clock.advance(5_000);
    await confirm(7);
    await eventually(() => /has not confirmed the table twice/.test(doubt(7) ?? ''));
    await clock.advance(5_000);
    await confirm(9);
    await eventually(() => doubt(9) === undefined);
  });
});

/** Long enough for a line to arrive over loopback. The assertions must hold with and without it. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
