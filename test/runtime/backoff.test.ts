import { expect } from 'chai';
import { createBackoff } from '../../src/runtime/backoff.ts';

describe('createBackoff', () => {
  it('doubles the ceiling up to the cap and starts over after a reset', () => {
    const backoff = createBackoff({ baseMs: 100, capMs: 500, random: () => 0.5 });
    expect([backoff.nextMs(), backoff.nextMs(), backoff.nextMs(), backoff.nextMs()]).to.deep.equal([50, 100, 200, 250]);
    backoff.reset();
    expect(backoff.nextMs()).to.equal(50);
  });

  it('spreads over the whole range below the ceiling, but not below the floor', () => {
    const lowest = createBackoff({ baseMs: 100, capMs: 500, floorMs: 20, random: () => 0 });
    const highest = createBackoff({ baseMs: 100, capMs: 500, floorMs: 20, random: () => 0.999 });
    expect(lowest.nextMs()).to.equal(20);
    expect(highest.nextMs()).to.be.closeTo(100, 1);
  });

  it('stays finite and at the cap after any number of failures', () => {
    const backoff = createBackoff({ baseMs: 100, capMs: 500, random: () => 0.999 });
    for (let i = 0; i < 5000; i += 1) expect(backoff.nextMs()).to.be.at.most(500);
    expect(backoff.nextMs()).to.be.closeTo(500, 1);
  });
});
