import { execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cacheFolder, hashOf } from './build/build-control-plane.ts';
import { installLocked } from './build/install-locked.ts';
import { type MutationPart, mutationParts } from './mutation/parts.ts';

const usage = `Makes small changes to the code, and reports those that no test notices.

Usage: make mutate [ARGS="[--part ${mutationParts.map(({ name }) => name).join('|')}] [--only FILE[:FROM-TO]]"]

  --part NAME  only this part
  --only FILE  only this file of the part, or these lines of it: src/domain/assess-peer.ts:90-120

Each part leaves dist/mutation/<part>.html and .json.
`;

const manifest = fileURLToPath(new URL('stryker', import.meta.url));
const runner = fileURLToPath(new URL('mutation/mocha-runner.ts', import.meta.url));

/** Resolves to the folder of Stryker, which is installed once from the versions that `lab/stryker` pins. */
async function ensureStryker(): Promise<string> {
  const folder = join(cacheFolder(), 'stryker', await hashOf(manifest));
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}`;
  await mkdir(partial, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) await copyFile(join(manifest, name), join(partial, name));
  installLocked(partial);
  await rename(partial, folder).catch(() => rm(partial, { recursive: true, force: true }));
  return folder;
}

async function mutatePart(stryker: string, part: MutationPart, only: string | undefined): Promise<void> {
  const reports = join('dist', 'mutation');
  await mkdir(reports, { recursive: true });
  const files = globSync([...part.tests]);
  const config = join(reports, `${part.name}.config.json`);
  const options = {
    mutate: only === undefined ? part.sources : [only],
    testRunner: 'mocha',
    plugins: [runner],
    mocha: { files: files.sort() },
    ignorers: ['prose'],
    coverageAnalysis: 'perTest',
    // A mutant in code that runs when a module loads costs a new process and every test.
    ignoreStatic: true,
    concurrency: 1,
    timeoutMS: 10_000,
    tempDirName: join(reports, 'sandbox'),
    // Stryker would rewrite the paths in tsconfig.json, and would need the TypeScript 5 compiler for that.
    tsconfigFile: 'none.json',
    ignorePatterns: ['dist', 'docs', '.rootfs'],
    reporters: ['clear-text', 'html', 'json'],
    htmlReporter: { fileName: join(reports, `${part.name}.html`) },
    jsonReporter: { fileName: join(reports, `${part.name}.json`) },
    clearTextReporter: { allowColor: false, allowEmojis: false, logTests: false },
    allowConsoleColors: false,
    warnings: { unknownOptions: false },
  };
  await writeFile(config, JSON.stringify(options, undefined, 2));
  execFileSync('node', [join(stryker, 'node_modules/@stryker-mutator/core/bin/stryker.js'), 'run', config], {
    stdio: 'inherit',
  });
}

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    part: { type: 'string' },
    only: { type: 'string' },
  },
});
const parts = mutationParts.filter(({ name }) => values.part === undefined || name === values.part);
if (values.help) process.stdout.write(usage);
else if (parts.length === 0 || (values.only !== undefined && values.part === undefined)) {
  process.stderr.write(
    `mutate: --part must be one of ${mutationParts.map(({ name }) => name).join(', ')}; --only requires --part\n`,
  );
  process.exitCode = 2;
} else {
  const stryker = await ensureStryker();
  for (const part of parts) await mutatePart(stryker, part, values.only);
}
