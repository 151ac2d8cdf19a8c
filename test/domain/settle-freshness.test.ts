import { expect } from 'chai';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { settleFreshness } from '../../src/domain/settle-freshness.ts';

const metrics = (freshness: string): readonly GroupDiscovery[] => [
  { name: 'apps', versions: [{ version: 'v1', freshness: 'Current' }] },
  { name: 'metrics.k8s.io', versions: [{ version: 'v1beta1', resources: [], freshness }] },
];

describe('settleFreshness', () => {
  it('calls current what any live server has current', () => {
    const settled = settleFreshness(metrics('Stale'), [metrics('Stale'), metrics('Current')]);
    expect(settled).to.deep.equal(metrics('Current'));
  });

  it('keeps stale what is stale on every live server: a dead API is not masked', () => {
    const merged = metrics('Stale');
    expect(settleFreshness(merged, [metrics('Stale'), metrics('Stale')])).to.equal(merged);
  });

  it('calls stale what only a server that is away had current', () => {
    expect(settleFreshness(metrics('Current'), [metrics('Stale')])).to.deep.equal(metrics('Stale'));
  });

  it('lets the merged word stand where no live server lists it, and changes nothing needlessly', () => {
    for (const merged of [metrics('Stale'), metrics('Current')]) {
      expect(settleFreshness(merged, [])).to.equal(merged);
      expect(settleFreshness(merged, [merged])).to.equal(merged);
    }
  });

  it('shares every group that it does not change', () => {
    const merged = metrics('Stale');
    const settled = settleFreshness(merged, [metrics('Current')]);
    expect(settled[0]).to.equal(merged[0]);
    expect(merged).to.deep.equal(metrics('Stale'));
  });

  it('changes one version of a group alone, and passes groups without versions on', () => {
    const group = (beta: string): readonly GroupDiscovery[] => [
      { name: 'empty.io' },
      {
        name: 'metrics.k8s.io',
        versions: [
          { version: 'v1', freshness: 'Current' },
          { version: 'v1beta1', freshness: beta },
        ],
      },
    ];
    expect(settleFreshness(group('Stale'), [group('Current')])).to.deep.equal(group('Current'));
  });
});
