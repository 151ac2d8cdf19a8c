import type { Served } from '../attack/serve-users.ts';
import { median } from '../bench/median.ts';
import { type Asked, type Kind, kinds } from './mixed-load.ts';

/** A sample of the proxy. */
export interface Sample {
  /** True while connections flood it. */
  readonly isFlooded: boolean;
  readonly residentBytes: number;
  readonly descriptors: number;
  /** The longest block of its event loop since the previous sample. */
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  /** The longest delay, minus the time that the process waited for a CPU in the same second. */
  readonly ownLoopMaxMs: number;
  readonly waitedMs: number;
}

/** One flood, and the calm period after it. */
export interface Cycle {
  readonly flood: string;
  readonly samples: readonly Sample[];
  /** The JavaScript heap after a garbage collection at the end. */
  readonly heapBytes: number;
  /** The requests of two other users, during the flood and after it. */
  readonly others: { readonly flooded: Served; readonly calm: Served };
  readonly asked: Readonly<Record<Kind, Asked>>;
}

/** A whole run. */
export interface Run {
  readonly seed: number;
  readonly cycles: readonly Cycle[];
  readonly idle: { readonly opened: number; readonly standing: number };
  readonly slowReaders: number;
  readonly limitBytes: number;
  readonly seconds: number;
}

/** The result of one check. */
export interface Check {
  readonly what: string;
  readonly value: string;
  readonly bound: string;
  readonly isMet: boolean;
}

const allowedGrowth = 0.1;
/**
 * With an event loop that is never blocked longer, every client is served within the time that it would wait anyway.
 */
const loopBoundMs = 1_000;
const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

/** The medians of the first and the last third of the cycles. */
function ends(cycles: readonly Cycle[], pick: (cycle: Cycle) => readonly number[]): readonly [number, number] {
  const third = Math.max(1, Math.floor(cycles.length / 3));
  return [median(cycles.slice(0, third).flatMap(pick)), median(cycles.slice(-third).flatMap(pick))];
}

/** The values of the samples without a flood. */
const calm = (pick: (sample: Sample) => number) => (cycle: Cycle) =>
  cycle.samples.filter(({ isFlooded }) => !isFlooded).map(pick);

/** Judges a run. */
export function judgeLoad({ cycles, idle, limitBytes }: Run): readonly Check[] {
  const samples = cycles.flatMap((cycle) => cycle.samples);
  const flat = (what: string, pick: (cycle: Cycle) => readonly number[], show: (value: number) => string): Check => {
    const [first, last] = ends(cycles, pick);
    const bound = `at most ${100 * allowedGrowth} % more`;
    return {
      what: `${what}, first and last third`,
      value: `${show(first)}, ${show(last)}`,
      bound,
      isMet: last <= first * (1 + allowedGrowth),
    };
  };
  const none = (what: string, failed: number, all: number): Check => ({
    what,
    value: `${failed} of ${all}`,
    bound: '0',
    isMet: failed === 0 && all > 0,
  });
  const total = (pick: (cycle: Cycle) => number) => cycles.reduce((sum, cycle) => sum + pick(cycle), 0);
  const ofKinds = (pick: (asked: Asked) => number) =>
    total(({ asked }) => sumOf(kinds.map((kind) => pick(asked[kind]))));
  const ofOthers = (pick: (served: Served) => number) =>
    total(({ others }) => pick(others.flooded) + pick(others.calm));
  const most = Math.max(...samples.map(({ residentBytes }) => residentBytes));
  const longest = Math.max(...samples.map(({ ownLoopMaxMs }) => ownLoopMaxMs));
  return [
    none(
      'requests of the load that failed',
      ofKinds(({ failed }) => failed),
      ofKinds(({ requests }) => requests),
    ),
    none(
      'requests of other users that failed',
      ofOthers(({ failed }) => failed),
      ofOthers(({ requests }) => requests),
    ),
    none('idle watches that ended', idle.opened - idle.standing, idle.opened),
    {
      what: 'peak resident memory',
      value: mebibytes(most),
      bound: `${mebibytes(limitBytes)}, the chart's limit`,
      isMet: most <= limitBytes,
    },
    {
      what: 'longest event loop delay, minus the wait for a CPU',
      value: `${longest.toFixed(0)} ms`,
      bound: `${loopBoundMs} ms`,
      isMet: longest <= loopBoundMs,
    },
    flat(
      'resident memory',
      calm(({ residentBytes }) => residentBytes),
      mebibytes,
    ),
    flat('heap after a collection', ({ heapBytes }) => [heapBytes], mebibytes),
    flat(
      'descriptors',
      calm(({ descriptors }) => descriptors),
      String,
    ),
    flat(
      '99th percentile of the event loop delay',
      calm(({ loopP99Ms }) => loopP99Ms),
      (ms) => `${ms.toFixed(0)} ms`,
    ),
  ];
}

/** One line of each cycle. */
export function describeCycle({ flood, samples, heapBytes, others, asked }: Cycle): string {
  const all = sumOf(kinds.map((kind) => asked[kind].requests));
  const failed = sumOf(kinds.map((kind) => asked[kind].failed));
  const middle = (pick: (sample: Sample) => number) => median(samples.map(pick));
  return [
    flood,
    `${all} (${failed})`,
    ...[others.flooded, others.calm].map(
      ({ requests, failed: lost, p50Ms }) => `${requests} (${lost}), ${p50Ms.toFixed(0)} ms`,
    ),
    mebibytes(middle(({ residentBytes }) => residentBytes)),
    mebibytes(heapBytes),
    middle(({ descriptors }) => descriptors),
    `${middle(({ loopP99Ms }) => loopP99Ms).toFixed(0)} ms`,
    `${Math.max(...samples.map(({ loopMaxMs }) => loopMaxMs)).toFixed(0)} ms`,
    `${middle(({ waitedMs }) => waitedMs / 10).toFixed(0)} %`,
  ].join(' | ');
}

/** The whole report. */
export function writeLoadReport(run: Run, setting: { readonly date: string; readonly load: number }): string {
  const { cycles, seed, seconds, idle, slowReaders } = run;
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const kindRow = (kind: Kind) => {
    const of = cycles.map(({ asked }) => asked[kind]);
    const [p50, p99] = [median(of.map(({ p50Ms }) => p50Ms)), Math.max(...of.map(({ p99Ms }) => p99Ms))];
    const failed = sumOf(of.map((one) => one.failed));
    const requests = sumOf(of.map((one) => one.requests));
    return row([kind, `${requests}`, `${failed}`, `${p50.toFixed(0)} ms`, `${p99.toFixed(0)} ms`]);
  };
  return [
    '# A proxy under load',
    '',
    `Written by \`make load-test\` (seed ${seed}, ${setting.date}): ${seconds} s against a proxy with its default flags, in front of two real`,
    `kube-apiservers, all on one machine with two cores (load ${setting.load.toFixed(0)} at the end). At the same time:`,
    '',
    '- 32 workers send requests without a pause over both protocols (get, list, watch, patch, exec over WebSocket)',
    `- ${idle.opened} idle watches stay open, half over HTTP/1.1 and half over HTTP/2`,
    `- ${slowReaders} clients request lists of 6 MB, but read nothing, or 20 KB a second`,
    '- a flood of connections without a credential runs half of the time, a different one in each cycle',
    '- two other users send requests at a calm pace, on kept and on new connections',
    '',
    row(['What', 'Seen', 'Bound', '']),
    '| --- | --- | --- | --- |',
    ...judgeLoad(run).map(({ what, value, bound, isMet }) => row([what, value, bound, isMet ? 'met' : '**not met**'])),
    '',
    row(['Kind of request', 'Requests', 'Failed', 'Median', 'Highest 99th percentile']),
    '| --- | --- | --- | --- | --- |',
    ...kinds.map(kindRow),
    '',
    'Each row is one cycle. Failed requests are in brackets; the medians of the other users follow them. Memory, descriptors and',
    'the 99th percentile of the event loop delay are medians over the cycle. “Wait” is the share of the time in which the proxy',
    'was ready to run, but other processes had both CPUs; each delay includes such waits. The heap is measured after a garbage',
    'collection at the end of the cycle.',
    '',
    row([
      'Flood',
      'Load',
      'Others, flood',
      'Others, calm',
      'Memory',
      'Heap',
      'Descriptors',
      'Loop p99',
      'Loop most',
      'Wait',
    ]),
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...cycles.map((cycle) => `| ${describeCycle(cycle)} |`),
    '',
  ].join('\n');
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}
