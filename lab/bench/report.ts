import type { ProcessUse } from './process.ts';

/** One path to the joining server: ours, or upstream's. */
export interface Routed {
  /** Time from the first 200 of `/readyz` to the first 200 over this path; undefined if there was none in time. */
  readonly afterMs: number | undefined;
  /** Statuses of requests sent while the server was away. */
  readonly away: ReadonlyMap<number, number>;
  /** Statuses of requests sent between the server's readiness and the first 200. */
  readonly meanwhile: ReadonlyMap<number, number>;
  /** Statuses of requests sent in the seconds after the first 200. */
  readonly afterwards: ReadonlyMap<number, number>;
}

/** One joining server, measured over both paths at once. */
export interface Join {
  /** True if a server of this name has run before. */
  readonly known: boolean;
  readonly ours: Routed;
  /** Undefined if the run did not wait for upstream. */
  readonly upstream: Routed | undefined;
}

/** All measurements of one run. */
export interface Measurements {
  readonly setting: readonly string[];
  readonly joins: readonly Join[];
  readonly joinBoundMs: number;
  readonly killsMs: readonly number[];
  readonly idle: readonly { readonly what: string; readonly use: ProcessUse }[];
  readonly idleMs: number;
}

const targets = { routedMs: 1_000, outMs: 5_000, cpuPercent: 1, residentMiB: 120 };

function seconds(ms: number): string {
  return ms < 9_950 ? `${(ms / 1_000).toFixed(2)} s` : `${(ms / 1_000).toFixed(1)} s`;
}

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const [low = Number.NaN, high = low] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]];
  return (low + high) / 2;
}

function spread(values: readonly number[]): string {
  if (values.length === 1) return `${seconds(middle(values))} (one try)`;
  return `${seconds(middle(values))} (${seconds(Math.min(...values))}–${seconds(Math.max(...values))}, ${values.length} tries)`;
}

function tally(all: readonly ReadonlyMap<number, number>[]): string {
  const sums = new Map<number, number>();
  for (const counts of all) for (const [status, n] of counts) sums.set(status, (sums.get(status) ?? 0) + n);
  const parts = [...sums]
    .sort(([a], [b]) => a - b)
    .map(([status, n]) => `${status === 0 ? 'no answer' : status} × ${n}`);
  return parts.length === 0 ? 'no request' : parts.join(', ');
}

const verdict = (met: boolean) => (met ? 'met' : '**not met**');
const has404 = ({ away, meanwhile, afterwards }: Routed) => [away, meanwhile, afterwards].some((map) => map.has(404));

function joinRows(title: string, joins: readonly Join[], boundMs: number): readonly string[] {
  if (joins.length === 0) return [];
  const ours = joins.map((join) => join.ours);
  const upstream = joins.flatMap((join) => (join.upstream === undefined ? [] : [join.upstream]));
  const time = (ways: readonly Routed[]) => {
    const ended = ways.flatMap(({ afterMs }) => (afterMs === undefined ? [] : [afterMs]));
    const open = ways.length - ended.length;
    const never = open === 0 ? [] : [`not within ${boundMs / 1_000} s in ${open} of ${ways.length}`];
    return [...(ended.length === 0 ? [] : [spread(ended)]), ...never].join('; ') || 'not measured';
  };
  const asFloor = upstream.map(({ afterMs }) => afterMs ?? boundMs);
  const atLeast = upstream.some(({ afterMs }) => afterMs === undefined) ? 'at least ' : '';
  const ourMiddle = middle(ours.map(({ afterMs }) => afterMs ?? boundMs));
  const ratio = upstream.length === 0 ? '' : `${atLeast}${Math.round(middle(asFloor) / Math.max(ourMiddle, 1))} ×`;
  const inTime = ours.every(({ afterMs }) => afterMs !== undefined && afterMs < targets.routedMs);
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const statuses = (name: string, pick: (way: Routed) => ReadonlyMap<number, number>) =>
    row([
      name,
      tally(ours.map(pick)),
      upstream.length === 0 ? 'not measured' : tally(upstream.map(pick)),
      '',
      'never 404',
      verdict(!ours.some((way) => pick(way).has(404))),
    ]);
  return [
    row([`${title}: ready to routed`, time(ours), time(upstream), ratio, 'under 1 s', verdict(inTime)]),
    statuses('… answers from readiness until routed', ({ meanwhile }) => meanwhile),
    statuses('… answers in the next 3 s', ({ afterwards }) => afterwards),
    ...(joins.some(({ known }) => known)
      ? [statuses('… answers while it was away', ({ away }) => away)]
      : [
          row([
            '… answers before its first start (404 is right)',
            ...[ours, upstream].map((ways) => tally(ways.map(({ away }) => away))),
            '',
            '',
            '',
          ]),
        ]),
  ];
}

/** Whether all targets were met. */
export function meetsTargets({ joins, killsMs, idle }: Measurements): boolean {
  return (
    joins.every(
      ({ ours, known }) =>
        (ours.afterMs ?? Infinity) < targets.routedMs && (!known || !has404(ours)) && !ours.meanwhile.has(404),
    ) &&
    killsMs.every((ms) => ms < targets.outMs) &&
    idle.every(({ use }) => use.cpuPercent < targets.cpuPercent && use.residentMiB < targets.residentMiB)
  );
}

/** The measurements as Markdown, with each target next to its figure. */
export function writeReport(measured: Measurements): string {
  const { setting, joins, joinBoundMs, killsMs, idle, idleMs } = measured;
  const first = joins.filter(({ known }) => !known);
  const again = joins.filter(({ known }) => known);
  const slowestMs = Math.max(...killsMs);
  return `${[
    '# The operator compared with Kubernetes’ own peer proxy',
    '',
    'Written by `make bench ARGS=operator`. The figures are from one machine: compare the ratios, and run it on yours.',
    '',
    ...setting.map((line) => `- ${line}`),
    '',
    '| What | PeerDiscovery | Upstream’s Mixed Version Proxy | Ratio | Target | Verdict |',
    '|---|---|---|---|---|---|',
    ...joinRows('An unknown server joins', first, joinBoundMs),
    ...joinRows('A server stopped cleanly comes back', again, joinBoundMs),
    `| A server is killed with SIGKILL: out of the table | ${spread(killsMs)} | not comparable: it does not probe | | under 5 s | ${verdict(slowestMs < targets.outMs)} |`,
    ...idle.flatMap(({ what, use }) => {
      const pss = use.proportionalMiB === undefined ? '' : ` (proportional ${use.proportionalMiB.toFixed(0)} MiB)`;
      return [
        `| Idle operator, ${what}: CPU over ${idleMs / 1_000} s | ${use.cpuPercent.toFixed(2)} % of a core | | | under 1 % | ${verdict(use.cpuPercent < targets.cpuPercent)} |`,
        `| Idle operator, ${what}: resident memory | ${use.residentMiB.toFixed(0)} MiB${pss} | | | under 120 MiB | ${verdict(use.residentMiB < targets.residentMiB)} |`,
      ];
    }),
    '',
    '## How it is measured',
    '',
    '- Three kube-apiservers share one etcd. `plain-old` does not serve `batch/v1` and has no peer proxy; it is the home of our proxy and of the operator. `mvp-old` does not serve `batch/v1` either, and runs upstream’s own proxy (`--peer-ca-file`). `new-1` serves `batch/v1`, and joins; it runs upstream’s proxy too, because upstream finds only servers that advertise themselves.',
    '- `GET /apis/batch/v1/jobs` goes to our proxy and, at the same time, to `mvp-old`, each over one kept connection, 20 ms after the last answer. `GET /readyz` is sent to `new-1` every 20 ms. The time runs from the first 200 of `/readyz` to the first 200; 0 s means that the first 200 was already there.',
    '- In the first join, neither the operator nor the proxy has seen the server before; upstream’s peer has seen it once and knows that it was stopped cleanly. Before each later join, SIGTERM stops the server, and it stays away for some seconds.',
    '- For SIGKILL, the PeerDiscovery object is read from `plain-old` every 50 ms; the time runs from the signal to the first status in which the peer is not `Ready`. Upstream keeps a killed server until its Lease changes.',
    '- CPU is user and system time from `/proc/PID/stat`, resident memory is `VmRSS`, with three ready peers and no client requests.',
  ].join('\n')}\n`;
}
