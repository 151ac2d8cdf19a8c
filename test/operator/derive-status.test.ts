import { expect } from 'chai';
import { deriveStatus } from '../../src/operator/derive-status.ts';
import { largestFleet } from '../support/largest-fleet.ts';

const now = Date.UTC(2026, 0, 1);
const dateOf = (at: number) => at;

describe('deriveStatus', () => {
  it('keeps 100 peers that disagree about 10,000 resources well below the limit of an object, and says what it cut', () => {
    const input = largestFleet(now);
    const status = deriveStatus(input, undefined, now, dateOf);
    expect(JSON.stringify(status).length).to.be.lessThan(1024 * 1024);
    expect(status.peers).to.have.length(100);
    const [first] = status.divergent ?? [];
    expect(first?.servedBy).to.have.length(20);
    expect(first?.missingFrom).to.have.length(20);
    expect(first?.omittedPeers).to.equal(100 - 40);
    const values = first?.differences?.find(({ field }) => field === 'verbs')?.values ?? [];
    expect(values.map(({ count, peers }) => [count, peers.length])).to.deep.equal([
      [33, 20],
      [33, 20],
    ]);
    const listed = status.divergent?.length ?? 0;
    expect(listed).to.be.greaterThan(50);
    expect(status.omitted).to.deep.equal({ peers: 0, divergent: input.unified.divergent.length - listed });
    expect(status.divergentResources).to.equal(input.unified.divergent.length);
    expect(input.unified.divergent.length).to.be.at.least(10_000);
  });

  it('cuts the same parts for the same peers in any order, and prefers whole resources to subresources', () => {
    const input = largestFleet(now);
    const status = deriveStatus(input, undefined, now, dateOf);
    const other = largestFleet(now);
    expect(deriveStatus({ ...other, views: [...other.views].reverse() }, undefined, now, dateOf)).to.deep.equal(status);
    expect(status.divergent?.every(({ subresource }) => subresource === undefined)).to.equal(true);
  });

  it('is not converged while peers describe a resource differently', () => {
    const status = deriveStatus(largestFleet(now), undefined, now, dateOf);
    expect(status.converged).to.equal('False');
    expect(status.conditions?.find(({ type }) => type === 'Converged')?.reason).to.equal('Divergent');
  });
});
