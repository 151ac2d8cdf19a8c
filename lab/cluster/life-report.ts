import {
  judgeEvent,
  type LifeVerdict,
  type LivedEvent,
  refusedBoundMs,
  refusedFor,
  rightBoundMs,
  type Seen,
} from './life.ts';
import { answerBoundMs, type Verdict } from './samples.ts';

/** What the report says of a whole life besides what clients saw. */
export interface LifeSetting {
  /** Version of the cluster. */
  readonly version: string;
  /** Lines about the machine and the time that everything took. */
  readonly lines: readonly string[];
}

type Lived = readonly (readonly [LivedEvent, LifeVerdict])[];

const seconds = (ms: number) => `${(ms / 1_000).toFixed(0)} s`;
const columns: readonly (readonly [string, (verdict: Verdict) => number])[] = [
  ['Requests', ({ requests }) => requests],
  ['Unanswered reads', ({ unansweredReads }) => unansweredReads],
  ['Unanswered writes', ({ unansweredWrites }) => unansweredWrites],
  ['401, 403', ({ refusedUsers }) => refusedUsers],
  ['Wrong 404', ({ wrongNotFound }) => wrongNotFound],
  ['429, 503, 504', ({ unavailable }) => unavailable],
  ['Confirmed writes', ({ confirmedWrites }) => confirmedWrites],
  ['Lost', ({ lostWrites }) => lostWrites],
  ['Doubled', ({ doubledWrites }) => doubledWrites],
  ['Not shown', ({ lostEvents }) => lostEvents],
];

/** What clients saw of each event in the life of a cluster, as Markdown. */
export function writeLifeReport(events: readonly LivedEvent[], seen: Seen, { version, lines }: LifeSetting): string {
  const gaps = (event: LivedEvent) =>
    refusedFor(event, seen.samples).map(([way, ms]) => `${way} refused connections for ${(ms / 1_000).toFixed(1)} s.`);
  const lived: Lived = events.map((event) => [event, judgeEvent(event, seen)] as const);
  const short = lived.filter(([, verdict]) => verdict.short.length > 0);
  return `${[
    `# The life of a cluster of ${version}, under load`,
    '',
    'Written by `make test-cluster-life`. Three machines made by kubeadm, each with an etcd of its own, go through what happens to',
    'clusters, while clients work through each machine’s proxy and straight at each server.',
    '',
    ...(short.length === 0
      ? ['Everything that is to hold did hold.']
      : [
          'What was to hold and did not:',
          '',
          ...short.map(([{ name }, verdict]) => `- ${name}: ${verdict.short.map(firstLine).join('; ')}`),
        ]),
    '',
    '## Through the proxies',
    '',
    `To hold in each event: nothing unanswered within ${seconds(answerBoundMs)}, no 401, 403 or wrong 404, no confirmed write lost, carried`,
    `out twice or not shown by any watch, and all right again within ${seconds(rightBoundMs)}.`,
    '',
    ...tableOf(lived, 'through'),
    '',
    '## Straight at the servers',
    '',
    ...tableOf(lived, 'straight'),
    '',
    '## What the operator said',
    '',
    'Each server is looked at every second, so a second more or less says nothing.',
    '',
    '| Event | `Converged` was `True` between the first server’s going and the last one’s return | Longest time between two confirmations of the table |',
    '|---|---|---|',
    ...lived.map(
      ([{ name }, { operator }]) => `| ${name} | ${seconds(operator.convergedMs)} | ${seconds(operator.silenceMs)} |`,
    ),
    '',
    '## The events',
    '',
    ...lived.map(([event]) => `- **${event.name}:** ${[event.does, ...event.notes, ...gaps(event)].join(' ')}`),
    '',
    '## How it is measured',
    '',
    ...lines.map((line) => `- ${line}`),
    '- Every way (three proxies, three servers) gets four reads and a write each second, whether or not the last one was answered; a client gives up after 20 s. Clients are an administrator’s, by client certificate, over kept connections of HTTP/1.1.',
    '- A write is a ConfigMap whose name the server chooses, with a label by which it is counted at the end. Each way has a watch.',
    '- All is right when every server answers `/readyz`, every Node is Ready, every Pod of PeerDiscovery is, and the PeerDiscovery is Ready and Converged, five times in a row. The time runs from the end of what was done.',
    `- Over the ways to a machine without power, requests without an answer do not count. Over the way to a proxy that is being replaced, refused connections do not count, for at most ${refusedBoundMs / 1_000} s. What is answered over them counts.`,
    '- A server that is restarted on a machine that goes on is not off: what its own clients see counts, straight at the servers.',
  ].join('\n')}\n`;
}

function tableOf(lived: Lived, side: 'through' | 'straight'): readonly string[] {
  const cells = (values: readonly (string | number)[]) => `| ${values.join(' | ')} |`;
  return [
    cells(['Event', 'Took', ...columns.map(([name]) => name), 'Right again after']),
    cells(['---', '---', ...columns.map(() => '---'), '---']),
    ...lived.map(([{ name, from, actedAt, rightAt }, verdict]) =>
      cells([
        name,
        seconds(actedAt - from),
        ...columns.map(([, pick]) => pick(verdict[side])),
        rightAt === undefined ? 'never' : seconds(rightAt - actedAt),
      ]),
    ),
  ];
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
