import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Mocha from 'mocha';

/** The counts of one mocha run. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Each failed test: its full title, then its message. */
  readonly failures: readonly string[];
  /** The files of the failed tests. */
  readonly failedFiles: readonly string[];
}

const tailLines = 8;

/**
 * Mocha's `spec` output. After a failed test it prints at once the message, and the path and end of every server's log.
 *
 * At the end it writes the counts as JSON into the file of the option `output`, if set.
 */
export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const output: unknown = options.reporterOptions?.output;
    // The lab reads this and writes its servers' logs there.
    const logs = mkdtempSync(join(tmpdir(), 'peerdiscovery-test-logs-'));
    process.env.PEERDISCOVERY_TEST_LOGS = logs;
    const failed: string[] = [];
    const failedFiles = new Set<string>();
    runner.on(Mocha.Runner.constants.EVENT_TEST_FAIL, (test: Mocha.Test, error: Error) => {
      failed.push(`${test.fullTitle()}\n${indent(error.stack ?? error.message)}`);
      if (test.file !== undefined) failedFiles.add(test.file);
      process.stdout.write(`${describeFailure(error, logs)}\n`);
    });
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      if (failures === 0) rmSync(logs, { recursive: true, force: true });
      if (typeof output !== 'string') return;
      const numbers = { passed: passes, failed: failures, skipped: pending };
      const counts: Counts = { ...numbers, failures: failed, failedFiles: [...failedFiles] };
      writeFileSync(output, JSON.stringify(counts));
    });
  }
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}

/** The message of a failure, then the path and last lines of each log. */
export function describeFailure(error: Error, logs: string): string {
  const tails = readdirSync(logs, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => {
      const lines = readFileSync(join(logs, name), 'utf8').trimEnd().split('\n');
      return `--- ${join(logs, name)}\n${lines.slice(-tailLines).join('\n')}`;
    });
  return [error.stack ?? error.message, ...tails].join('\n');
}
