import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

/** What one run of mocha came to. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Mocha's `spec` output, and at the very end the counts as JSON in the file of the option `output`. */
export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const output: unknown = options.reporterOptions?.output;
    if (typeof output !== 'string') throw new Error('this reporter needs --reporter-option output=FILE');
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const counts: Counts = { passed: this.stats.passes, failed: this.stats.failures };
      writeFileSync(output, JSON.stringify(counts));
    });
  }
}
