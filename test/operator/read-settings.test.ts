import { expect } from 'chai';
import { createAddressPolicy } from '../../src/adapters/peers/address-policy.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { readSettings } from '../../src/operator/read-settings.ts';

const read = (spec: PeerDiscovery['spec']) =>
  readSettings(
    {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name: 'cluster', generation: 3 },
      ...(spec !== undefined && { spec }),
    },
    { namespace: 'own', createAddressPolicy },
  );

describe('readSettings', () => {
  it('observes by default, over the Leases of kube-apiservers, and publishes in its own namespace', () => {
    const result = read(undefined);
    if (!result.ok) throw new Error(result.problems.join());
    expect(result.settings).to.include({ mode: 'Observe', generation: 3, checkLeaseNames: true, staleAfterMs: 60_000 });
    expect(result.settings.routingTable).to.deep.equal({ namespace: 'own', name: 'peerdiscovery-cluster' });
  });

  it('does not hold the Leases of other servers against the names that kube-apiserver uses', () => {
    const result = read({ leases: { labelSelector: 'app=other' } });
    expect(result.ok && result.settings.checkLeaseNames).to.equal(false);
  });

  it('names every bad field at once', () => {
    const result = read({ staleAfter: 'soon', polling: { timeout: '5' }, addresses: { allowedCIDRs: ['10.0.0.0'] } });
    expect(result.ok).to.equal(false);
    const problems = result.ok ? [] : result.problems;
    expect(problems.map((problem) => problem.slice(0, problem.indexOf(': ')))).to.deep.equal([
      'spec.addresses.allowedCIDRs',
      'spec.staleAfter',
      'spec.polling.timeout',
    ]);
  });
});
