import {
  answerBoundMs,
  isWrong,
  judge,
  judgeOperator,
  type Observations,
  servedSince,
  shortcomings,
  silenceBoundMs,
  type Verdict,
} from './samples.ts';

/** The content of the report besides what clients saw. */
export interface Setting {
  /** The versions before and after. */
  readonly versions: readonly [string, string];
  /** Lines about the machine and the durations. */
  readonly lines: readonly string[];
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
const cell = (n: number, isGood: boolean) => (isGood ? String(n) : `**${n}**`);

/** Reports an upgrade as Markdown, with the picture `upgrade.svg`. */
export function writeUpgradeReport(observed: Observations, { versions, lines }: Setting): string {
  const through = judge(observed, true);
  const straight = judge(observed, false);
  const operator = judgeOperator(observed);
  const short = shortcomings(through, operator);
  const row = (what: string, pick: (verdict: Verdict) => number, bound?: number) =>
    `| ${what} | ${cell(pick(through), bound === undefined || pick(through) <= bound)} | ${pick(straight)} | ${bound ?? ''} |`;
  const within = `within ${answerBoundMs / 1_000} s`;
  return `${[
    `# A real upgrade, ${versions.join(' to ')}, under load`,
    '',
    'Written by `make test-cluster`. kubeadm sets up three machines, each with its own etcd. `kubeadm upgrade` upgrades them one',
    'after the other, while clients send requests through each machine’s proxy and directly to each server.',
    '',
    '![Servers, Converged and failed requests over the time of the upgrade](upgrade.svg)',
    '',
    ...(observed.failure === undefined ? [] : [`The upgrade did not finish: ${observed.failure.split('\n')[0]}`, '']),
    short.length === 0 ? 'All requirements were met.' : `Requirements that were not met: ${short.join('; ')}.`,
    '',
    '| What clients saw | Through the proxies | Directly to the servers | Required through the proxies |',
    '|---|---|---|---|',
    row('Requests', ({ requests }) => requests),
    row(`Reads without an answer ${within}`, ({ unansweredReads }) => unansweredReads, 0),
    row(`Writes without an answer ${within}`, ({ unansweredWrites }) => unansweredWrites, 0),
    row('401 and 403 for an administrator', ({ refusedUsers }) => refusedUsers, 0),
    row('404 for a resource that a server of the control plane serves', ({ wrongNotFound }) => wrongNotFound, 0),
    row('429, 503 and 504', ({ unavailable }) => unavailable),
    row('Other answers', ({ other }) => other),
    row('Confirmed writes', ({ confirmedWrites }) => confirmedWrites),
    row('… that are missing', ({ lostWrites }) => lostWrites, 0),
    row('… that no watch through a proxy showed', ({ lostEvents }) => lostEvents, 0),
    row('Writes carried out twice', ({ doubledWrites }) => doubledWrites, 0),
    '',
    '| What the operator reported | Seen | Required |',
    '|---|---|---|',
    `| \`Converged\` was \`True\` between the first server’s stop and the last one’s return | ${seconds(operator.convergedMs)} | never |`,
    `| Longest time between two confirmations of the table (due every 5 s) | ${seconds(operator.silenceMs)} | ${seconds(silenceBoundMs)} |`,
    '',
    '## Steps',
    '',
    '| Step | Began after | Took |',
    '|---|---|---|',
    ...observed.steps.map(
      ({ name, from, to }) => `| ${name} | ${seconds(from - startOf(observed))} | ${seconds(to - from)} |`,
    ),
    '',
    '## How it is measured',
    '',
    ...lines.map((line) => `- ${line}`),
    '- Every endpoint (three proxies, three servers) gets two reads of a ConfigMap, two of an API that only the new version serves, and a write each second, whether or not the last one was answered; a client gives up after 20 s. The clients are an administrator’s: they use a client certificate and kept HTTP/1.1 connections.',
    '- A write creates a ConfigMap whose name the server chooses. Its label allows the count at the end.',
    '- 404 for the new API is wrong once any client has got a 200 for it. For everything else it is always wrong.',
    '- Each endpoint has a watch that starts from a list, and resumes where it ended. An event counts as shown if a watch through any proxy had it.',
    '- Every second, each server is asked for `/readyz` and `/version`. The first ready server is also asked for the PeerDiscovery and for the Lease by which the operator confirms its table.',
  ].join('\n')}\n`;
}

/** The time of the first observation. */
function startOf({ samples, sights }: Observations): number {
  return Math.min(samples[0]?.startedAt ?? Number.POSITIVE_INFINITY, sights[0]?.at ?? Number.POSITIVE_INFINITY);
}

const width = 960;
const left = 150;
const rowHeight = 26;
const colours = { gone: '#dc2626', old: '#2563eb', new: '#16a34a', grey: '#94a3b8', amber: '#f59e0b' };
const converged: Readonly<Record<string, string>> = { True: colours.new, False: colours.amber, Unknown: colours.grey };

/** A picture of the versions of the servers, `Converged`, and failed requests, second by second. */
export function drawTimeline(observed: Observations, { versions }: Setting): string {
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
