import { expect } from 'chai';
import { addressObjectNames, addressWatches } from '../../src/domain/address-watches.ts';
import { addressSources } from '../../src/domain/resolve-peers.ts';
import { judgeWatches } from '../../src/operator/judge-watches.ts';
import type { ClusterSets, WatchedSet } from '../../src/operator/ports.ts';

const now = 60_000;

function setsWith(changed: { readonly [Name in keyof ClusterSets]?: Partial<WatchedSet<never>> }): ClusterSets {
  const set: WatchedSet<never> = { items: () => new Map<string, never>(), synced: true, lastContactAtMs: now };
  const names = ['leases', 'crds', 'apiServices', ...addressObjectNames] as const;
  return Object.fromEntries(names.map((name) => [name, { ...set, ...changed[name] }])) as unknown as ClusterSets;
}

describe('judgeWatches', () => {
  const failing = { since: 0, message: 'forbidden' };

  it('has no doubt while every set is known', () => {
    expect(judgeWatches(setsWith({}), addressSources, now)).to.equal(undefined);
  });

  it('doubts the number of servers while objects cannot be read that alone may list one', () => {
    expect(judgeWatches(setsWith({ endpointSlices: { failing } }), ['EndpointSlice'], now)).to.deep.equal({
      reason: 'EndpointsUnknown',
      message:
        'cannot read the EndpointSlice of default/kubernetes: forbidden; allow the operator to read it, ' +
        'or leave EndpointSlice out of spec.addresses.sources',
    });
  });

  for (const name of addressObjectNames) {
    const { inDoubt } = addressWatches[name];
    it(`${inDoubt === 'Nothing' ? 'has no doubt' : 'has a doubt only if the source is used'} without ${name}`, () => {
      const judge = (sources: typeof addressSources | readonly []) =>
        judgeWatches(setsWith({ [name]: { failing } }), sources, now);
      expect(judge([])).to.equal(undefined);
      const expected = inDoubt === 'Nothing' ? undefined : inDoubt.reason;
      const doubt = judge(addressSources);
      expect(typeof doubt === 'object' ? doubt.reason : doubt).to.equal(expected);
    });
  }

  it('gives a watch time to reconnect, but not one that has never listed', () => {
    const brief = { ...failing, since: now - 1_000 };
    expect(judgeWatches(setsWith({ endpointSlices: { failing: brief } }), addressSources, now)).to.equal(undefined);
    const unlisted = { failing: brief, synced: false };
    expect(judgeWatches(setsWith({ endpointSlices: unlisted }), addressSources, now)).to.include({
      reason: 'EndpointsUnknown',
    });
  });

  it('names the Leases first, and waits until every set was listed or has failed', () => {
    const both = setsWith({ leases: { failing }, endpointSlices: { failing } });
    expect(judgeWatches(both, addressSources, now)).to.include({ reason: 'LeasesUnknown' });
    expect(judgeWatches(setsWith({ nodes: { synced: false } }), addressSources, now)).to.equal('waiting');
  });
});
