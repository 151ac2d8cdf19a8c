import { expect } from 'chai';
import type { Counts } from '../../scripts/counting-reporter.ts';
import { runSuites } from '../../scripts/run-suites.ts';

const passes: Counts = { passed: 1, failed: 0, skipped: 0, failures: [] };
const fails: Counts = { passed: 0, failed: 1, skipped: 0, failures: ['waited in vain'] };

describe('runSuites', () => {
  /** Runs suites whose outcomes, one for each run, are given. Tells the order of the runs. */
  async function outcomeOf(outcomes: Readonly<Record<string, readonly Counts[]>>, again = true) {
    const order: string[] = [];
    const run = async (suite: string) => {
      const earlier = order.filter((name) => name === suite).length;
      order.push(suite);
      return outcomes[suite]?.[earlier] ?? fails;
    };
    return { ...(await runSuites(Object.keys(outcomes), run, { again })), order };
  }

  it('runs each suite once if all pass', async () => {
    const { counts, flakes, order } = await outcomeOf({ a: [passes], b: [passes] });
    expect(order).to.deep.equal(['a', 'b']);
    expect({ counts, flakes }).to.deep.equal({ counts: [passes, passes], flakes: [] });
  });

  it('runs a failed suite again after all others, and shows its first failure if it passes then', async () => {
    const { counts, flakes, order } = await outcomeOf({ a: [fails, passes], b: [passes] });
    expect(order).to.deep.equal(['a', 'b', 'a']);
    expect({ counts, flakes }).to.deep.equal({ counts: [passes, passes], flakes: ['waited in vain'] });
  });

  it('counts a suite that fails twice as failed', async () => {
    const { counts, flakes } = await outcomeOf({ a: [fails, fails], b: [passes] });
    expect({ counts, flakes }).to.deep.equal({ counts: [fails, passes], flakes: [] });
  });

  it('runs nothing again if three suites failed', async () => {
    const { counts, order } = await outcomeOf({ a: [fails, passes], b: [fails, passes], c: [fails, passes] });
    expect(order).to.deep.equal(['a', 'b', 'c']);
    expect(counts).to.deep.equal([fails, fails, fails]);
  });

  it('runs nothing again unless it may', async () => {
    expect((await outcomeOf({ a: [fails, passes] }, false)).counts).to.deep.equal([fails]);
  });
});
