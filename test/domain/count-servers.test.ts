import { expect } from 'chai';
import { countServers, withoutCounted } from '../../src/domain/count-servers.ts';
import type { PeerView } from '../../src/domain/derive-bundle.ts';

/** A peer with a Lease, but without an address. */
const lease = (id: string, reason = 'NoAddress') =>
  ({ seen: { peer: { id, lease: { name: id } } }, assessment: { reason, live: true } }) as PeerView;

/** A peer with an EndpointSlice address, but without a Lease. */
const address = (id: string, more: object = {}, live = true) =>
  ({ seen: { peer: { id, source: 'EndpointSlice', ...more } }, assessment: { reason: 'Ready', live } }) as PeerView;

describe('countServers', () => {
  it('matches Leases without an address to addresses without a Lease, both sorted', () => {
    const views = [lease('b'), address('10.0.0.2:6443'), lease('a'), address('10.0.0.1:6443')];
    expect(countServers(views)).to.deep.equal({ leases: ['a', 'b'], addresses: ['10.0.0.1:6443', '10.0.0.2:6443'] });
  });

  it('permits more addresses than Leases, but not fewer', () => {
    const addresses = [address('10.0.0.1:6443'), address('10.0.0.2:6443')];
    expect(countServers([lease('a'), ...addresses])).to.deep.include({ leases: ['a'] });
    expect(countServers([lease('a'), lease('b'), lease('c'), ...addresses])).to.equal(undefined);
    expect(countServers(addresses)).to.equal(undefined);
  });

  it('does not count a Lease whose address belongs to another one', () => {
    expect(countServers([lease('a', 'DuplicateAddress'), address('10.0.0.1:6443')])).to.equal(undefined);
  });

  it('does not count an address that is not live, that has a Lease, or that another source gives', () => {
    const others = [
      address('10.0.0.1:6443', {}, false),
      address('10.0.0.2:6443', { lease: { name: 'x' } }),
      address('10.0.0.3:6443', { source: 'Node' }),
    ];
    for (const other of others) expect(countServers([lease('a'), other]), other.seen.peer.id).to.equal(undefined);
  });
});

describe('withoutCounted', () => {
  it('removes only the Leases of the count', () => {
    const views = [lease('a'), lease('b'), address('10.0.0.1:6443')];
    expect(withoutCounted(views, { leases: ['a'], addresses: ['10.0.0.1:6443'] })).to.deep.equal(views.slice(1));
  });
});
