import { availableParallelism, release } from 'node:os';
import type { LoadResult } from './load.ts';

/** All measurements of one run. */
export interface ProxyMeasurements {
  readonly samples: { readonly load: string; readonly front: string; readonly result: LoadResult }[];
  readonly memory: { readonly front: string; readonly protocol: 'h1' | 'h2'; readonly kib: number }[];
  readonly turns: number;
  /** Measurements with real servers. */
  readonly realTurns: number;
  readonly seconds: number;
  readonly watches: { readonly first: number; readonly further: number };
}

interface Target {
  readonly what: string;
  readonly wanted: string;
  /** One value for each turn. */
  readonly got: readonly number[];
  readonly met: boolean;
}

const ours = 'PeerDiscovery';

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

function spread(values: readonly number[], digits = 0): string {
  if (values.length === 0) return 'not measured';
  if (values.some(Number.isNaN)) return '';
  return `${middle(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
}

function results({ samples }: ProxyMeasurements, load: string, front: string): LoadResult[] {
  return samples.filter((sample) => sample.load === load && sample.front === front).map(({ result }) => result);
}

/** Ratios. Each compares two figures of one turn. */
function ratio(measured: ProxyMeasurements, load: string, reference: string): readonly number[] {
  const mine = results(measured, load, ours);
  const theirs = results(measured, load, reference);
  return mine.map(({ cpuUs }, at) => (theirs[at]?.cpuUs ?? Number.NaN) / cpuUs).filter(Number.isFinite);
}

function targets(measured: ProxyMeasurements): Target[] {
  const least = (what: string, got: readonly number[], bound: number): Target => ({
    what,
    wanted: `at least ${bound}`,
    got,
    met: got.length > 0 && middle(got) >= bound,
  });
  const most = (what: string, got: readonly number[], bound: number): Target => ({
    what,
    wanted: `at most ${bound}`,
    got,
    met: got.length > 0 && middle(got) <= bound,
  });
  const direct = results(measured, '200 requests/s', 'direct');
  const added = results(measured, '200 requests/s', ours).map(({ p50Ms }, at) => p50Ms - (direct[at]?.p50Ms ?? NaN));
  const watch = measured.memory.filter(({ front, protocol }) => front === ours && protocol === 'h2');
  return [
    ...(['h1', 'h2'] as const).map((protocol) =>
      least(
        `CPU of upstream’s hop / ours, real servers, HTTP/${protocol === 'h1' ? '1.1' : '2'}`,
        ratio(measured, `real kube-apiservers, ${protocol}`, 'upstream’s hop'),
        4,
      ),
    ),
    least('CPU of HAProxy / ours, 1 KiB, HTTP/1.1', ratio(measured, '1 KiB, h1', 'HAProxy'), 0.48),
    least('CPU of HAProxy / ours, 1 KiB, HTTP/2', ratio(measured, '1 KiB, h2', 'HAProxy'), 0.43),
    least('CPU of HAProxy / ours, 200 KiB, HTTP/1.1', ratio(measured, '200 KiB, h1', 'HAProxy'), 0.75),
    least('CPU of nginx / ours, full TLS handshakes', ratio(measured, 'full TLS handshakes', 'nginx'), 0.78),
    most('p50 added at 200 requests/s, ms', added.filter(Number.isFinite), 0.35),
    most(
      'KiB for each idle watch over HTTP/2',
      watch.map(({ kib }) => kib),
      20,
    ),
  ];
}

/** The measurements as Markdown, with each target next to its figure and spread. */
export function writeProxyReport(measured: ProxyMeasurements, stolenPercent: number): string {
  const { samples, memory, turns, realTurns, seconds, watches } = measured;
  const rows = [...new Set(samples.map(({ load, front }) => `${load}\0${front}`))].map((key) => {
    const [load = '', front = ''] = key.split('\0');
    const all = results(measured, load, front);
    const cells = [
      load,
      front,
      spread(all.map(({ perSecond }) => perSecond)),
      spread(all.map(({ cpuUs }) => cpuUs)),
      spread(
        all.map(({ p50Ms }) => p50Ms),
        2,
      ),
      spread(
        all.map(({ p99Ms }) => p99Ms),
        2,
      ),
      String(all.reduce((sum, { failed }) => sum + failed, 0)),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return `${[
    '# Cost of the proxy',
    '',
    'Written by `make bench ARGS=proxy`. The figures are from one machine: compare the ratios, and run it on yours.',
    '',
    `- ${availableParallelism()} cores, Linux ${release().split('-')[0]}, Node ${process.version}, loopback; ${turns} turns of ${seconds} s, ${realTurns} with real servers, interleaved; median (minimum–maximum).`,
    '- Each front runs on one core, and load and back end on the other; two workers and the real servers use both.',
    `- The hypervisor took ${stolenPercent.toFixed(1)} % of the CPU time meanwhile (steal); each ratio compares figures of one turn.`,
    '',
    '| Target | Wanted | Measured | Verdict |',
    '|---|---|---|---|',
    ...targets(measured).map(
      ({ what, wanted, got, met }) => `| ${what} | ${wanted} | ${spread(got, 2)} | ${met ? 'met' : '**not met**'} |`,
    ),
    '',
    '![CPU of the proxy for each request](proxy.svg)',
    '',
    '| Load | Front | Requests/s | CPU µs for each request | p50 ms | p99 ms | Failed |',
    '|---|---|---|---|---|---|---|',
    ...rows,
    '',
    `| Idle watches (${watches.further}, beside ${watches.first} that were there) | Front | KiB of resident memory for each |`,
    '|---|---|---|',
    ...memory.map(({ front, protocol, kib }) => `| ${protocol} | ${front} | ${kib.toFixed(1)} |`),
    '',
    'At full load, p50 and p99 are mostly queueing (64 connections, or 10 with 20 streams each); the rows with 200 requests/s show latency.',
    'CPU is user and system time of the front’s processes, from `/proc`. nginx and HAProxy verify the same certificates.',
  ].join('\n')}\n`;
}

/** Draws the CPU of each request as bars. */
export function writeChart(measured: ProxyMeasurements): string {
  const loads = [...new Set(measured.samples.map(({ load }) => load))].filter((load) => !load.includes('requests/s'));
  const bars = loads.flatMap((load) => {
    const fronts = [...new Set(measured.samples.filter((sample) => sample.load === load).map(({ front }) => front))];
    return fronts
      .filter((front) => front !== 'direct')
      .map((front) => ({
        label: `${load}: ${front}`,
        us: middle(results(measured, load, front).map(({ cpuUs }) => cpuUs)),
        front,
      }));
  });
  const most = Math.max(...bars.map(({ us }) => us), 1);
  const lines = bars.map(({ label, us, front }, at) => {
    const y = 40 + at * 22;
    const colour = front.startsWith(ours) ? '#326ce5' : '#9aa4b2';
    return `<text x="290" y="${y + 13}" text-anchor="end">${label}</text><rect x="300" y="${y}" width="${((us / most) * 340).toFixed(1)}" height="16" fill="${colour}"/><text x="${(306 + (us / most) * 340).toFixed(1)}" y="${y + 13}">${us.toFixed(0)} µs</text>`;
  });
  const height = 60 + bars.length * 22;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="720" height="${height}" viewBox="0 0 720 ${height}" font-family="sans-serif" font-size="12" role="img" aria-label="CPU of the proxy for each request"><rect width="720" height="${height}" fill="#fff"/><text x="16" y="24" font-size="15">CPU of the proxy for each request</text>${lines.join('')}</svg>\n`;
}
