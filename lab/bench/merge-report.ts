/** The cost of one fleet size here. Times are medians in milliseconds, unless a name says otherwise. */
export interface Ours {
  readonly readMs: number;
  readonly longestReadMs: number;
  readonly mergeMs: number;
  readonly encodeMs: number;
  /** Merge, table and divergences of the whole fleet, without the encoding. */
  readonly passMs: number;
  readonly firstPassMs: number;
  /** Merge, encoding and ETag after a change of one peer. */
  readonly changedMs: number;
  readonly changedPassMs: number;
  readonly changedReadMs: number;
  readonly statusMs: number;
  readonly publishMs: number;
  readonly publishedKiB: number;
  readonly shards: number;
  readonly heapMiB: number;
  readonly divergent: number;
  readonly etag: string;
  readonly changedEtag: string;
}

/** The same work by upstream's own package. */
export interface Theirs {
  readonly readMs: number;
  readonly mergeMs: number;
  readonly encodeMs: number;
  readonly changedMs: number;
  readonly heapMiB: number;
  readonly allocatedMiB: number;
  readonly etag: string;
  readonly changedEtag: string;
}

/** One fleet size, measured both ways in one run. Both merges gave the same ETag. */
export interface MergeMeasurement {
  readonly peers: number;
  readonly resources: number;
  readonly ours: Ours;
  readonly theirs: Theirs;
}

const ms = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const number = (value: number) => value.toLocaleString('en-US');

/** The measurements as Markdown, with each target next to its figure. */
export function writeMergeReport(setting: readonly string[], measurements: readonly MergeMeasurement[]): string {
  const full = ({ ours }: MergeMeasurement) => ours.mergeMs + ours.encodeMs;
  const theirFull = ({ theirs }: MergeMeasurement) => theirs.mergeMs + theirs.encodeMs;
  const slower = measurements.filter((one) => full(one) > theirFull(one));
  const sizes = (list: readonly MergeMeasurement[]) =>
    list.map(({ peers, resources }) => `${peers} × ${number(resources)}`).join(', ');
  const largest = measurements.at(-1);
  const longest = Math.max(
    ...measurements.flatMap(({ ours }) => [
      ours.longestReadMs,
      ours.firstPassMs,
      ours.passMs,
      ours.encodeMs,
      ours.statusMs,
    ]),
  );
  return `${[
    '# The merge compared with Kubernetes’ own',
    '',
    'Written by `make bench ARGS=merge`. The figures are from one machine: compare the ratios, and run it on yours.',
    '',
    ...setting.map((line) => `- ${line}`),
    '- Both programs merge the same documents in the same run. The run fails unless both ETags are equal, before and after the change.',
    '',
    '![Time of a merge over the number of resources, for 3, 10 and 100 peers](merge.svg)',
    '',
    '## Merge, encoding and ETag',
    '',
    'Medians in milliseconds. “After a change” is the same work after one peer has listed one more resource: upstream merges everything again. Both sides must also read the changed document; the next table has that time as the longest single read.',
    '',
    '| Peers | Resources | Full: ours | Full: upstream | Ratio | After a change: ours | After a change: upstream | Ratio |',
    '|--:|--:|--:|--:|--:|--:|--:|--:|',
    ...measurements.map((one) => {
      const { peers, resources, ours, theirs } = one;
      return `| ${peers} | ${number(resources)} | ${ms(full(one))} (${ms(ours.mergeMs)} + ${ms(ours.encodeMs)}) | ${ms(theirFull(one))} (${ms(theirs.mergeMs)} + ${ms(theirs.encodeMs)}) | ${(full(one) / theirFull(one)).toFixed(2)} | ${ms(ours.changedMs)} | ${ms(theirs.changedMs)} | ${(ours.changedMs / theirs.changedMs).toFixed(3)} |`;
    }),
    '',
    slower.length === 0
      ? 'Target, no slower than upstream: met at every size.'
      : `Target, no slower than upstream: **not met** for a full merge at ${sizes(slower)}. In brackets is merge + encoding with ETag.`,
    '',
    '## Around the merge, and memory',
    '',
    'Reading decodes and checks a document, and shares the parts that peers have in common. It is listed because this sharing makes our merge fast. A pass is merge, table and divergences together. Publishing is packing, JSON and gzip; gzip runs off the event loop.',
    '',
    '| Peers | Resources | Reading all: ours | Reading all: upstream | Longest single read | Full pass | Pass after a change | Status | Publishing | Published | Heap: ours | Heap: upstream |',
    '|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|',
    ...measurements.map(
      ({ peers, resources, ours, theirs }) =>
        `| ${peers} | ${number(resources)} | ${ms(ours.readMs)} ms | ${ms(theirs.readMs)} ms | ${ms(ours.longestReadMs)} ms | ${ms(ours.passMs)} ms (first ${ms(ours.firstPassMs)}) | ${ms(ours.changedPassMs)} ms | ${ms(ours.statusMs)} ms | ${ms(ours.publishMs)} ms | ${ours.publishedKiB.toFixed(0)} KiB in ${ours.shards} | ${ours.heapMiB.toFixed(0)} MiB | ${theirs.heapMiB.toFixed(0)} MiB |`,
    ),
    '',
    `The longest that any one step held the event loop was ${ms(longest)} ms${largest === undefined ? '' : `, in a fleet of up to ${largest.peers} peers by ${number(largest.resources)} resources`}; nothing is sliced, as probes of liveness wait no longer than that.`,
    '',
    '## How it is measured',
    '',
    '- The fleet is in the middle of an upgrade: half of the servers list everything, two fifths are a release behind (5 % of the groups and some resources, subresources and verbs missing), and every tenth lacks 2 % of the groups, in another order. Servers of one release send the same text, as real ones do.',
    '- Ours reads identical documents of several peers only once, and recognises equal parts of different documents by identity. Upstream reads each server’s document separately, as kube-apiserver does.',
    '- Heap is the memory of the documents and all results after a garbage collection; ours includes the memo, the table and the encoded text.',
    '- Ours is measured after a warm-up, because an operator runs for a long time: the first merges of a fresh process take about twice as long (3 × 500: 4.6 ms, 3 × 5,000: 42 ms in an earlier run, upstream 2.4 and 37 ms).',
    '- Ours is one Node thread, run from the TypeScript sources; the Go program may use all cores for garbage collection.',
  ].join('\n')}\n`;
}

const series = [
  {
    name: 'upstream, full and after a change',
    color: '#d97706',
    of: ({ theirs }: MergeMeasurement) => theirs.mergeMs + theirs.encodeMs,
  },
  { name: 'ours, full', color: '#2563eb', of: ({ ours }: MergeMeasurement) => ours.mergeMs + ours.encodeMs },
  { name: 'ours, after a change', color: '#059669', of: ({ ours }: MergeMeasurement) => ours.changedMs },
];

const panel = { width: 260, height: 220, left: 52, top: 56, gap: 24 };

/** A chart with a panel for each number of peers; both axes are logarithmic. */
export function writeChart(measurements: readonly MergeMeasurement[]): string {
  const peers = [...new Set(measurements.map((one) => one.peers))];
  const resources = [...new Set(measurements.map((one) => one.resources))];
  const values = measurements.flatMap((one) => series.map(({ of }) => of(one)));
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
  const [first, last] = [Math.log10(Math.min(...resources)), Math.log10(Math.max(...resources))];
  const x = (value: number) => ((Math.log10(value) - first) / (last - first)) * (panel.width - 20) + 10;
  const y = (value: number) => panel.height - ((Math.log10(value) - low) / (high - low)) * panel.height;
  const width = panel.left + peers.length * (panel.width + panel.gap);
  const height = panel.top + panel.height + 48;
  const decades = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  const text = (at: readonly [number, number], words: string, more = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${more}>${words}</text>`;
  const draw = (count: number, index: number): string => {
    const own = measurements.filter((one) => one.peers === count);
    const lines = series.map(({ color, of }) => {
      const points = own.map((one) => `${x(one.resources).toFixed(1)},${y(of(one)).toFixed(1)}`);
      const dots = points.map(
        (point) => `<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="3" fill="${color}"/>`,
      );
      return `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>${dots.join('')}`;
    });
    const grid = decades.map(
      (value) =>
        `<line x1="0" x2="${panel.width}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#cbd5e1"/>${index === 0 ? text([-6, y(value) + 4], number(value), 'text-anchor="end"') : ''}`,
    );
    const ticks = resources.map((value) => text([x(value), panel.height + 16], number(value), 'text-anchor="middle"'));
    const title = text([panel.width / 2, -8], `${count} peers`, 'text-anchor="middle" font-weight="bold"');
    return `<g transform="translate(${panel.left + index * (panel.width + panel.gap)} ${panel.top})">${[...grid, ...lines, ...ticks, title].join('')}</g>`;
  };
  const legend = series.map(
    ({ name, color }, index) =>
      `<rect x="${panel.left + index * 270}" y="12" width="12" height="12" fill="${color}"/>${text([panel.left + index * 270 + 18, 22], name)}`,
  );
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#1e293b" role="img" aria-label="Milliseconds for merge, encoding and ETag over the number of resources, for ${peers.join(', ')} peers">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...legend,
    ...peers.map(draw),
    text(
      [width / 2, height - 8],
      'resources; milliseconds for merge, encoding and ETag, both axes logarithmic',
      'text-anchor="middle"',
    ),
    '</svg>',
  ].join('\n')}\n`;
}
