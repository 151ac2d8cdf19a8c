import type { Counts } from './counting-reporter.ts';

/** The results of the suites of a stage. */
export interface SuitesOutcome {
  /** The last run of each suite. */
  readonly counts: readonly Counts[];
  /** The failures of first runs whose second run passed. */
  readonly flakes: readonly string[];
}

/** If more suites or files than this failed, the machine is not the cause, and none runs again. */
const mostAgain = 2;

/**
 * Runs suites one after another. If at most two failed, each of these runs once more after all others, as `again` says.
 *
 * A test with real servers or sockets shares its CPUs with other work, and may fail for lack of time. A second failure
 * counts. A second run that passes does not hide the first: the caller must show `flakes`.
 */
export async function runSuites<Suite>(
  suites: readonly Suite[],
  run: (suite: Suite) => Promise<Counts>,
  again: (suite: Suite, failed: Counts) => Suite,
): Promise<SuitesOutcome> {
  const first: { readonly suite: Suite; readonly counts: Counts }[] = [];
  for (const suite of suites) first.push({ suite, counts: await run(suite) });
  const failed = first.filter(({ counts }) => counts.failed > 0);
  const files = failed.flatMap(({ counts }) => counts.failedFiles);
  const isBroken = failed.length > mostAgain || files.length > mostAgain || files.length < failed.length;
  if (isBroken) return { counts: first.map(({ counts }) => counts), flakes: [] };
  const flakes: string[] = [];
  const counts: Counts[] = [];
  for (const each of first) {
    if (each.counts.failed === 0) {
      counts.push(each.counts);
      continue;
    }
    const second = await run(again(each.suite, each.counts));
    if (second.failed === 0) flakes.push(...each.counts.failures);
    counts.push(afterSecond(each.counts, second));
  }
  return { counts, flakes };
}

/** The second run may cover only the failed files. */
function afterSecond(first: Counts, second: Counts): Counts {
  const passed = Math.max(second.passed, first.passed + first.failed - second.failed);
  const { failed, failures, failedFiles } = second;
  return { passed, failed, skipped: first.skipped, failures, failedFiles };
}
