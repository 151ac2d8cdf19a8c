import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureControlPlane } from './build/build-control-plane.ts';
import { findDateLibrary } from './build/find-program.ts';
import { faults, pair } from './chaos/faults.ts';
import { roundLabel, startLoad, writeLabel } from './chaos/load.ts';
import { createWriteLedger, type WriteLedger } from './chaos/oracle.ts';
import { createAnswerTally, type FaultOutcome, writeChaosReport } from './chaos/report.ts';
import { type Fault, kindOf, must, programs, type Scene } from './chaos/scene.ts';
import { slowDown } from './chaos/slow-down.ts';
import { openStage, proxies, recover } from './chaos/stage.ts';
import { repository } from './repository.ts';
import { seededRandom } from './seeded-random.ts';

const usage = `Injects faults into a real control plane under load, and judges every answer.

Usage: make chaos [ARGS="[--seed N] [--minutes N | --quick] [--fault TEXT [--and TEXT]] [--slow N] [--no-report]"]

  --seed N       chooses the order, the pairs and the load (default: taken from the clock)
  --minutes N    duration: each fault alone, in a random order, then pairs (default 30, enough for each fault once)
  --quick        each kind of fault once, on a server or proxy that the seed chooses, two at a time: about 12 minutes
  --fault TEXT   only the faults whose name matches TEXT, a regular expression
  --and TEXT     combine each of them with the first fault whose name matches this TEXT
  --slow N       let every server, proxy and operator run only N percent of the time, as on an undersized machine
  --no-report    leave docs/benchmarks/chaos.md as it is

A fault takes about 20 s. A fault that has begun is finished, even after the time is up. No wait exceeds two minutes.
`;

const report = join(repository, 'docs/benchmarks/chaos.md');
const discoveryHolds = ['apps/v1', 'batch/v1', 'resource.k8s.io/v1'];
function shuffle<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** One fault of each kind. */
function oneOfEachKind(chosen: readonly Fault[], random: () => number): Fault[] {
  return [...new Map(shuffle(chosen, random).map((fault) => [kindOf(fault), fault])).values()];
}

const shareNothing = (one: Fault, other: Fault) => !one.touches.some((thing) => other.touches.includes(thing));

/** Each fault once. Pairs have nothing in common and, if possible, take about the same time. */
function* twoAtATime(chosen: readonly Fault[]): Generator<Fault> {
  const left = [...chosen].sort((one, other) => other.holdMs - one.holdMs);
  for (let first = left.shift(); first !== undefined; first = left.shift()) {
    const one = first;
    const at = left.findIndex((other) => shareNothing(one, other));
    const [second] = at < 0 ? [] : left.splice(at, 1);
    yield second === undefined ? one : pair(one, second);
  }
}

/** First each fault alone, then endless pairs of faults that have nothing in common. */
function* plan(chosen: readonly Fault[], random: () => number): Generator<Fault> {
  yield* shuffle(chosen, random);
  for (;;) {
    const [first, ...others] = shuffle(chosen, random);
    if (first === undefined) return;
    const second = others.find((other) => shareNothing(first, other));
    yield second === undefined ? first : pair(first, second);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string', default: '30' },
      quick: { type: 'boolean', default: false },
      slow: { type: 'string', default: '100' },
      fault: { type: 'string', default: '' },
      and: { type: 'string' },
      'no-report': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  const { and, quick } = values;
  const minutes = quick ? Number.POSITIVE_INFINITY : Number(values.minutes);
  const slow = Number(values.slow);
  const other = and === undefined ? undefined : faults.find(({ name }) => new RegExp(and).test(name));
  const dateLibrary = findDateLibrary();
  const possible = faults.filter(({ name }) => dateLibrary !== undefined || !/\bdates?\b/.test(name));
  const alone = possible.filter(({ name }) => new RegExp(values.fault).test(name));
  const chosen = other === undefined ? alone : alone.map((fault) => pair(fault, other));
  if (!Number.isInteger(seed) || !(minutes > 0) || !(slow > 0 && slow <= 100) || chosen.length === 0) {
    process.stderr.write(usage);
    process.exitCode = 2;
    return;
  }
  const random = seededRandom(seed);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  if (possible.length < faults.length) say('SKIPPED: the clock faults, because libfaketime is missing');
  say(`seed ${seed}, ${quick ? 'each kind once' : `${minutes} minutes`}, ${chosen.length} faults`);
  await ensureControlPlane({ versions: ['1.36'], log: say });

  const now = () => performance.now();
  const stage = await openStage({ log: say, now, dateLibrary });
  const { scene, oracle } = stage;
  const { mixed } = scene;
  try {
    const endSlowness = slowDown(scene, [...programs, ...mixed.plane.servers.map(({ name }) => name)], slow);
    const ledger = createWriteLedger();
    const outcomes: FaultOutcome[] = [];
    let tally = createAnswerTally(oracle, discoveryHolds);
    let round = 0;
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    const load = startLoad({
      targets: proxies,
      ca,
      tokens: mixed.plane.tokens,
      random,
      now,
      round: () => round,
      onAsked(one) {
        tally.add(one);
        ledger.add(one);
      },
    });
    const finish = (fault: string, recoveredAfterMs: number | undefined) => {
      const outcome = tally.outcome(fault, recoveredAfterMs);
      tally = createAnswerTally(oracle, discoveryHolds);
      outcomes.push(outcome);
      say(outcome.line);
    };
    const startMs = now();
    const endMs = startMs + minutes * 60_000;
    for (const fault of quick
      ? shuffle([...twoAtATime(oneOfEachKind(chosen, random))], random)
      : plan(chosen, random)) {
      if (now() > endMs) break;
      round++;
      const recoveredAfterMs = await suffer(fault, scene, now).catch((error: Error) => say(error.message));
      finish(fault.name, recoveredAfterMs ?? undefined);
      if (recoveredAfterMs === undefined) say(mixed.plane.logTails(15));
      // No request of these rounds is open any more.
      await settleWrites(scene, ledger, (one) => one < round - 4);
    }
    await load.end();
    finish('(the end)', 0);
    endSlowness();
    await settleWrites(scene, ledger, () => true);
    const writes = ledger.tally();
    const [, , loadAverage = 0] = loadavg();
    const ranMinutes = Math.round((now() - startMs) / 60_000);
    const text = writeChaosReport({ seed, minutes: ranMinutes, slow, loadAverage, outcomes, writes });
    say(text);
    if (!values['no-report']) writeFileSync(report, text);
    const sum = (of: (outcome: FaultOutcome) => number) => outcomes.reduce((total, each) => total + of(each), 0);
    const badWrites = writes.lost.length + writes.twice.length + writes.refusedButDone.length;
    const stuck = outcomes.filter(({ recoveredAfterMs }) => recoveredAfterMs === undefined).length;
    if (sum(({ wrongAnswers, lostReads }) => wrongAnswers + lostReads) + badWrites + stuck > 0) process.exitCode = 1;
  } finally {
    await stage.close();
  }
}

/** Runs a fault from start to end. Returns the time from its end until everything had recovered. */
async function suffer(fault: Fault, scene: Scene, now: () => number): Promise<number> {
  // Heals even a fault that was only partly applied, so that it does not spoil the next one.
  try {
    await fault.strike(scene);
    await new Promise((resolve) => setTimeout(resolve, fault.holdMs));
  } finally {
    await fault.heal(scene);
  }
  const healedMs = now();
  await recover(scene);
  return now() - healedMs;
}

/** Compares the writes of these rounds with the stored objects, then removes the objects. */
async function settleWrites(scene: Scene, ledger: WriteLedger, isOver: (round: number) => boolean): Promise<void> {
  for (const round of ledger.open().filter(isOver)) {
    const which = ['configmaps', '-n', 'default', '-l', `${roundLabel}=${round}`];
    ledger.settle(round, await storedWrites(scene, which));
    await must(scene, ['delete', ...which, '--wait=false']);
  }
}

/** How often each write is stored. */
async function storedWrites(scene: Scene, which: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const template = `{range .items[*]}{.metadata.labels.${writeLabel.replaceAll('.', '\\.')}}{"\\n"}{end}`;
  const stdout = await must(scene, ['get', ...which, '-o', `jsonpath=${template}`]);
  const counts = new Map<string, number>();
  for (const id of stdout
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean))
    counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

await main();
