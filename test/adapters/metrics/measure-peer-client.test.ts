import { expect } from 'chai';
import { measurePeerClient } from '../../../src/adapters/metrics/measure-peer-client.ts';
import type { FetchResult, PeerClient } from '../../../src/operator/ports.ts';

const documents = { groups: [] } as unknown as Extract<FetchResult, { kind: 'fetched' }>['documents'];

describe('measurePeerClient', () => {
  let failures = 0;
  let kept: unknown[] = [];
  const measured = (result: FetchResult) =>
    measurePeerClient(
      { fetchDiscovery: async () => result, keepOnly: () => {} } as Partial<PeerClient> as PeerClient,
      {
        countFetchFailure: () => failures++,
        keepCertificates: (name, addresses) => kept.push([name, ...addresses]),
      },
      'cluster',
    );

  beforeEach(() => {
    failures = 0;
    kept = [];
  });

  it('counts a failed request, and gives its result', async () => {
    const failed: FetchResult = { kind: 'failed', reason: 'Timeout', message: 'late' };
    const { signal } = new AbortController();
    expect(await measured(failed).fetchDiscovery('a:1', undefined, signal)).to.equal(failed);
    expect(failures).to.equal(1);
  });

  it('counts neither a request that succeeded nor one that was ended on purpose', async () => {
    const failed: FetchResult = { kind: 'failed', reason: 'Aborted', message: 'ended' };
    await measured(failed).fetchDiscovery('a:1', undefined, AbortSignal.abort());
    for (const kind of ['fetched', 'unchanged'] as const)
      await measured({ kind, documents }).fetchDiscovery('a:1', undefined, new AbortController().signal);
    expect(failures).to.equal(0);
  });

  it('forgets the certificates of addresses that are no longer kept', () => {
    measured({ kind: 'unchanged', documents }).keepOnly(new Set(['a:1']));
    expect(kept).to.deep.equal([['cluster', 'a:1']]);
  });
});
