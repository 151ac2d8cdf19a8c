import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import type { FieldSkew, TableGroupVersion, TableResource } from '../../src/domain/routing-table.ts';
import { indexTable, type TableIndex } from '../../src/domain/table-index.ts';

describe('indexTable', () => {
  const table = () =>
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
    });
  // The test builds it, so that a mutation of the code that builds it is noticed.
  let index: TableIndex;
  beforeEach(() => {
    index = indexTable(table());
  });

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

  it('finds nothing for an unlisted resource', () => {
    expect(index.resource('', 'v1', 'pods', 'exec')).to.equal(undefined);
    expect(index.resource('', 'v1', 'constructor', '')).to.equal(undefined);
    expect(index.resource('batch', 'v2', 'jobs', '')).to.equal(undefined);
  });

  it('does not take an encoded slash for a subresource', () => {
    expect(index.resource('', 'v1', 'pods/log', '')).to.equal(undefined);
  });

  it('finds peers by address, and the servers of a group or a version of it', () => {
    expect(index.peerAt('10.0.0.1:6443')).to.equal(0);
    expect(index.peerAt('10.0.0.2:6443')).to.equal(undefined);
    expect(index.group('batch')).to.deep.equal([1]);
    expect(index.groupVersion('', 'v1')).to.deep.equal([0, 1]);
  });

  it('takes the first of two peers at one address, and sorts peers regardless of the order of rows', () => {
    const twins = indexTable(
      routingTable({
        peers: ['a', 'b', 'c'].map((id) => ({ id, address: '10.0.0.1:6443', state: 'Ready' as const })),
        groupVersions: [
          {
            ...{ group: 'g', version: 'v1', origin: 'BuiltIn' },
            resources: [
              { resource: 'x', peers: [2], subresources: {} },
              { resource: 'y', peers: [0, 1], subresources: {} },
            ],
          },
        ],
      }),
    );
    expect(twins.peerAt('10.0.0.1:6443')).to.equal(0);
    expect(twins.group('g')).to.deep.equal([0, 1, 2]);
  });

  it('knows which group-versions an aggregated server serves', () => {
    expect(index.isAggregated('metrics.k8s.io', 'v1beta1')).to.equal(true);
    expect(index.isAggregated('metrics.k8s.io', 'v1')).to.equal(false);
    expect(index.isAggregated('batch', 'v1')).to.equal(false);
  });

  it('lets only all servers together write while one of several may have another version now', () => {
    const fieldsOf = (
      inDoubt: readonly boolean[],
      changes: Partial<TableGroupVersion> = {},
      skew: FieldSkew = 'Preserve',
    ) =>
      indexTable(
        routingTable({
          fieldSkew: skew,
          peers: inDoubt.map((doubt, at) => ({ id: `${at}`, state: 'Ready', ...(doubt && { inDoubt: true }) })),
          groupVersions: [
            {
              ...{ group: 'apps', version: 'v1', origin: 'BuiltIn' },
              resources: [{ resource: 'deployments', peers: inDoubt.map((_, at) => at), subresources: {} }],
              ...changes,
            },
          ],
        }),
      ).resource('apps', 'v1', 'deployments', '')?.fields;
    expect(fieldsOf([false, true])).to.deep.equal({ writers: [0, 1], standIns: [], harmless: false });
    expect(fieldsOf([false, false])).to.equal(undefined);
    expect(fieldsOf([true])).to.equal(undefined);
    expect(fieldsOf([false, true], { origin: 'CustomResource' })).to.equal(undefined);
    expect(fieldsOf([false, true], {}, 'Ignore')).to.equal(undefined);
  });

  it('names the writers of a subresource, and whether a request stores an object', () => {
    const all = [0, 1];
    const fieldsOf = (resource: TableResource, subresource: string, inDoubt = false) =>
      indexTable(
        routingTable({
          fieldSkew: 'Preserve',
          peers: [
            { id: 'a', state: 'Ready' },
            { id: 'b', state: 'Ready', ...(inDoubt && { inDoubt: true }) },
          ],
          groupVersions: [{ group: '', version: 'v1', origin: 'BuiltIn', resources: [resource] }],
        }),
      ).resource('', 'v1', resource.resource, subresource)?.fields;
    const accounts = { resource: 'serviceaccounts', peers: all, subresources: { token: all, status: all } };
    const newer = { writers: [1], standIns: [0] };
    const asTheResource = { ...newer, harmless: false };

    // The resource's own writers also apply to its subresources. A token is not a stored object.
    expect(fieldsOf({ ...accounts, ...newer }, 'status')).to.deep.equal(asTheResource);
    expect(fieldsOf({ ...accounts, ...newer }, 'token')).to.deep.equal({ ...newer, harmless: true });
    // A subresource's own writers come first. If these are all its peers, there is no rule.
    const own = { ...accounts, subresourceWriters: { token: newer, status: newer } };
    expect(fieldsOf(own, 'status')).to.deep.equal(asTheResource);
    expect(fieldsOf(own, 'token')).to.deep.equal({ ...newer, harmless: true });
    const everybody = { status: { writers: all, standIns: [] } };
    expect(fieldsOf({ ...accounts, ...newer, subresourceWriters: everybody }, 'status')).to.equal(undefined);
    // While a server is in doubt, the rule is about stored objects only.
    expect(fieldsOf(accounts, 'status', true)).to.deep.equal({ writers: all, standIns: [], harmless: false });
    expect(fieldsOf(accounts, 'token', true)).to.equal(undefined);
  });

  it('lets a server that may be of another version write the status of a Lease', () => {
    const leases = { resource: 'leases', peers: [0, 1], subresources: { status: [0, 1] }, writers: [1], standIns: [] };
    const group = { group: 'coordination.k8s.io', version: 'v1', origin: 'BuiltIn' as const, resources: [leases] };
    const index = indexTable(routingTable({ fieldSkew: 'Preserve', groupVersions: [group] }));
    const status = index.resource('coordination.k8s.io', 'v1', 'leases', 'status');
    expect(status?.fields).to.deep.equal({ writers: [1], standIns: [], harmless: true });
  });
});
