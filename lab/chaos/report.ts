import { type Asked, isAnswerableRead, isLostRead, judge, type Oracle, type WriteTally } from './oracle.ts';

/** The effects of one fault. */
export interface FaultOutcome {
  readonly fault: string;
  readonly requests: number;
  readonly wrongAnswers: number;
  /** Each distinct wrong answer, with its count. */
  readonly wrong: ReadonlyMap<string, number>;
  readonly lostReads: number;
  readonly refused: number;
  readonly unanswered: number;
  /** The slowest read that a server could have answered throughout. */
  readonly slowestReadMs: number;
  /** Time from the end of the fault until full recovery; undefined if that took too long. */
  readonly recoveredAfterMs: number | undefined;
  /** Explanations for readers. */
  readonly line: string;
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

/** Counts answers as they arrive, and keeps none. */
export interface AnswerTally {
  add(asked: Asked): void;
  /** The counts so far, as the outcome of a fault. */
  outcome(fault: string, recoveredAfterMs: number | undefined): FaultOutcome;
}

const addOne = (counts: Map<string, number>, why: string) => void counts.set(why, (counts.get(why) ?? 0) + 1);
const listed = (counts: ReadonlyMap<string, number>) =>
  [...counts].map(([why, count]) => `${count} × ${why}`).join('; ');

/** A tally without answers. */
export function createAnswerTally(oracle: Oracle, discoveryHolds: readonly string[]): AnswerTally {
  const wrong = new Map<string, number>();
  const counts = { good: 0, refused: 0, unanswered: 0, wrong: 0 };
  let requests = 0;
  /** Reads without a good answer. Only some seconds later is it known whether a server could have given one. */
  const inVain: Asked[] = [];
  let slowestReadMs = 0;
  return {
    add(asked) {
      const { fromMs, toMs, answer } = asked;
      const judged = judge(asked, discoveryHolds);
      requests++;
      counts[judged.verdict]++;
      if (judged.verdict === 'wrong')
        addOne(wrong, `${judged.why}${answer.message === '' ? '' : ` (${answer.message})`}`);
      if (isLostRead(oracle, asked)) inVain.push(asked);
      if (answer.status === 200 && isAnswerableRead(oracle, asked))
        slowestReadMs = Math.max(slowestReadMs, toMs - fromMs);
    },
    outcome(fault, recoveredAfterMs) {
      const lost = inVain.filter((asked) => isLostRead(oracle, asked));
      const lostReads = lost.length;
      const lostWhy = new Map<string, number>();
      for (const { ask, proxy, answer } of lost)
        addOne(lostWhy, `${ask.kind === 'read' ? ask.resource : ''} by ${proxy}: ${answer.status} ${answer.message}`);
      const recovery =
        recoveredAfterMs === undefined ? 'NOT right again' : `right again after ${seconds(recoveredAfterMs)}`;
      const line = [
        `${fault}: ${requests} requests`,
        `${counts.wrong} wrong${wrong.size === 0 ? '' : ` (${listed(wrong)})`}`,
        `${lostReads} reads lost${lostReads === 0 ? '' : ` (${listed(lostWhy)})`}`,
        `${counts.refused} refused`,
        `${counts.unanswered} unanswered`,
        `slowest read ${seconds(slowestReadMs)}`,
        recovery,
      ].join(', ');
      const { refused, unanswered, wrong: wrongAnswers } = counts;
      const reads = { lostReads, slowestReadMs };
      return { fault, requests, wrongAnswers, wrong, ...reads, refused, unanswered, recoveredAfterMs, line };
    },
  };
}

/** All results of one run. */
export interface ChaosSummary {
  readonly seed: number;
  readonly minutes: number;
  /** Load average of the machine in the last 15 minutes. */
  readonly loadAverage: number;
  /** The share of the time that every process could run, in percent. */
  readonly slow: number;
  readonly outcomes: readonly FaultOutcome[];
  readonly writes: WriteTally;
}

/** The summary as Markdown. */
export function writeChaosReport({ seed, minutes, slow, loadAverage, outcomes, writes }: ChaosSummary): string {
  const sum = (of: (outcome: FaultOutcome) => number) => outcomes.reduce((total, each) => total + of(each), 0);
  const row = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  const wrongOf = ({ wrong: all }: FaultOutcome) => (all.size === 0 ? '0' : listed(all));
  return `${[
    '# Faults, and what clients see',
    '',
    `Written by \`make chaos\` with seed ${seed}, ${minutes} minutes; load average ${loadAverage.toFixed(0)} at the end${
      slow < 100 ? `, each process running ${slow} % of the time` : ''
    }. All`,
    'servers, proxies, operators and clients share one machine; run it on yours.',
    '',
    row(['What', 'Count', 'Target']),
    '|---|---|---|',
    row(['Requests', sum(({ requests }) => requests), '']),
    row(['Wrong answers', sum(({ wrongAnswers }) => wrongAnswers), 0]),
    row(['Reads lost while a capable server was fit', sum(({ lostReads }) => lostReads), 0]),
    row(['Writes confirmed', writes.confirmed, '']),
    row(['… of which lost', writes.lost.length, 0]),
    row(['Writes carried out twice', writes.twice.length, 0]),
    row(['Writes refused, but carried out', writes.refusedButDone.length, 0]),
    row([
      'Faults without full recovery within 2 minutes',
      outcomes.filter((one) => one.recoveredAfterMs === undefined).length,
      0,
    ]),
    '',
    row(['Fault', 'Requests', 'Wrong', 'Lost reads', 'Refused', 'Unanswered', 'Slowest read', 'Recovered after']),
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
    '- Three real kube-apiservers share one etcd; `old-1` emulates 1.33 and does not serve `resource.k8s.io/v1`. Two operators and two proxies run; the home of one proxy is `old-1`, that of the other `new-1`.',
    '- Each proxy has eight client workers, half over HTTP/1.1 and half over HTTP/2. They read, watch, write, send SelfSubjectReviews, and ask for discovery, for resources that no server serves, and for actions that they may not take.',
    '- **Wrong** is a 404 for a resource that a server serves, a success for one that no server serves, a 403 for a permitted action, a success for a forbidden one, another user’s name, a discovery document that lacks a served API, and a 503 that is not a `Status` or has no `Retry-After`.',
    '- **Refused** is 503, 429, 500 or 504. It is right while no capable server is fit, and while it is in doubt whether any server serves the resource.',
    '- **A read is lost** if it got anything but 200, although its proxy and one server that serves the resource were fit for as long as the read took. A server whose own `/readyz` fails, or takes more than a second, is not fit: no client should send work there. A restarted server or proxy counts as fit 3 s after it is ready. A server that has just started answers 429 while it still reads its custom resources; such an answer does not count as lost.',
    '- **Recovered** means that all three servers are `Ready` in the status, and that both proxies answer 200 for the resources of the new servers and 404 for those that no server serves.',
  ].join('\n')}\n`;
}
