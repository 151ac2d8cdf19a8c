import { expect } from 'chai';
import type { PeerView } from '../../src/domain/derive-bundle.ts';
import { nothingCounted, settleCount } from '../../src/operator/settle-count.ts';
import { peerView } from '../support/operator-facts.ts';

/** A Lease without an address, and an address without a Lease. */
function uncertainViews(): readonly PeerView[] {
  const lease = peerView('lease');
  const { address: _, ...peer } = lease.seen.peer;
  const listed = peerView('listed');
  return [
    { seen: { ...lease.seen, peer }, assessment: { ...lease.assessment, reason: 'NoAddress' } },
    { ...listed, seen: { ...listed.seen, peer: { ...listed.seen.peer, source: 'EndpointSlice' } } },
  ];
}

describe('settleCount', () => {
  it('doubts a count until it has lasted, and leaves the counted Lease out meanwhile', () => {
    const first = settleCount(uncertainViews(), nothingCounted, 0);
    expect(first.survey.views.map(({ seen }) => seen.peer.id)).to.deep.equal(['listed']);
    expect(first.survey.doubt).to.include({ reason: 'CountUnsettled' });
    expect(settleCount(uncertainViews(), first.memory, 24_999).survey.doubt).to.include({ reason: 'CountUnsettled' });
    expect(settleCount(uncertainViews(), first.memory, 25_000).survey.doubt).to.equal(undefined);
  });

  it('starts over if the count was different in between', () => {
    const first = settleCount(uncertainViews(), nothingCounted, 0);
    const between = settleCount([peerView('one')], first.memory, 10_000);
    expect(settleCount(uncertainViews(), between.memory, 25_000).survey.doubt).to.include({ reason: 'CountUnsettled' });
  });

  it('trusts a count at once that it trusted before', () => {
    const first = settleCount(uncertainViews(), nothingCounted, 0);
    const believed = settleCount(uncertainViews(), first.memory, 25_000);
    const between = settleCount([peerView('one')], believed.memory, 30_000);
    expect(settleCount(uncertainViews(), between.memory, 30_001).survey.doubt).to.equal(undefined);
  });

  it('counts for a reader without keeping anything', () => {
    const { memory } = settleCount([peerView('one')], nothingCounted, 0);
    settleCount(uncertainViews(), memory, 0);
    expect(settleCount(uncertainViews(), memory, 25_000).survey.doubt).to.include({ reason: 'CountUnsettled' });
  });
});
