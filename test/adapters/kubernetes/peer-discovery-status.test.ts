import { expect } from 'chai';
import { type ApiClient, createApiClient } from '../../../src/adapters/kubernetes/api-client.ts';
import { writeStandstill } from '../../../src/adapters/kubernetes/peer-discovery-status.ts';
import type { PeerDiscovery } from '../../../src/api/peer-discovery.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { type ScriptedApiserver, startScriptedApiserver } from '../../support/scripted-apiserver.ts';

const invalid = { reason: 'InvalidSpec', message: 'spec.goneAfter: not a time.' };

describe('the status of a spec that the operator cannot follow', () => {
  let server: ScriptedApiserver;
  let client: ApiClient;

  beforeEach(async () => {
    server = await startScriptedApiserver();
    client = createApiClient(server.kubeConfig(), { timeoutMs: 1000, log: silentLog });
  });

  afterEach(async () => {
    await client.close();
    await server.close();
  });

  /** An object whose last good spec was of generation 1. */
  const objectOf = (generation: number, status: object): PeerDiscovery => ({
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'PeerDiscovery',
    metadata: { name: 'cluster', generation },
    spec: {},
    status: { observedGeneration: 1, ...status },
  });

  /** Writes the `Stalled` condition of an object. Resolves to the written status, or undefined if there was none. */
  async function write(object: PeerDiscovery): Promise<PeerDiscovery['status']> {
    const before = server.requests.length;
    const isWritten = await writeStandstill(client, object, invalid, 0).catch(() => true);
    const sent = server.requests[before]?.body as PeerDiscovery | undefined;
    expect(isWritten).to.equal(sent !== undefined);
    return sent?.status;
  }

  it('refers to the newest generation; otherwise tools that read kstatus would wait instead of failing', async () => {
    const status = await write(objectOf(2, { mode: 'Route' }));
    expect(status).to.include({ observedGeneration: 2, mode: 'Route' });
    expect(status?.conditions?.map(({ type, observedGeneration }) => [type, observedGeneration])).to.deep.equal([
      ['Ready', 2],
      ['Stalled', 2],
    ]);
  });

  it('is written once for a generation, and again for the next', async () => {
    const status = await write(objectOf(2, {}));
    expect(await write(objectOf(2, { ...status }))).to.equal(undefined);
    expect(await write(objectOf(3, { ...status }))).to.include({ observedGeneration: 3 });
  });
});
