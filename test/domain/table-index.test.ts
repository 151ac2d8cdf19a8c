import { expect } from 'chai';
import { indexTable } from '../../src/domain/table-index.ts';
import { routingTable } from '../support/proxy-under-test.ts';

describe('indexTable', () => {
  const index = indexTable(
    routingTable({
      peers: [
        { id: 'a', address: '10.0.0.1:6443', state: 'Ready' },
        { id: 'b', state: 'Unresolved' },
      ],
      groupVersions: [
        {
          group: '',
          version: 'v1',
          origin: 'BuiltIn',
          resources: [{ resource: 'pods', peers: [0, 1], subresources: { log: [0], __proto__: [1] as never } }],
        },
        {
          group: 'batch',
          version: 'v1',
          origin: 'BuiltIn',
          resources: [{ resource: 'jobs', scope: 'Namespaced', peers: [1], subresources: { status: [0] } }],
        },
        {
          group: 'metrics.k8s.io',
          version: 'v1beta1',
          origin: 'Aggregated',
          resources: [{ resource: 'nodes', scope: 'Cluster', peers: [1], subresources: {} }],
        },
      ],
    }),
  );

  it('finds resources and subresources by their own peers', () => {
    expect(index.resource('', 'v1', 'pods', '')).to.deep.equal({ peers: [0, 1], scope: undefined });
    expect(index.resource('', 'v1', 'pods', 'log')).to.deep.equal({ peers: [0], scope: undefined });
    expect(index.resource('batch', 'v1', 'jobs', '')).to.deep.equal({ peers: [1], scope: 'Namespaced' });
    expect(index.resource('batch', 'v1', 'jobs', 'status')).to.deep.equal({ peers: [0], scope: 'Namespaced' });
  });

  it('does not say where an aggregated server has its objects', () => {
    const nodes = index.resource('metrics.k8s.io', 'v1beta1', 'nodes', '');
    expect(nodes).to.deep.equal({ peers: [1], scope: undefined });
  });

  it('finds nothing for what is not listed', () => {
    expect(index.resource('', 'v1', 'pods', 'exec')).to.equal(undefined);
    expect(index.resource('', 'v1', 'constructor', '')).to.equal(undefined);
    expect(index.resource('batch', 'v2', 'jobs', '')).to.equal(undefined);
  });

  it('does not take an encoded slash for a subresource', () => {
    expect(index.resource('', 'v1', 'pods/log', '')).to.equal(undefined);
  });

  it('finds peers by address, and who serves a group or a version of it', () => {
    expect(index.peerAt('10.0.0.1:6443')).to.equal(0);
    expect(index.group('batch')).to.deep.equal([1]);
    expect(index.groupVersion('', 'v1')).to.deep.equal([0, 1]);
  });
});
