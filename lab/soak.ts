import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureControlPlane } from './build/build-control-plane.ts';
import { churn } from './chaos/churn.ts';
import { type Held, inspectedBy, readHeld } from './chaos/inspect-process.ts';
import { startLoad } from './chaos/load.ts';
import { createAnswerTally } from './chaos/report.ts';
import { must, type Program, pause, programs, type Scene } from './chaos/scene.ts';
import { openStage, proxies, recover } from './chaos/stage.ts';
import { repository } from './repository.ts';
import { seededRandom } from './seeded-random.ts';

const usage = `Runs a control plane under load and change, and looks for growing memory and descriptors.

Usage: make soak [ARGS="[--minutes N] [--seed N] [--no-report]"]

  --minutes N    duration, after a warm-up of a third of it (default 15; use 60 for an hour)
  --seed N       chooses the load (default 1)
  --no-report    leave docs/benchmarks/soak.md as it is
`;

const report = join(repository, 'docs/benchmarks/soak.md');
const allowedGrowth = 0.1;
/** After this time without load, caches have expired and removed servers are gone. */
const restMs = 90_000;
const goneSoon = JSON.stringify({ spec: { staleAfter: '20s', goneAfter: '40s' } });
const portOf = (program: Program) => 9_301 + programs.indexOf(program);

/** The lead may change, so operators are compared by role. */
const roles = ['the leading operator', 'the waiting operator', 'proxy-1', 'proxy-2'] as const;
type Role = (typeof roles)[number];
type Sample = ReadonlyMap<Role, Held>;

function roleOf(scene: Scene, program: Program): Role {
  if (program === 'proxy-1' || program === 'proxy-2') return program;
  return program === scene.leader() ? 'the leading operator' : 'the waiting operator';
}

async function measure(scene: Scene): Promise<Sample> {
  const sample = new Map<Role, Held>();
  for (const program of programs) {
    const pid = scene.pidOf(program);
    if (pid === undefined) throw new Error(`${program} does not run`);
    sample.set(roleOf(scene, program), await readHeld(pid, portOf(program)));
  }
  return sample;
}

interface Growth {
  readonly program: Role;
  readonly what: string;
  readonly before: number;
  readonly after: number;
  readonly unit: string;
  readonly tooMuch: boolean;
}

function compare(before: Sample, after: Sample): readonly Growth[] {
  return roles.flatMap((program) => {
    const [one, other] = [before.get(program), after.get(program)];
    if (one === undefined || other === undefined) return [];
    const grown = (what: string, from: number, to: number, unit: string): Growth => ({
      program,
      what,
      before: from,
      after: to,
      unit,
      tooMuch: to > from * (1 + allowedGrowth),
    });
    const mebibytes = (bytes: number) => Math.round((bytes / 2 ** 20) * 10) / 10;
    return [
      grown('resident memory', mebibytes(one.residentBytes), mebibytes(other.residentBytes), 'MiB'),
      grown('heap after a collection', mebibytes(one.heapBytes), mebibytes(other.heapBytes), 'MiB'),
      grown('descriptors', one.descriptors, other.descriptors, ''),
    ];
  });
}

const percent = ({ before, after }: Growth) =>
  `${after >= before ? '+' : ''}${(100 * (after / before - 1)).toFixed(0)} %`;

function writeReport(summary: {
  readonly minutes: number;
  readonly warmCycles: number;
  readonly cycles: number;
  readonly requests: number;
  readonly wrong: number;
  readonly growths: readonly Growth[];
}): string {
  const { minutes, warmCycles, cycles, requests, wrong, growths } = summary;
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    '# Growth over time',
    '',
    `Written by \`make soak\`: ${minutes} minutes after the warm-up, load average ${(loadavg()[2] ?? 0).toFixed(0)} at the end. Each figure may`,
    `grow by at most ${100 * allowedGrowth} % after the warm-up. ${requests} requests got ${wrong} wrong answers.`,
    '',
    row(['Program', 'What', 'After warming up', 'At the end', 'Change']),
    '|---|---|---|---|---|',
    ...growths.map((one) =>
      row([one.program, one.what, `${one.before} ${one.unit}`, `${one.after} ${one.unit}`, percent(one)]),
    ),
    '',
    `Each of ${cycles} cycles, after ${warmCycles} of warm-up, creates and removes a CustomResourceDefinition of a new group, lets ten`,
    'servers with new addresses appear by their Leases and leave, opens 40 client connections with tokens of their own, half over',
    "HTTP/1.1 and half over HTTP/2, and closes them; every second cycle restarts a kube-apiserver, every third rotates the proxies'",
    'certificate. The load of `make chaos` runs too: reads, writes, watches, discovery. Servers are gone after 40 s',
    '(`goneAfter`). Both figures are taken 90 s after load and changes have stopped, when caches and other short-lived state have',
    'expired.',
    '',
  ].join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '15' },
      seed: { type: 'string', default: '1' },
      'no-report': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (values.help || !(minutes > 0)) {
    process.stdout.write(usage);
    if (!values.help) process.exitCode = 2;
    return;
  }
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const now = () => performance.now();
  await ensureControlPlane({ versions: ['1.36'], log: say });
  const by = (name: Program) => inspectedBy(portOf(name));
  const { scene, oracle, close } = await openStage({ log: say, now, dateLibrary: undefined, by });
  try {
    await must(scene, ['patch', 'peerdiscovery', 'cluster', '--type=merge', '-p', goneSoon]);
    const ca = readFileSync(scene.mixed.plane.caFile, 'utf8');
    const tally = createAnswerTally(oracle, ['apps/v1', 'batch/v1', 'resource.k8s.io/v1']);
    const random = seededRandom(Number(values.seed));
    let cycle = 0;
    /** Changes things under load for this long, then lets everything rest, and measures. */
    const live = async (forMinutes: number): Promise<Sample> => {
      const load = startLoad({
        targets: proxies,
        ca,
        tokens: scene.mixed.plane.tokens,
        random,
        now,
        round: () => 0,
        onAsked: (asked) => tally.add(asked),
      });
      const endMs = now() + forMinutes * 60_000;
      while (now() < endMs) {
        await churn(scene, ca, cycle++);
        const sample = await measure(scene);
        const heaps = [...sample].map(([name, { heapBytes }]) => `${name} ${(heapBytes / 2 ** 20).toFixed(1)}`);
        say(`cycle ${cycle}: MiB of heap: ${heaps.join(', ')}`);
      }
      await load.end();
      await recover(scene);
      await pause(restMs);
      return measure(scene);
    };
    const before = await live(minutes / 3);
    const warmCycles = cycle;
    const growths = compare(before, await live(minutes));
    const { requests, wrongAnswers: wrong, line } = tally.outcome('soak', 0);
    say(line);
    const text = writeReport({ minutes, warmCycles, cycles: cycle - warmCycles, requests, wrong, growths });
    say(text);
    if (!values['no-report']) writeFileSync(report, text);
    if (wrong > 0 || growths.some(({ tooMuch }) => tooMuch)) process.exitCode = 1;
  } finally {
    await close();
  }
}

await main();
