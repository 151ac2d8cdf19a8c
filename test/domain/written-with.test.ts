import { expect } from 'chai';
import { isHeartbeat, isReview } from '../../src/domain/harmless-writes.ts';
import { writesStored, writtenWith } from '../../src/domain/written-with.ts';

describe('writtenWith', () => {
  it('names the resource alone for a request without a subresource', () => {
    expect(writtenWith('apps', 'deployments', '')).to.deep.equal([{ group: 'apps', resource: 'deployments' }]);
  });

  it('names the body of a subresource first, then the stored object', () => {
    expect(writtenWith('apps', 'deployments', 'scale')).to.deep.equal([
      { group: 'apps', resource: 'deployments/scale' },
      { group: 'apps', resource: 'deployments' },
    ]);
  });

  it('names the objects that an eviction and a Binding write, but no ServiceAccount for a token', () => {
    const pods = { group: '', resource: 'pods' };
    expect(writtenWith('', 'pods', 'eviction')).to.deep.equal([
      { group: '', resource: 'pods/eviction' },
      pods,
      { group: 'policy', resource: 'poddisruptionbudgets' },
    ]);
    expect(writtenWith('', 'bindings', '')).to.deep.equal([{ group: '', resource: 'bindings' }, pods]);
    expect(writtenWith('', 'serviceaccounts', 'token')).to.deep.equal([
      { group: '', resource: 'serviceaccounts/token' },
    ]);
  });

  it('treats an Event as one object in two groups', () => {
    const both = [
      { group: '', resource: 'events' },
      { group: 'events.k8s.io', resource: 'events' },
    ];
    expect(writtenWith('', 'events', '')).to.have.deep.members(both);
    expect(writtenWith('events.k8s.io', 'events', '')).to.have.deep.members(both);
  });
});

describe('writesStored', () => {
  it('is false for a token alone', () => {
    expect(writesStored('', 'serviceaccounts', 'token')).to.equal(false);
    expect(writesStored('', 'pods', 'eviction')).to.equal(true);
    expect(writesStored('apps', 'deployments', 'scale')).to.equal(true);
  });
});

describe('isHeartbeat', () => {
  it('is true for a Lease, but not for Leases of another group', () => {
    expect(isHeartbeat('coordination.k8s.io', 'leases')).to.equal(true);
    expect(isHeartbeat('rentals.example.com', 'leases')).to.equal(false);
    expect(isHeartbeat('coordination.k8s.io', 'leasecandidates')).to.equal(false);
  });
});

describe('isReview', () => {
  it('is true for the groups of review resources', () => {
    expect(isReview('authentication.k8s.io')).to.equal(true);
    expect(isReview('authorization.k8s.io')).to.equal(true);
    expect(isReview('rbac.authorization.k8s.io')).to.equal(false);
  });
});
