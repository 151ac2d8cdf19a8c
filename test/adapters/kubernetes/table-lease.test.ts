import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { confirmTable, watchConfirmations } from '../../../src/adapters/kubernetes/table-lease.ts';
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

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
    clock = createManualClock();
    stop = new AbortController();
    const common = { client, namespace: 'ns', name: 'table', clock, log: silentLog, signal: stop.signal };
    doubt = watchConfirmations({ ...common, random: () => 0.5 });
    await eventually(() => server.watches.length > 0);
  });

  afterEach(async () => {
    stop.abort();
    await client.close();
    await server.close();
  });

  /** What `confirmTable` writes, as the API server would store it. */
  async function confirm(revision: number): Promise<void> {
    const before = server.requests.length;
    const location = { namespace: 'ns', name: 'table', fieldManager: 'test', holder: 'me', signal: stop.signal };
    await confirmTable(client, location, revision, clock.now()).catch(() => {});
    const sent = server.requests[before];
    expect(sent).to.include({ method: 'PATCH', path });
    server.put(path, sent?.body ?? {});
    // The watch has said it once an older revision is in doubt or the clock of the silence has started anew.
    await new Promise((resolve) => setImmediate(resolve));
  }

  it('holds for 30 s after the last one, and no longer', async () => {
    await confirm(7);
    await eventually(() => doubt(7) === undefined);
    await clock.advance(29_000);
    expect(doubt(7)).to.equal(undefined);
    await clock.advance(2_000);
    expect(doubt(7)).to.match(/has not confirmed the table for more than 30 s/);
    await confirm(7);
    await eventually(() => doubt(7) === undefined);
  });

  it('doubts a table that is older than the confirmed one, once its own watch had time to follow', async () => {
    await clock.advance(31_000);
    expect(doubt(7)).not.to.equal(undefined);
    await confirm(8);
    await eventually(() => doubt(7) === undefined);
    await clock.advance(6_000);
    expect(doubt(7)).to.equal('the operator confirms revision 8, and this proxy has 7');
    expect(doubt(8)).to.equal(undefined);
    expect(doubt(9)).to.equal(undefined);
  });
});
