import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Counts } from './counting-reporter.ts';

/** One run of mocha, and what has to be done before it. */
interface Stage {
  readonly title: string;
  readonly prepare?: readonly string[];
  readonly command: readonly string[];
}

const root = fileURLToPath(new URL('..', import.meta.url));

const stages: Readonly<Record<string, Stage>> = {
  unit: {
    title: 'unit and integration tests',
    command: ['mocha', '--ignore', 'test/e2e/**', 'test/**/*.test.ts'],
  },
  e2e: {
    title: 'end-to-end tests on a real control plane',
    prepare: ['node', 'lab/build-for-tests.ts'],
    command: ['node', 'lab/enter-netns.ts', '--', 'mocha', 'test/e2e/**/*.test.ts'],
  },
};

/** Runs a command in the project's folder with its output passed through; resolves to its exit status, 255 if it has none. */
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

/** The counts of one stage; whatever goes wrong besides its tests counts as one more failure. */
async function runStage(stage: Stage, countsFile: string): Promise<Counts> {
  console.log(`\n== ${stage.title}`);
  const broken = (counts: Counts, why: string): Counts => {
    console.error(`${stage.title}: ${why}`);
    return { passed: counts.passed, failed: counts.failed + 1 };
  };
  const nothing: Counts = { passed: 0, failed: 0 };
  if (stage.prepare !== undefined && (await run(stage.prepare)) !== 0)
    return broken(nothing, `could not be prepared by ${stage.prepare.join(' ')}`);
  const reporter = [
    '--reporter',
    join(root, 'scripts/counting-reporter.ts'),
    '--reporter-option',
    `output=${countsFile}`,
  ];
  const status = await run([...stage.command, ...reporter]);
  const counts = await readFile(countsFile, 'utf8').then(
    (text): Counts => JSON.parse(text),
    () => undefined,
  );
  if (counts === undefined) return broken(nothing, `ended early, with status ${status}`);
  if (counts.passed + counts.failed === 0) return broken(counts, 'ran no test');
  if (status !== 0 && counts.failed === 0) return broken(counts, `ended with status ${status} though no test failed`);
  return counts;
}

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(stages);
const folder = await mkdtemp(join(tmpdir(), 'peerdiscovery-tests-'));
let passed = 0;
let failed = 0;
for (const name of chosen) {
  const stage = stages[name];
  if (stage === undefined) throw new Error(`no such stage: ${name} (there are ${Object.keys(stages).join(', ')})`);
  const counts = await runStage(stage, join(folder, `${name}.json`));
  passed += counts.passed;
  failed += counts.failed;
}
await rm(folder, { recursive: true });
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
