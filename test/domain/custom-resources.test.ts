import { expect } from 'chai';
import { classifyDefined } from '../../src/domain/custom-resources.ts';

const crd = (plural: string, ...versions: { name: string; served: boolean }[]) => ({
  spec: { group: 'example.com', names: { plural }, versions },
});
const aggregated = { spec: { group: 'metrics.k8s.io', version: 'v1', service: { name: 'metrics' } } };
const local = { spec: { group: 'apps', version: 'v1' } };
const now = 1_000_000;

describe('classifyDefined', () => {
  it('knows the served versions of CRDs, and the APIServices with another server', () => {
    const { custom, aggregated: groups } = classifyDefined(
      [crd('gizmos', { name: 'v1', served: true }, { name: 'v1alpha1', served: false })],
      [aggregated, local, { spec: { group: 'batch', version: 'v1', service: null } }],
      undefined,
      now,
    );
    expect([...custom]).to.deep.equal(['example.com/v1/gizmos']);
    expect([...groups]).to.deep.equal(['metrics.k8s.io/v1']);
  });

  it('remembers a deleted group-version for a minute, or until it comes back', () => {
    const first = classifyDefined([crd('gizmos', { name: 'v1', served: true })], [aggregated], undefined, now);
    const deleted = classifyDefined([], [], first, now + 1_000);
    expect([...deleted.deletedAt]).to.have.deep.members([
      ['example.com/v1/gizmos', now + 1_000],
      ['metrics.k8s.io/v1', now + 1_000],
    ]);
    expect([...classifyDefined([], [], deleted, now + 60_000).deletedAt.keys()]).to.have.length(2);
    expect([...classifyDefined([], [], deleted, now + 61_000).deletedAt.keys()]).to.have.length(0);
    const again = classifyDefined([crd('gizmos', { name: 'v1', served: true })], [], deleted, now + 2_000);
    expect([...again.deletedAt.keys()]).to.deep.equal(['metrics.k8s.io/v1']);
  });

  it('does not take a group-version for deleted that moves from an aggregated server to this one, or to a CRD', () => {
    const first = classifyDefined([], [aggregated], undefined, now);
    const own = { spec: { group: 'metrics.k8s.io', version: 'v1' } };
    expect(classifyDefined([], [own], first, now + 1_000).deletedAt.size).to.equal(0);
    const byCrd = {
      spec: { group: 'metrics.k8s.io', names: { plural: 'pods' }, versions: [{ name: 'v1', served: true }] },
    };
    expect(classifyDefined([byCrd], [], first, now + 1_000).deletedAt.size).to.equal(0);
  });
});
