import {
  type ClientFigures,
  clientShortcomings,
  failedReconciles,
  levelBound,
  type ManagerFigures,
  type Tally,
  unevenness,
} from './client-figures.ts';
import { newApiOf } from './new-api.ts';
import {
  answerBoundMs,
  isWrong,
  type Observations,
  type OperatorVerdict,
  servedSince,
  shortcomings,
  silenceBoundMs,
  startOf,
  type Verdict,
  type WrongRequest,
  wronglyConvergedBoundMs,
} from './samples.ts';
import type { SideRecord, UpgradeRecord } from './upgrade-records.ts';

/** The number of failures of each kind that the report names. */
const shownFailures = 3;
const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
/** The interval at which each endpoint of the load is used, and what counts as what. */
export const method: readonly string[] = [
  'Every endpoint (three proxies, three servers) gets two reads of a ConfigMap, two of an API that only the new version serves, and a write each second, whether or not the last one was answered; a client gives up after 20 s. The clients are an administrator’s: they use a client certificate and kept HTTP/1.1 connections.',
  'A write creates a ConfigMap whose name the server chooses. Its label allows the count at the end.',
  '404 for the new API is wrong once any client has got a 200 for it. For everything else it is always wrong.',
  'Each endpoint has a watch that starts from a list, and resumes where it ended. An event counts as shown if a watch through any proxy had it.',
  'If the CPU is short, the process with the load balancers and the plain requests goes first. All machines together have eight times the share of a process at the default priority, and each client program has a third of it, because real clients have machines of their own.',
  'Every second, each server is asked for `/readyz` and `/version`. The first ready server is also asked for the PeerDiscovery and for the Lease by which the operator confirms its table.',
  'The programs of the second table use a load balancer for TCP before the three proxies, or one before the three servers. It checks `/readyz` every 2 s, and gives a new connection to the endpoint with the fewest. Each workload runs in a loop with a pause of some seconds.',
  'Streams run for 15 s. They started if their first output came within 20 s. A kubelet that does not listen on its port, that cannot ask its own restarting server what a kube-apiserver may do, or that has not read its Pods from there yet, is not the fault of an endpoint.',
  '`helm` also fails if it is told that no server has an API after some server has served it.',
  'Informers follow the ConfigMaps of the load, and all Pods and Deployments. Their objects are compared with the cluster’s when nothing changes any more. Two candidates with the durations of kube-controller-manager compete for a Lease.',
  'A manager of controller-runtime with leader election and a cache has a controller that keeps a Secret in step with each of 21 ConfigMaps, by server-side apply. Each second, one of them is created, updated or deleted at a server. The manager repeats a reconcile that fails, as it always does.',
  `${levelBound} times the mean is allowed for the long-lived watches of each side: half of them use HTTP/2, half HTTP/1.1, each over a connection of its own. They are counted by the servers’ own metrics when no server has restarted for two minutes.`,
  'The proxies’ own connections have no bound. While a write runs, it has a connection to itself; other requests share one. So most connections are at the home of the client that writes most, here the leading kube-controller-manager, and one client has one home.',
  'With this project, each kube-controller-manager uses the proxy of its machine, as the guide for clients says. It deletes the namespaces of all clients.',
];

/** What is new in a version, and how its servers come to serve it. */
export function newApiLine(version: string): string {
  const { list, object, flags } = newApiOf(version);
  const how =
    flags.length === 0 ? 'serves it by default' : `serves it because kubeadm’s patches add ${flags.join(' ')}`;
  return `The API that only ${version} serves: clients read \`${list}\`. Namespaces are created with a ${object.kind} of \`${object.apiVersion}\` once some server serves it; ${version} ${how}.`;
}

/** One column of a table: a side of an upgrade. */
export interface Column {
  readonly heading: string;
  readonly side: SideRecord;
  /** True if it has to meet the requirements, as the proxies have. */
  readonly isRequired: boolean;
}

/** Requirements for clients of the proxies and for the operator that an upgrade did not meet. */
export function shortOf({ through, operator }: UpgradeRecord): readonly string[] {
  if (through === undefined || operator === undefined) return [];
  return [...shortcomings(through.requests, operator), ...clientShortcomings(through.clients)];
}

/**
 * Reports an upgrade with this project as Markdown, with the picture `upgrade.svg`. `upstream` is the same upgrade with
 * Kubernetes' own peer proxy.
 */
export function writeUpgradeReport(product: UpgradeRecord, upstream: UpgradeRecord | undefined): string {
  const { versions, through, straight, operator, failure } = product;
  const short = shortOf(product);
  const columns: readonly Column[] = [
    ...(through === undefined ? [] : [{ heading: 'Through the proxies', side: through, isRequired: true }]),
    { heading: 'Directly to the servers', side: straight, isRequired: false },
    ...(upstream === undefined
      ? []
      : [{ heading: 'With `--peer-ca-file` instead', side: upstream.straight, isRequired: false }]),
  ];
  return `${[
    `# A real upgrade, ${versions.join(' to ')}, under load`,
    '',
    'Written by `make test-cluster`. kubeadm sets up three machines, each with its own etcd. `kubeadm upgrade` upgrades them one',
    'after the other, while clients send requests through each machine’s proxy and directly to each server.',
    '',
    ...(upstream === undefined ? [] : [upstreamLine(upstream), '']),
    '![Servers, Converged and failed requests over the time of the upgrade](upgrade.svg)',
    '',
    ...(failure === undefined ? [] : [`The upgrade did not finish: ${failure.split('\n')[0]}`, '']),
    short.length === 0 ? 'All requirements were met.' : `Requirements that were not met: ${short.join('; ')}.`,
    '',
    ...requestTable(columns),
    '',
    ...clientTable(columns),
    '',
    ...failureLines(columns),
    ...(operator === undefined ? [] : operatorTable([{ heading: 'Seen', operator }])),
    '## Steps',
    '',
    ...stepTable(product),
    '',
    '## How it is measured',
    '',
    ...[...product.lines, ...method, newApiLine(versions[1])].map((line) => `- ${line}`),
  ].join('\n')}\n`;
}

function upstreamLine({ failure, lines }: UpgradeRecord): string {
  const end = failure === undefined ? '' : ` It did not finish: ${failure.split('\n')[0]}`;
  return `\`make test-cluster ARGS=--peer-ca-file\` did the same without this project: upgraded servers used Kubernetes’ own peer proxy, and clients asked the servers.${end} ${lines[0] ?? ''}`;
}

/** A row of a table. */
function rowOf(columns: readonly Column[], what: string, show: (side: SideRecord) => Shown, bound = ''): string {
  const cells = columns.map(({ side, isRequired }) => {
    const { text, isGood } = show(side);
    return !isRequired || isGood ? text : `**${text}**`;
  });
  return `| ${[what, ...cells, bound].join(' | ')} |`;
}

/** The content of a cell, and whether it meets the requirement. */
interface Shown {
  readonly text: string;
  readonly isGood: boolean;
}

function headOf(columns: readonly Column[], what: string): readonly string[] {
  return [
    `| ${[what, ...columns.map(({ heading }) => heading), 'Required through the proxies'].join(' | ')} |`,
    `| ${['---', ...columns.map(() => '---'), '---'].join(' | ')} |`,
  ];
}

/** The table of the plain requests. */
export function requestTable(columns: readonly Column[]): readonly string[] {
  const row = (what: string, pick: (verdict: Verdict) => number, bound?: number) =>
    rowOf(
      columns,
      what,
      ({ requests }) => ({ text: String(pick(requests)), isGood: bound === undefined || pick(requests) <= bound }),
      bound === undefined ? '' : String(bound),
    );
  const within = `within ${answerBoundMs / 1_000} s`;
  return [
    ...headOf(columns, 'What clients saw'),
    row('Requests', ({ requests }) => requests),
    row(`Reads without an answer ${within}`, ({ unansweredReads }) => unansweredReads, 0),
    row(`Writes without an answer ${within}`, ({ unansweredWrites }) => unansweredWrites, 0),
    row('401 and 403 for an administrator', ({ refusedUsers }) => refusedUsers, 0),
    row('404 for a resource that a server of the control plane serves', ({ wrongNotFound }) => wrongNotFound, 0),
    row('429, 503 and 504', ({ unavailable }) => unavailable),
    row('Other answers', ({ other }) => other),
    row('Confirmed writes', ({ confirmedWrites }) => confirmedWrites),
    row('… that are missing', ({ lostWrites }) => lostWrites, 0),
    row('… that no watch showed', ({ lostEvents }) => lostEvents, 0),
    row('Writes carried out twice', ({ doubledWrites }) => doubledWrites, 0),
  ];
}

/** The table of the programs. */
export function clientTable(columns: readonly Column[]): readonly string[] {
  const names = columns[0]?.side.clients.tallies.map(({ workload }) => workload) ?? [];
  const count = (what: string, pick: (clients: ClientFigures) => number, bound?: number) =>
    rowOf(
      columns,
      what,
      ({ clients }) => ({ text: String(pick(clients)), isGood: bound === undefined || pick(clients) <= bound }),
      bound === undefined ? '' : String(bound),
    );
  const managed = (what: string, pick: (manager: ManagerFigures) => number, bound?: number) =>
    rowOf(columns, what, ({ clients: { manager } }) => shownCount(manager && pick(manager), bound), bound?.toString());
  const spread = (what: string, pick: (clients: ClientFigures) => readonly number[] | undefined) =>
    rowOf(columns, what, ({ clients }) => shownSpread(pick(clients)), `${levelBound} times the mean`);
  return [
    ...headOf(columns, 'What programs did'),
    ...names.map((name) =>
      rowOf(
        columns,
        name,
        ({ clients }) => shownTally(clients.tallies.find(({ workload }) => workload === name)),
        '0 failed',
      ),
    ),
    count('Objects that informers follow', ({ informerObjects }) => informerObjects),
    count('… of which they have a wrong idea at the end', ({ informerDifferences }) => informerDifferences.length, 0),
    count('Leaders that lost their Lease', ({ leadersLost }) => leadersLost, 0),
    managed('Reconciles of a controller-runtime manager', ({ reconciles }) => reconciles),
    managed('… of which failed and were repeated', failedReconciles),
    managed('Objects that the manager keeps in step', ({ objects }) => objects),
    managed('… out of step at the end', ({ outOfStep }) => outOfStep.length, 0),
    managed('Exits of the manager', ({ exits }) => exits.length, 0),
    count('Deleted namespaces that are still there', ({ namespacesLeft }) => namespacesLeft.length, 0),
    count('Objects left in namespaces that are gone', ({ orphans }) => orphans.length, 0),
    count('Long-lived watches', ({ held }) => held.watches),
    count('… requests for them', ({ held }) => held.requests),
    count('… of which failed', ({ held }) => held.failed, 0),
    count('… watches that had to list again', ({ held }) => held.relisted),
    count('… events that a watch did not show', ({ held }) => held.missed, 0),
    spread('… at each server, two minutes after the last restart', ({ held }) => held.perServer),
    spread('Clients’ connections at each endpoint then', ({ held }) => held.perEndpoint),
    rowOf(columns, 'The proxies’ connections at each server then', ({ clients }) => ({
      ...shownSpread(clients.proxyConnections),
      isGood: true,
    })),
  ];
}

function shownTally(tally: Tally | undefined): Shown {
  if (tally === undefined) return { text: '', isGood: true };
  const { attempts, failed, cut, kubeletAway } = tally;
  const parts = [
    `${failed} of ${attempts} failed`,
    ...(cut === 0 ? [] : [`${cut} streams cut`]),
    ...(kubeletAway === 0 ? [] : [`${kubeletAway} without a kubelet`]),
  ];
  return { text: parts.join(', '), isGood: failed === 0 };
}

/** Nothing if the side has no such number. */
function shownCount(count: number | undefined, bound: number | undefined): Shown {
  if (count === undefined) return { text: '', isGood: true };
  return { text: String(count), isGood: bound === undefined || count <= bound };
}

function shownSpread(numbers: readonly number[] | undefined): Shown {
  if (numbers === undefined || numbers.length === 0) return { text: '', isGood: true };
  const times = unevenness(numbers);
  return { text: `${numbers.join(', ')} (${times.toFixed(2)})`, isGood: times <= levelBound };
}

/** The first failures of each column, by seconds after the start of the load. */
export function failureLines(columns: readonly Column[]): readonly string[] {
  const lines = columns.flatMap(({ heading, side: { clients, wrong = [] } }) => {
    const ofWorkloads = clients.tallies.flatMap(({ workload, failures }) =>
      failures.slice(0, shownFailures).map((failure) => `${workload}, ${failure}`),
    );
    const ofWatches = clients.held.failures.slice(0, shownFailures).map((failure) => `long-lived watches, ${failure}`);
    const different = clients.informerDifferences
      .slice(0, shownFailures)
      .map((difference) => `informers: ${difference}`);
    const left = [...clients.namespacesLeft, ...clients.orphans].slice(0, shownFailures).map((name) => `left: ${name}`);
    return [...wrong.map(wrongLine), ...ofWorkloads, ...ofWatches, ...different, ...managerLines(clients), ...left].map(
      (line) => `- ${heading}: ${line}`,
    );
  });
  return lines.length === 0 ? [] : ['## The first failures of each kind', '', ...lines, ''];
}

/** A request with a wrong answer. If none came in time, the line tells how quick the servers were then. */
function wrongLine({ way, kind, afterMs, tookMs, status, outcome, error, serverMs }: WrongRequest): string {
  const what = kind === 'write' ? 'write' : kind === 'new' ? 'read of the new API' : 'read';
  const end =
    status === 0 ? `no answer after ${seconds(tookMs)} (${error ?? 'unknown'})` : `${status} after ${seconds(tookMs)}`;
  const beside =
    serverMs === undefined
      ? 'no server answered its own clients then'
      : `a server itself took ${seconds(serverMs)} then`;
  const line = `${what} at ${way}, ${(afterMs / 1_000).toFixed(0)} s: ${end}`;
  return outcome === 'noAnswer' ? `${line}; ${beside}` : line;
}

/** The commonest errors of the manager's reconciles, why it ended, and what it has out of step. */
function managerLines({ manager }: ClientFigures): readonly string[] {
  if (manager === undefined) return [];
  const { failures, exits, outOfStep } = manager;
  const errors = Object.entries(failures).sort(([, one], [, other]) => other - one);
  return [
    ...errors.slice(0, shownFailures).map(([error, count]) => `${count} reconciles: ${error}`),
    ...exits.slice(0, shownFailures).map((error) => `the manager ended: ${error}`),
    ...outOfStep.slice(0, shownFailures).map((object) => `out of step: ${object}`),
  ];
}

/** The table of the operator's behaviour, in one column for each upgrade. */
export function operatorTable(
  columns: readonly { readonly heading: string; readonly operator: OperatorVerdict }[],
): readonly string[] {
  const row = (what: string, pick: (operator: OperatorVerdict) => number, bound: string) =>
    `| ${[what, ...columns.map(({ operator }) => seconds(pick(operator))), bound].join(' | ')} |`;
  return [
    `| ${['What the operator reported', ...columns.map(({ heading }) => heading), 'Required'].join(' | ')} |`,
    `|${'---|'.repeat(columns.length + 2)}`,
    row(
      '`Converged` was `True` between the first server’s stop and the last one’s return',
      ({ convergedMs }) => convergedMs,
      '',
    ),
    row(
      'Longest time for which it stayed `True` while a server was not ready or had another version',
      ({ wronglyConvergedMs }) => wronglyConvergedMs,
      seconds(wronglyConvergedBoundMs),
    ),
    row(
      'Longest time between two confirmations of the table (due every 5 s)',
      ({ silenceMs }) => silenceMs,
      seconds(silenceBoundMs),
    ),
    '',
  ];
}

/** The steps of an upgrade. */
export function stepTable({ steps }: UpgradeRecord): readonly string[] {
  return [
    '| Step | Began after | Took |',
    '|---|---|---|',
    ...steps.map(({ name, afterMs, tookMs }) => `| ${name} | ${seconds(afterMs)} | ${seconds(tookMs)} |`),
  ];
}

const width = 960;
const left = 150;
const rowHeight = 26;
const colours = { gone: '#dc2626', old: '#2563eb', new: '#16a34a', grey: '#94a3b8', amber: '#f59e0b' };
const converged: Readonly<Record<string, string>> = { True: colours.new, False: colours.amber, Unknown: colours.grey };

/** A picture of the versions of the servers, `Converged`, and failed requests, second by second. */
export function drawTimeline(observed: Observations, versions: UpgradeRecord['versions']): string {
  const { samples, sights, steps } = observed;
  const servedFrom = servedSince(samples);
  const start = startOf(observed);
  const end = (sights.at(-1)?.at ?? start) + 1_000;
  const x = (at: number) => left + ((at - start) / (end - start)) * (width - left - 16);
  const parts: string[] = [];
  let y = 44;
  const text = (at: number, line: number, what: string, anchor = 'start') =>
    parts.push(`<text x="${at.toFixed(1)}" y="${line}" text-anchor="${anchor}">${what}</text>`);
  const box = (from: number, to: number, line: number, height: number, colour: string) =>
    parts.push(
      `<rect x="${x(from).toFixed(1)}" y="${line}" width="${Math.max(1, x(to) - x(from)).toFixed(1)}" height="${height}" fill="${colour}"/>`,
    );
  for (const { name, from, to } of steps) {
    box(from, to, y - 8, 6, '#cbd5e1');
    if (x(to) - x(from) > name.length * 6) text(x(from), y - 12, name);
  }
  const stripe = (name: string, colourOf: (index: number) => string) => {
    text(left - 8, y + 16, name, 'end');
    for (const [from, to, colour] of runsOf(
      sights.map(({ at }, index) => [at, colourOf(index)] as const),
      end,
    ))
      box(from, to, y + 4, rowHeight - 8, colour);
    y += rowHeight;
  };
  for (const index of [0, 1, 2])
    stripe(`server of m${index + 1}`, (sight) => {
      const version = sights[sight]?.servers[index];
      if (version === undefined) return colours.gone;
      return version === versions[1] ? colours.new : colours.old;
    });
  stripe('Converged', (sight) => converged[sights[sight]?.converged ?? 'Unknown'] ?? colours.grey);
  for (const proxied of [true, false]) {
    const wrong = samples.filter((sample) => sample.proxied === proxied && isWrong(sample, servedFrom));
    text(left - 8, y + 16, `wrong, ${proxied ? 'proxies' : 'servers'}`, 'end');
    for (const sample of wrong) box(sample.startedAt, sample.startedAt + 500, y + 4, rowHeight - 8, colours.gone);
    y += rowHeight;
  }
  for (let minute = 0; start + minute * 60_000 < end; minute += 1)
    text(x(start + minute * 60_000), y + 18, `${minute} min`);
  const legend = [
    [colours.old, versions[0]],
    [colours.new, `${versions[1]}, True`],
    [colours.gone, 'not ready, or wrong'],
    [colours.amber, 'False'],
    [colours.grey, 'Unknown'],
  ] as const;
  for (const [index, [colour, name]] of legend.entries()) {
    parts.push(`<rect x="${left + index * 160}" y="${y + 30}" width="12" height="12" fill="${colour}"/>`);
    text(left + index * 160 + 18, y + 41, name);
  }
  const height = y + 60;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#1e293b" role="img" aria-label="Servers, Converged and failed requests over the time of the upgrade"><rect width="${width}" height="${height}" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`;
}

/** Merges neighbours with the same value: from, to, value. */
function runsOf(
  points: readonly (readonly [number, string])[],
  end: number,
): readonly (readonly [number, number, string])[] {
  const runs: [number, number, string][] = [];
  for (const [at, value] of points) {
    const last = runs.at(-1);
    if (last !== undefined) last[1] = at;
    if (last?.[2] !== value) runs.push([at, at, value]);
  }
  const last = runs.at(-1);
  if (last !== undefined) last[1] = end;
  return runs;
}
