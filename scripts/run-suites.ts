import type { Counts } from './counting-reporter.ts';

/** What the suites of a stage said. */
export interface SuitesOutcome {
  /** The last run of each suite. */
  readonly counts: readonly Counts[];
  /** The failures of first runs whose second run passed. */
  readonly flakes: readonly string[];
}

/** If more suites than this failed, it is not the machine's fault, and none runs again. */
const mostAgain = 2;

/**
 * Runs suites one after another. With `again`, up to two suites that failed run once more, after all others.
 *
 * A suite with real servers shares its processors with others' work, and may fail for lack of time alone. A second
 * failure counts. A second run that passes does not hide the first: the caller must show `flakes`.
 */
export async function runSuites<Suite>(
  suites: readonly Suite[],
  run: (suite: Suite) => Promise<Counts>,
  { again }: { readonly again: boolean },
): Promise<SuitesOutcome> {
  const first: { readonly suite: Suite; readonly counts: Counts }[] = [];
  for (const suite of suites) first.push({ suite, counts: await run(suite) });
  const failed = first.filter(({ counts }) => counts.failed > 0);
  if (!again || failed.length > mostAgain) return { counts: first.map(({ counts }) => counts), flakes: [] };
  const flakes: string[] = [];
  const counts: Counts[] = [];
  for (const each of first) {
    const last = failed.includes(each) ? await run(each.suite) : each.counts;
    if (last !== each.counts && last.failed === 0) flakes.push(...each.counts.failures);
    counts.push(last);
  }
  return { counts, flakes };
}
