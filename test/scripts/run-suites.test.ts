import { expect } from 'chai';
import type { Counts } from '../../scripts/counting-reporter.ts';
import { runSuites } from '../../scripts/run-suites.ts';

const passes: Counts = { passed: 1, failed: 0, skipped: 0, failures: [], failedFiles: [] };
const fails: Counts = { passed: 5, failed: 1, skipped: 0, failures: ['waited in vain'], failedFiles: ['x.test.ts'] };
const passesThen: Counts = { ...fails, passed: 6, failed: 0, failures: [], failedFiles: [] };

describe('runSuites', () => {
  /** Runs suites with the given outcomes, one for each run. Returns the order of the runs. */
  async function outcomeOf(outcomes: Readonly<Record<string, readonly Counts[]>>) {
    const order: string[] = [];
    const run = async (suite: string) => {
      const [name = ''] = suite.split(' ');
      const earlier = order.filter((one) => one.startsWith(name)).length;
      order.push(suite);
      return outcomes[name]?.[earlier] ?? fails;
    };
    const again = (suite: string, { failedFiles }: Counts) => `${suite} ${failedFiles.join()}`;
    return { ...(await runSuites(Object.keys(outcomes), run, again)), order };
  }

  it('runs each suite once if all pass', async () => {
    const { counts, flakes, order } = await outcomeOf({ a: [passes], b: [passes] });
    expect(order).to.deep.equal(['a', 'b']);
    expect({ counts, flakes }).to.deep.equal({ counts: [passes, passes], flakes: [] });
  });

  it('runs a failed suite again after all others, and shows its first failure if it then passes', async () => {
    const { counts, flakes, order } = await outcomeOf({ a: [fails, passes], b: [passes] });
    expect(order).to.deep.equal(['a', 'b', 'a x.test.ts']);
    expect({ counts, flakes }).to.deep.equal({ counts: [passesThen, passes], flakes: ['waited in vain'] });
  });

  it('counts a suite that fails twice as failed', async () => {
    const { counts, flakes } = await outcomeOf({ a: [fails, fails], b: [passes] });
    expect({ counts, flakes }).to.deep.equal({ counts: [fails, passes], flakes: [] });
  });

  it('runs nothing again if three suites failed, or three files of one', async () => {
    const { counts, order } = await outcomeOf({ a: [fails, passes], b: [fails, passes], c: [fails, passes] });
    expect(order).to.deep.equal(['a', 'b', 'c']);
    expect(counts).to.deep.equal([fails, fails, fails]);
    const many = { ...fails, failedFiles: ['x.test.ts', 'y.test.ts', 'z.test.ts'] };
    expect((await outcomeOf({ a: [many, passes] })).order).to.deep.equal(['a']);
  });

  it('does not repeat a run that ended without naming the failed file', async () => {
    expect((await outcomeOf({ a: [{ ...fails, failedFiles: [] }, passes] })).order).to.deep.equal(['a']);
  });
});
