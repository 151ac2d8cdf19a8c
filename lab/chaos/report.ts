import { type Asked, isLostRead, judge, type Oracle, type WriteTally } from './oracle.ts';

/** What one fault did. */
export interface FaultOutcome {
  readonly fault: string;
  readonly requests: number;
  /** Each wrong answer once, with how often it came. */
  readonly wrong: ReadonlyMap<string, number>;
  readonly lostReads: number;
  /** Each answer to a lost read once, with how often it came. */
  readonly lostWhy: ReadonlyMap<string, number>;
  readonly refused: number;
  readonly unanswered: number;
  /** The slowest read that a server could have answered all the while. */
  readonly slowestReadMs: number;
  /** From its end until everything was right again; undefined if that took too long. */
  readonly recoveredAfterMs: number | undefined;
  /** For people. */
  readonly line: string;
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

/** Counts what was asked during a fault. */
export function describeOutcome(seen: {
  readonly fault: string;
  readonly asked: readonly Asked[];
  readonly oracle: Oracle;
  readonly discoveryHolds: readonly string[];
  readonly recoveredAfterMs: number | undefined;
}): FaultOutcome {
  const { fault, asked, oracle, discoveryHolds, recoveredAfterMs } = seen;
  const wrong = new Map<string, number>();
  const counts = { good: 0, refused: 0, unanswered: 0, wrong: 0 };
  for (const one of asked) {
    const judged = judge(one, discoveryHolds);
    counts[judged.verdict]++;
    if (judged.verdict === 'wrong') wrong.set(judged.why, (wrong.get(judged.why) ?? 0) + 1);
  }
  const lost = asked.filter((one) => isLostRead(oracle, one));
  const lostReads = lost.length;
  const lostWhy = new Map<string, number>();
  for (const { ask, proxy, answer } of lost) {
    const what = ask.kind === 'read' ? ask.resource : '';
    const why = `${what} by ${proxy}: ${answer.status} ${answer.message}`;
    lostWhy.set(why, (lostWhy.get(why) ?? 0) + 1);
  }
  const answerable = asked.filter(
    ({ ask, proxy, fromMs, toMs }) =>
      ask.kind === 'read' &&
      oracle.fitThroughout(proxy, fromMs, toMs) &&
      oracle.servedThroughout(ask.resource, fromMs, toMs),
  );
  const slowestReadMs = answerable.reduce((slowest, { fromMs, toMs }) => Math.max(slowest, toMs - fromMs), 0);
  const recovery =
    recoveredAfterMs === undefined ? 'NOT right again' : `right again after ${seconds(recoveredAfterMs)}`;
  const faults = [...wrong].map(([why, count]) => `${count} × ${why}`);
  const line = [
    `${fault}: ${asked.length} requests`,
    `${counts.wrong} wrong${faults.length === 0 ? '' : ` (${faults.join('; ')})`}`,
    `${lostReads} reads lost${lostReads === 0 ? '' : ` (${[...lostWhy].map(([why, count]) => `${count} × ${why}`).join('; ')})`}`,
    `${counts.refused} refused`,
    `${counts.unanswered} unanswered`,
    `slowest read ${seconds(slowestReadMs)}`,
    recovery,
  ].join(', ');
  const { refused, unanswered } = counts;
  return {
    fault,
    requests: asked.length,
    wrong,
    lostReads,
    lostWhy,
    refused,
    unanswered,
    slowestReadMs,
    recoveredAfterMs,
    line,
  };
}

/** Everything that one run saw. */
export interface ChaosSummary {
  readonly seed: number;
  readonly minutes: number;
  /** Load average of the machine in the last 15 minutes. */
  readonly loadAverage: number;
  readonly requests: number;
  readonly wrong: number;
  readonly outcomes: readonly FaultOutcome[];
  readonly writes: WriteTally;
}

/** The summary as Markdown. */
export function writeChaosReport({
  seed,
  minutes,
  loadAverage,
  requests,
  wrong,
  outcomes,
  writes,
}: ChaosSummary): string {
  const sum = (of: (outcome: FaultOutcome) => number) => outcomes.reduce((total, each) => total + of(each), 0);
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  const wrongOf = ({ wrong: all }: FaultOutcome) =>
    all.size === 0 ? '0' : [...all].map(([why, count]) => `${count} × ${why}`).join('; ');
  return `${[
    '# What breaks, and what clients see',
    '',
    `Written by \`make chaos\` with seed ${seed}, ${minutes} minutes; load average ${loadAverage.toFixed(0)} at the end. All`,
    'servers, proxies, operators and clients share one machine, so run it on yours.',
    '',
    row(['What', 'Count', 'Target']),
    '|---|---|---|',
    row(['Requests', requests, '']),
    row(['Wrong answers', wrong, 0]),
    row(['Reads lost while a capable server lived', sum(({ lostReads }) => lostReads), 0]),
    row(['Writes confirmed', writes.confirmed, '']),
    row(['… of which lost', writes.lost.length, 0]),
    row(['Writes carried out twice', writes.twice.length, 0]),
    row(['Writes refused and carried out', writes.refusedButDone.length, 0]),
    row([
      'Faults after which not all was right again in 2 minutes',
      outcomes.filter((one) => one.recoveredAfterMs === undefined).length,
      0,
    ]),
    '',
    row(['Fault', 'Requests', 'Wrong', 'Lost reads', 'Refused', 'Unanswered', 'Slowest read', 'Right again after']),
    '|---|---|---|---|---|---|---|---|',
    ...outcomes.map((one) =>
      row([
        one.fault,
        one.requests,
        wrongOf(one),
        one.lostReads,
        one.refused,
        one.unanswered,
        seconds(one.slowestReadMs),
        one.recoveredAfterMs === undefined ? 'not in 2 minutes' : seconds(one.recoveredAfterMs),
      ]),
    ),
    '',
    '## How it is judged',
    '',
    '- Three real kube-apiservers share one etcd; `old-1` emulates 1.33 and does not serve `resource.k8s.io/v1`. Two operators and two proxies run; one proxy has `old-1` for home, the other `new-1`.',
    '- Eight workers per proxy, half over HTTP/1.1 and half over HTTP/2, read, watch, write, ask who they are, ask for discovery, for what nobody serves, and for what they may not do.',
    '- **Wrong** is a 404 for what a server serves, a success for what none serves, a refusal by rights that the user has, a success that the user has no right to, another user’s name, a discovery document without a served API, and a 503 that is no `Status` or has no `Retry-After`.',
    '- **Refused** is 503, 429, 500 or 504. It is right while no capable server is fit, and in doubt about what none serves.',
    '- **A read is lost** if it got anything but 200 though its proxy, and one server that serves the resource, were fit from its first to its last moment. What comes back counts as fit 3 s after it is ready.',
    '- **Right again** means that all three servers are `Ready` in the status, and that both proxies answer 200 for what the new servers serve and 404 for what nobody serves.',
  ].join('\n')}\n`;
}
