import { parseArgs } from 'node:util';
import { addToCorpus, readCorpus } from './fuzz/corpus.ts';
import { mutate, shrink } from './fuzz/mutate.ts';
import { createFuzzTargets, type FuzzTarget } from './fuzz/targets.ts';
import { seededRandom } from './seeded-random.ts';

const usage = `Feeds mutated inputs to every parser, and keeps each input on which one fails.

Usage: make fuzz [ARGS="[--seed N] [--minutes N] [--target NAME]"]

  --seed N       chooses the inputs (default: taken from the clock)
  --minutes N    duration for all parsers together (default 3)
  --target NAME  only this parser
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    minutes: { type: 'string', default: '3' },
    target: { type: 'string' },
  },
});

function failureOf(target: FuzzTarget, input: Buffer): string | undefined {
  try {
    target.check(input);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Returns the number of inputs, and the first failure. */
function fuzz(target: FuzzTarget, random: () => number, untilMs: number): { tried: number; failure?: string } {
  const inputs = [...target.inputs.map((text) => Buffer.from(text, 'latin1')), ...readCorpus(target.name)];
  let tried = 0;
  for (; performance.now() < untilMs; tried++) {
    const input = tried < inputs.length ? (inputs[tried] ?? Buffer.alloc(0)) : mutate(inputs, target.words, random);
    if (failureOf(target, input) === undefined) continue;
    const small = shrink(input, (less) => failureOf(target, less) !== undefined);
    return { tried, failure: `${failureOf(target, small)}\n  kept as ${addToCorpus(target.name, small)}` };
  }
  return { tried };
}

const targets = createFuzzTargets().filter(({ name }) => values.target === undefined || name === values.target);
const minutes = Number(values.minutes);
if (values.help) process.stdout.write(usage);
else if (targets.length === 0 || !(minutes > 0)) {
  process.stderr.write(
    `fuzz: --target must be one of ${createFuzzTargets().map(({ name }) => name)}, and --minutes greater than 0\n`,
  );
  process.exitCode = 2;
} else {
  const seed = Number(values.seed);
  process.stdout.write(`seed ${seed}\n`);
  for (const target of targets) {
    const untilMs = performance.now() + (minutes * 60_000) / targets.length;
    const { tried, failure } = fuzz(target, seededRandom(seed), untilMs);
    process.stdout.write(`${target.name}: ${tried} inputs${failure === undefined ? '' : `, FAILED: ${failure}`}\n`);
    if (failure !== undefined) process.exitCode = 1;
  }
}
