import { expect } from 'chai';
import { requiredAccess } from '../../src/plugin/required-access.ts';

describe('requiredAccess', () => {
  it('asks for the objects that contain addresses, and says nothing more of them', () => {
    const namespaces = { own: 'own', leases: 'kube-system', table: { namespace: 'own', name: 'table' } };
    const serviceAccount = 'own:peerdiscovery-operator';
    const asked = requiredAccess('operator', namespaces).filter(({ resource = '' }) =>
      ['pods', 'nodes', 'endpointslices'].includes(resource),
    );
    expect(asked).to.deep.equal(
      [
        { resource: 'pods', namespace: 'kube-system' },
        { resource: 'nodes' },
        { group: 'discovery.k8s.io', resource: 'endpointslices', namespace: 'default' },
      ].flatMap((objects) => ['list', 'watch'].map((verb) => ({ ...objects, verb, serviceAccount }))),
    );
  });
});
