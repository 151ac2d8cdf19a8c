import { expect } from 'chai';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { settleFreshness } from '../../src/domain/settle-freshness.ts';

const metrics = (freshness: string): readonly GroupDiscovery[] => [
  { name: 'apps', versions: [{ version: 'v1', freshness: 'Current' }] },
  { name: 'metrics.k8s.io', versions: [{ version: 'v1beta1', resources: [], freshness }] },
];

describe('settleFreshness', () => {
  it('calls a group-version current if any live server has it current', () => {
    const settled = settleFreshness(metrics('Stale'), [metrics('Stale'), metrics('Current')]);
    expect(settled).to.deep.equal(metrics('Current'));
  });

  it('keeps a group-version stale that is stale on every live server, so that a dead API shows', () => {
    const merged = metrics('Stale');
    expect(settleFreshness(merged, [metrics('Stale'), metrics('Stale')])).to.equal(merged);
  });

  it('calls a group-version stale if only a server that is away had it current', () => {
    expect(settleFreshness(metrics('Current'), [metrics('Stale')])).to.deep.equal(metrics('Stale'));
  });

  it('keeps the merged value if no live server lists the group-version, and changes nothing needlessly', () => {
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

  it('changes only the affected version of a group, and passes groups without versions on', () => {
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
