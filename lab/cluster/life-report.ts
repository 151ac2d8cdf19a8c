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

/** The content of the report besides what clients saw. */
export interface LifeSetting {
  /** The version of the cluster. */
  readonly version: string;
  /** Lines about the machine and the durations. */
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

/** Reports as Markdown what clients saw of each event in the life of a cluster. */
export function writeLifeReport(events: readonly LivedEvent[], seen: Seen, { version, lines }: LifeSetting): string {
  const gaps = (event: LivedEvent) =>
    refusedFor(event, seen.samples).map(([way, ms]) => `${way} refused connections for ${(ms / 1_000).toFixed(1)} s.`);
  const lived: Lived = events.map((event) => [event, judgeEvent(event, seen)] as const);
  const short = lived.filter(([, verdict]) => verdict.short.length > 0);
  return `${[
    `# Events in the life of a cluster of ${version}, under load`,
    '',
    'Written by `make test-cluster-life`. kubeadm sets up three machines, each with its own etcd. They go through the events of a',
    'cluster’s life, while clients send requests through each machine’s proxy and directly to each server.',
    '',
    ...(short.length === 0
      ? ['All requirements were met.']
      : [
          'Requirements that were not met:',
          '',
          ...short.map(([{ name }, verdict]) => `- ${name}: ${verdict.short.map(firstLine).join('; ')}`),
        ]),
    '',
    '## Through the proxies',
    '',
    `Required in each event: an answer to every request within ${seconds(answerBoundMs)}; no 401, 403 or wrong 404; no confirmed write lost,`,
    `carried out twice or missing from every watch; and full recovery within ${seconds(rightBoundMs)}.`,
    '',
    ...tableOf(lived, 'through'),
    '',
    '## Directly to the servers',
    '',
    ...tableOf(lived, 'straight'),
    '',
    '## What the operator reported',
    '',
    'Each server is checked every second, so the times are exact to about a second.',
    '',
    '| Event | `Converged` was `True` between the first server’s stop and the last one’s return | Longest time between two confirmations of the table |',
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
    '- Every endpoint (three proxies, three servers) gets four reads and a write each second, whether or not the last one was answered; a client gives up after 20 s. The clients are an administrator’s: they use a client certificate and kept HTTP/1.1 connections.',
    '- A write creates a ConfigMap whose name the server chooses. Its label allows the count at the end. Each endpoint has a watch.',
    '- The cluster has recovered when five checks in a row find that every server answers `/readyz`, every Node and every Pod of PeerDiscovery is Ready, and the PeerDiscovery is Ready and Converged. The time runs from the end of the event’s last action.',
    `- Unanswered requests to the endpoints of a machine without power do not count, nor do refused connections to a proxy that is being replaced, for at most ${refusedBoundMs / 1_000} s. Answers from these endpoints count.`,
    '- If only the server restarts and its machine stays on, the answers to its direct clients count.',
  ].join('\n')}\n`;
}

function tableOf(lived: Lived, side: 'through' | 'straight'): readonly string[] {
  const cells = (values: readonly (string | number)[]) => `| ${values.join(' | ')} |`;
  return [
    cells(['Event', 'Took', ...columns.map(([name]) => name), 'Recovered after']),
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
