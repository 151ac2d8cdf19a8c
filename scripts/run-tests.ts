import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Counts } from './counting-reporter.ts';
import { runSuites } from './run-suites.ts';

/** A kind of tests, and the preparation for them. */
interface Stage {
  readonly title: string;
  readonly prepare?: readonly string[];
  /** The mocha arguments of the second run. */
  readonly again: (command: readonly string[], failed: Counts) => readonly string[];
  /** Runs of mocha, one after another. */
  readonly runs: () => Promise<readonly (readonly string[])[]>;
}

const root = fileURLToPath(new URL('..', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { suite: { type: 'string', multiple: true, default: [] } },
});

/**
 * The suites of a folder, all unless `--suite` names some. Each file has its own network and processes, so that none
 * sees what another left behind.
 */
async function inNamespaces(folder: string): Promise<readonly (readonly string[])[]> {
  const suites = chooseSuites(await readdir(join(root, folder)), values.suite);
  return suites.map((name) => ['node', 'lab/enter-netns.ts', '--', 'mocha', '--exit', `${folder}/${name}`]);
}

const wholeAgain = (command: readonly string[]) => command;

const stages: Readonly<Record<string, Stage>> = {
  unit: {
    title: 'unit and integration tests',
    again: (_command, { failedFiles }) => ['mocha', '--exit', ...failedFiles],
    runs: async () => [['mocha', '--ignore', 'test/e2e/**', '--ignore', 'test/others/**', 'test/**/*.test.ts']],
  },
  e2e: {
    title: 'end-to-end tests on a real control plane',
    prepare: ['node', 'lab/build-for-tests.ts'],
    again: wholeAgain,
    runs: () => inNamespaces('test/e2e'),
  },
  others: {
    title: "tests with others' software: cert-manager, Flux, Argo CD, Helm 3 and what else people run beside us",
    prepare: ['node', 'lab/others/build-others.ts'],
    again: wholeAgain,
    runs: () => inNamespaces('test/others'),
  },
};

function chooseSuites(files: readonly string[], wanted: readonly string[]): readonly string[] {
  const ending = '.test.ts';
  const all = files.filter((name) => name.endsWith(ending)).sort();
  const names = all.map((name) => name.slice(0, -ending.length));
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`no such suite: ${unknown.join(', ')} (there are ${names.join(', ')})`);
  return wanted.length === 0 ? all : wanted.map((name) => `${name}${ending}`);
}

/** The default stages; CI has no time for the others. */
const usual = ['unit', 'e2e'];

/** Runs a command in the project's folder and shows its output. Resolves to its exit status, or 255 without one. */
function run(command: readonly string[]): Promise<number> {
  const [file = '', ...args] = command;
  return new Promise((resolve) => {
    const path = [join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter);
    const child = spawn(file, args, { cwd: root, stdio: 'inherit', env: { ...process.env, PATH: path } });
    const passOn = (signal: NodeJS.Signals) => child.kill(signal);
    const finish = (status: number) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, passOn);
      resolve(status);
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, passOn);
    child.once('error', (error) => {
      console.error(`${file}: ${error.message}`);
      finish(255);
    });
    child.once('exit', (status) => finish(status ?? 255));
  });
}

const shownTimes = 12;
const nothing: Counts = { passed: 0, failed: 0, skipped: 0, failures: [], failedFiles: [] };

function sum(counts: readonly Counts[]): Counts {
  const add = (key: 'passed' | 'failed' | 'skipped') => counts.reduce((total, each) => total + each[key], 0);
  return {
    passed: add('passed'),
    failed: add('failed'),
    skipped: add('skipped'),
    failures: counts.flatMap((each) => each.failures),
    failedFiles: counts.flatMap((each) => each.failedFiles),
  };
}

/** Prints a failure outside the tests, and counts it as one more failure. */
function broken(what: string, why: string, counts: Counts = nothing): Counts {
  console.error(`${what}: ${why}`);
  return { ...counts, failed: counts.failed + 1, failures: [...counts.failures, `${what}: ${why}`] };
}

/** The counts of one run of mocha. */
async function runMocha(command: readonly string[], countsFile: string): Promise<Counts> {
  const what = command.at(-1) ?? '';
  const reporter = ['--reporter-option', `output=${countsFile}`];
  const status = await run([...command, ...reporter]);
  const counts = await readFile(countsFile, 'utf8').then(
    (text): Counts => JSON.parse(text),
    () => undefined,
  );
  await rm(countsFile, { force: true });
  if (counts === undefined) return broken(what, `ended early, with status ${status}`);
  if (counts.passed + counts.failed + counts.skipped === 0) return broken(what, 'ran no test', counts);
  if (status !== 0 && counts.failed === 0)
    return broken(what, `ended with status ${status} though no test failed`, counts);
  return counts;
}

/** Prints the runs that took the most time. */
function describeTimes(times: ReadonlyMap<string, number>): string {
  const longest = [...times].sort(([, a], [, b]) => b - a).slice(0, shownTimes);
  return longest.map(([what, ms]) => `${String(Math.round(ms / 1_000)).padStart(6)} s  ${what}`).join('\n');
}

async function runStage(
  stage: Stage,
  countsFile: string,
  times: Map<string, number>,
  flaky: string[],
): Promise<Counts> {
  console.log(`\n== ${stage.title}`);
  if (stage.prepare !== undefined && (await run(stage.prepare)) !== 0)
    return broken(stage.title, `could not be prepared by ${stage.prepare.join(' ')}`);
  const runTimed = async (command: readonly string[]) => {
    const start = performance.now();
    const counts = await runMocha(command, countsFile);
    times.set(command.at(-1) ?? '', performance.now() - start);
    return counts;
  };
  const { counts, flakes } = await runSuites(await stage.runs(), runTimed, stage.again);
  flaky.push(...flakes);
  return sum(counts);
}

const chosen = positionals.length > 0 ? positionals : usual;
const unknown = chosen.filter((name) => stages[name] === undefined);
if (unknown.length > 0)
  throw new Error(`no such stage: ${unknown.join(', ')} (there are ${Object.keys(stages).join(', ')})`);
const folder = await mkdtemp(join(tmpdir(), 'peerdiscovery-tests-'));
const counts: Counts[] = [];
const times = new Map<string, number>();
const flaky: string[] = [];
// Missing programs are installed or reported before the first test of any stage.
if ((await run(['node', 'lab/prepare-machine.ts', ...chosen])) !== 0)
  counts.push(broken('this machine', 'could not be prepared by lab/prepare-machine.ts'));
else
  for (const name of chosen) {
    const stage = stages[name];
    if (stage !== undefined) counts.push(await runStage(stage, join(folder, `${name}.json`), times, flaky));
  }
await rm(folder, { recursive: true });
const { passed, failed, skipped, failures } = sum(counts);
if (times.size > 1) console.log(`\nthe longest runs:\n${describeTimes(times)}`);
// Repeated at the end, so that a reader of only the end of the log sees why it failed.
for (const flake of flaky) console.log(`\nFLAKY, passed when its suite ran again: ${flake}`);
for (const failure of failures) console.log(`\nFAILED: ${failure}`);
const flakyCount = flaky.length === 0 ? '' : `, ${flaky.length} flaky`;
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped${flakyCount}`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
