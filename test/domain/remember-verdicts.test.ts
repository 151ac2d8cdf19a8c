import { expect } from 'chai';
import { rememberVerdicts } from '../../src/domain/remember-verdicts.ts';
import type { RoutingTable } from '../../src/domain/routing-table.ts';

const peers = ['a', 'b', 'c'].map((id) => ({ id, version: 'v1.36.3', state: 'Ready' }));

function remember(groupVersions: readonly object[], fieldSkew: string | undefined = 'Preserve') {
  return rememberVerdicts({ fieldSkew, peers, groupVersions } as unknown as RoutingTable)?.rows;
}

const of = (resource: object, more: object = {}) => ({
  group: 'apps',
  version: 'v1',
  origin: 'BuiltIn',
  resources: [{ resource: 'deployments', peers: [0, 1, 2], subresources: {}, ...resource }],
  ...more,
});

describe('rememberVerdicts', () => {
  it('remembers the servers, writers and stand-ins of a resource', () => {
    expect(remember([of({ writers: [0], standIns: [1] })])?.get('apps/deployments')).to.deep.equal({
      peers: new Set(['a', 'b', 'c']),
      writers: new Set(['a']),
      standIns: new Set(['b']),
    });
  });

  it('remembers no stand-ins if the table names none, and no verdict if all peers are alike', () => {
    expect(remember([of({ writers: [0] })])?.get('apps/deployments')?.standIns).to.deep.equal(new Set());
    expect(remember([of({})])?.get('apps/deployments')).to.deep.equal({ peers: new Set(['a', 'b', 'c']) });
  });

  it('joins the versions of a group', () => {
    const rows = remember([
      of({ peers: [0, 1], writers: [0], standIns: [1] }, { version: 'v2' }),
      of({ peers: [1, 2], writers: [1], standIns: [2] }),
    ]);
    expect(rows?.get('apps/deployments')).to.deep.equal({
      peers: new Set(['a', 'b', 'c']),
      writers: new Set(['a', 'b']),
      standIns: new Set(['b', 'c']),
    });
  });

  it('remembers a subresource whose writers differ from those of its resource', () => {
    const rows = remember([
      of({ subresources: { scale: [0, 1] }, subresourceWriters: { scale: { writers: [1], standIns: [0] } } }),
    ]);
    expect(rows?.get('apps/deployments/scale')).to.deep.equal({
      peers: new Set(['a', 'b']),
      writers: new Set(['b']),
      standIns: new Set(['a']),
    });
  });

  it('remembers nothing about resources that servers do not define, or from an operator that compared no fields', () => {
    expect(remember([of({}, { origin: 'CustomResource' })])).to.deep.equal(new Map());
    expect(remember([of({ writers: [0] })], 'Ignore')).to.equal(undefined);
  });
});
