import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MixedPlane, type MixedPlaneOptions, startMixedPlane } from '../plane/mixed-plane.ts';
import { repository } from '../repository.ts';

const pages = join(repository, 'docs', 'benchmarks');

/** Prints the progress of a measurement. */
export function progress(text: string): void {
  process.stderr.write(`… ${text}\n`);
}

/** Writes a file next to the reports. */
export function writePage(file: string, text: string): string {
  mkdirSync(pages, { recursive: true });
  const path = join(pages, file);
  writeFileSync(path, text);
  return path;
}

/** Prints a report in Markdown, and writes it to `docs/benchmarks`. */
export function publishReport(name: string, text: string): void {
  execFileSync('biome', ['format', '--write', writePage(`${name}.md`, text)], { stdio: 'ignore' });
  process.stdout.write(`\n${text}\n`);
}

/**
 * Measures on a mixed control plane, which ends with the measurement or on a signal. If the measurement fails, this
 * prints the end of every server's log.
 */
export async function measureOnPlane(
  options: Omit<MixedPlaneOptions, 'log'>,
  measure: (mixed: MixedPlane) => Promise<void>,
): Promise<void> {
  const mixed = await startMixedPlane({ ...options, log: progress });
  const stop = () => void mixed.stop().finally(() => process.exit(130));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    await measure(mixed);
  } catch (error) {
    process.stderr.write(`${mixed.plane.logTails(20)}\n`);
    throw error;
  } finally {
    await mixed.stop();
  }
}

/** Runs `run` with a temporary folder. */
export async function inFolder<Result>(run: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-bench-'));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
