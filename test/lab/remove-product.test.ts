import { expect } from 'chai';
import { leftovers } from '../../lab/cluster/remove-product.ts';

describe('the removal from a cluster', () => {
  it('names each object that is left, but not the namespace of the test', () => {
    const names = [
      'namespace/default',
      'namespace/without-peerdiscovery',
      'customresourcedefinition.apiextensions.k8s.io/peerdiscoveries.peerdiscovery.dev',
      'clusterrole.rbac.authorization.k8s.io/view',
      'lease.coordination.k8s.io/peerdiscovery-operator',
      '',
    ];
    expect(leftovers(names.join('\n'))).to.deep.equal([names[2], names[4]]);
  });
});
