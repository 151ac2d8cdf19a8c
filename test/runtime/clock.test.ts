import { expect } from 'chai';
import { dateOf, systemClock } from '../../src/runtime/clock.ts';
import { createManualClock } from '../support/manual-clock.ts';

describe('systemClock', () => {
  it('has ages that no correction of the date changes', () => {
    const { now } = Date;
    const before = systemClock.now();
    try {
      for (const byMs of [-3_600_000, 3_600_000]) {
        Date.now = () => now() + byMs;
        expect(Math.abs(systemClock.date() - now() - byMs)).to.be.below(60_000);
        expect(systemClock.now() - before).to.be.within(0, 60_000);
      }
    } finally {
      Date.now = now;
    }
  });
});

describe('dateOf', () => {
  it("returns the date of a moment of the process's own clock, by the present date", () => {
    const clock = createManualClock(500_000);
    const at = clock.now();
    expect(dateOf(clock, at)).to.equal(500_000);
    clock.correctDate(60_000);
    expect(dateOf(clock, at)).to.equal(560_000);
  });
});
