import { refusedBoundMs, rightBoundMs } from './life.ts';
import type { LifeRecord } from './life-records.ts';
import { answerBoundMs, type Verdict } from './samples.ts';

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
export function writeLifeReport(records: readonly LifeRecord[]): string {
  const newest = records.reduce<LifeRecord | undefined>(
    (last, record) => (last === undefined || record.run >= last.run ? record : last),
    undefined,
  );
  const short = records.filter(({ verdict }) => verdict.short.length > 0);
  return `${[
    `# Events in the life of a cluster of ${newest?.version ?? 'no version'}, under load`,
    '',
    'Written by `make test-cluster-life`. kubeadm sets up three machines, each with its own etcd. They go through the events of a',
    'cluster’s life, while clients send requests through each machine’s proxy and directly to each server.',
    '',
    ...(short.length === 0
      ? ['All requirements were met.']
      : [
          'Requirements that were not met:',
          '',
          ...short.map(({ event, verdict }) => `- ${event.name}: ${verdict.short.map(firstLine).join('; ')}`),
        ]),
    '',
    '## Through the proxies',
    '',
    `Required in each event: an answer to every request within ${seconds(answerBoundMs)}; no 401, 403 or wrong 404; no confirmed write lost,`,
    `carried out twice or missing from every watch; and full recovery within ${seconds(rightBoundMs)}.`,
    ...records.flatMap(allowanceOf),
    '',
    ...tableOf(records, 'through'),
    '',
    '## Directly to the servers',
    '',
    ...tableOf(records, 'straight'),
    '',
    '## What the operator reported',
    '',
    'Each server is checked every second, so the times are exact to about a second. If an event restarts one server after another,',
    'the time of `Converged` includes the full recovery between them.',
    '',
    '| Event | `Converged` was `True` between the first server’s stop and the last one’s return | Longest time between two confirmations of the table |',
    '|---|---|---|',
    ...records.map(
      ({ event: { name }, verdict: { operator } }) =>
        `| ${name} | ${seconds(operator.convergedMs)} | ${seconds(operator.silenceMs)} |`,
    ),
    '',
    '## The events',
    '',
    ...records.map(
      ({ event, verdict }) => `- **${event.name}:** ${[event.does, ...event.notes, ...gapsOf(verdict)].join(' ')}`,
    ),
    '',
    '## How it is measured',
    '',
    ...(newest?.lines ?? []).map((line) => `- ${line}`),
    ...runsOf(records),
    '- Every endpoint (three proxies, three servers) gets four reads and a write each second, whether or not the last one was answered; a client gives up after 20 s. The clients are an administrator’s: they use a client certificate and kept HTTP/1.1 connections.',
    '- A write creates a ConfigMap whose name the server chooses. Its label allows the count at the end. Each endpoint has a watch.',
    '- The cluster has recovered when five checks in a row find that every server answers `/readyz`, every Node and every Pod of PeerDiscovery is Ready, and the PeerDiscovery is Ready and Converged. The time runs from the end of the event’s last action.',
    `- Unanswered requests to the endpoints of a machine without power do not count, nor do refused connections to a proxy that is being replaced, for at most ${refusedBoundMs / 1_000} s. Answers from these endpoints count.`,
    '- The load average is that of this machine at the end of the event. Far above the number of cores, all programs wait for the processors.',
    `- An answer after more than ${seconds(answerBoundMs)} counts as none, except through a proxy at a moment when a server that is on is as late to a direct client.`,
    '- If only the server restarts and its machine stays on, the answers to its direct clients count.',
  ].join('\n')}\n`;
}

function tableOf(records: readonly LifeRecord[], side: 'through' | 'straight'): readonly string[] {
  const cells = (values: readonly (string | number)[]) => `| ${values.join(' | ')} |`;
  return [
    cells(['Event', 'Load average', 'Took', ...columns.map(([name]) => name), 'Recovered after']),
    cells(['---', '---', '---', ...columns.map(() => '---'), '---']),
    ...records.map(({ event: { name, loadAverage, from, actedAt, rightAt }, verdict }) =>
      cells([
        name,
        loadAverage.toFixed(0),
        seconds(actedAt - from),
        ...columns.map(([, pick]) => pick(verdict[side])),
        rightAt === undefined ? 'never' : seconds(rightAt - actedAt),
      ]),
    ),
  ];
}

/** What the tables do not say of an event. */
function gapsOf({ refused, late, lateAsDirect }: LifeRecord['verdict']): readonly string[] {
  const bound = seconds(answerBoundMs);
  return [
    ...refused.map(([way, ms]) => `${way} refused connections for ${(ms / 1_000).toFixed(1)} s.`),
    ...(late === 0
      ? []
      : [`Of the unanswered requests through proxies, ${late} got an answer after more than ${bound}.`]),
    ...(lateAsDirect === 0
      ? []
      : [
          `${lateAsDirect} answers through proxies took more than ${bound}, as did the servers’ answers to direct clients at that moment.`,
        ]),
  ];
}

/** Why the recovery from an event may take longer than from others. */
function allowanceOf({ event: { name, allowedMs } }: LifeRecord): readonly string[] {
  return allowedMs === 0
    ? []
    : [
        `The event “${name}” has ${seconds(allowedMs)} more, because the operator forgets a server only after \`spec.goneAfter\`.`,
      ];
}

/** Which events shared a cluster, if not all did. */
function runsOf(records: readonly LifeRecord[]): readonly string[] {
  const runs = [...Map.groupBy(records, ({ run }) => run).values()];
  const named = runs.map((run) => run.map(({ event }) => event.name).join(', '));
  return runs.length < 2 ? [] : [`- The events ran on ${runs.length} clusters: ${named.join('; ')}.`];
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
