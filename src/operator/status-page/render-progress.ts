import { compareVersions } from '../../domain/served-version.ts';
import type { ObjectReport } from './build-report.ts';
import { formatMoment, formatSpan } from './format-time.ts';
import { type Html, html } from './html.ts';
import type { ProgressEntry } from './progress-history.ts';

/** One line of the chart: a number over time. */
interface Lane {
  readonly label: string;
  readonly kind: 'version' | 'ready' | 'differences' | 'doubt';
  readonly values: readonly number[];
  /** The value at full height. */
  readonly full: number;
  /** The current value, in words. */
  readonly now: string;
}

const maxVersions = 6;
const maxRows = 60;
const width = 1_000;
const height = 28;

/** The upgrade over time: a labelled lane per version, and the same as a table. */
export function renderProgress(object: ObjectReport, now: number): Html {
  const { history, name } = object;
  const [first] = history;
  const last = history.at(-1);
  if (first === undefined || last === undefined) return html`<p class="empty">The operator has seen nothing yet.</p>`;
  const versions = listVersions(history);
  const lanes = [...versionLanes(history, versions), ...otherLanes(history, last)];
  const times = history.map(({ at }) => at);
  const axis = [first.at, (first.at + now) / 2, now];
  return html`<p class="lead">${sayProgress(object, last)}</p>
<div class="lanes">
${lanes.map((lane) => renderLane(lane, times, now))}
<div class="lane axis" aria-hidden="true"><span></span><span class="ticks">${axis.map((at) => html`<span>${formatMoment(at, now - first.at)}</span>`)}</span><span></span></div>
</div>
<p class="aside">Watched for ${formatSpan(now - first.at)}, since this operator began to lead.</p>
<details id="${`history-${name}`}"><summary>Show as a table</summary>
${renderHistory(object, versions, now)}
</details>`;
}

function sayProgress({ differences }: ObjectReport, last: ProgressEntry): string {
  const known = Object.entries(last.versions).sort(([a], [b]) => compareVersions(b, a));
  const all = known.map(([version, count]) => `${count} on ${version}`).join(', ');
  if (known.length > 1) return `An upgrade is under way, or stopped halfway: of ${last.peers} servers, ${all}.`;
  const [only] = known;
  if (only === undefined) return 'No server is known.';
  const one = `${last.peers === 1 ? 'The one server runs' : `All ${last.peers} servers run`} ${only[0]}`;
  return differences > 0 ? `${one}, but they do not serve the same.` : `${one}.`;
}

function listVersions(history: readonly ProgressEntry[]): readonly string[] {
  return [...new Set(history.flatMap(({ versions }) => Object.keys(versions)))].sort((a, b) => compareVersions(b, a));
}

function versionLanes(history: readonly ProgressEntry[], versions: readonly string[]): readonly Lane[] {
  const full = Math.max(1, ...history.map(({ peers }) => peers));
  const peersNow = history.at(-1)?.peers ?? 0;
  const lane = (label: string, count: (entry: ProgressEntry) => number): Lane => {
    const values = history.map(count);
    return { label, kind: 'version', values, full, now: `${values.at(-1) ?? 0} of ${peersNow}` };
  };
  const shown = versions.slice(0, maxVersions).map((version) => lane(version, (entry) => entry.versions[version] ?? 0));
  const rest = versions.slice(maxVersions);
  if (rest.length === 0) return shown;
  const sumRest = (entry: ProgressEntry) => rest.reduce((sum, version) => sum + (entry.versions[version] ?? 0), 0);
  return [...shown, lane(`${rest.length} older versions`, sumRest)];
}

function otherLanes(history: readonly ProgressEntry[], last: ProgressEntry): readonly Lane[] {
  const most = (values: readonly number[]) => Math.max(1, ...values);
  const differences = history.map((entry) => entry.differences);
  return [
    {
      label: 'Ready',
      kind: 'ready',
      values: history.map(({ ready }) => ready),
      full: most(history.map(({ peers }) => peers)),
      now: `${last.ready} of ${last.peers}`,
    },
    {
      label: 'Differences',
      kind: 'differences',
      values: differences,
      full: most(differences),
      now: `${last.differences}`,
    },
    {
      label: 'In doubt',
      kind: 'doubt',
      values: history.map(({ inDoubt }) => (inDoubt ? 1 : 0)),
      full: 1,
      now: last.inDoubt ? 'yes' : 'no',
    },
  ];
}

function renderLane({ label, kind, values, full, now: words }: Lane, times: readonly number[], now: number): Html {
  const from = times[0] ?? now;
  const span = Math.max(1, now - from);
  const x = (at: number) => Math.round(((at - from) / span) * width * 10) / 10;
  const y = (value: number) => Math.round((height - 1 - (value / full) * (height - 3)) * 10) / 10;
  const steps = values.map(
    (value, index) => `${x(times[index] ?? now)},${y(value)} ${x(times[index + 1] ?? now)},${y(value)}`,
  );
  const line = steps.join(' ');
  const spoken = `${label}: ${sayValues(values, kind)}`;
  return html`<div class="${`lane ${kind}`}"><span class="lane-label">${label}</span>
<svg role="img" aria-label="${spoken}" viewBox="${`0 0 ${width} ${height}`}" preserveAspectRatio="none"><polygon points="${`0,${height} ${line} ${width},${height}`}"/><polyline points="${line}"/></svg>
<span class="lane-now">${words}</span></div>
`;
}

/** The course of a lane in words: first, highest or lowest, and last value. */
function sayValues(values: readonly number[], kind: Lane['kind']): string {
  const name = (value: number) => (kind === 'doubt' ? (value === 1 ? 'yes' : 'no') : String(value));
  const course = values.filter((value, index) => index === 0 || value !== values[index - 1]);
  if (course.length === 1) return `${name(course[0] ?? 0)} all the time`;
  const between = course.length > 6 ? [...course.slice(0, 2), ...course.slice(-3)] : course;
  const words = between.map(name);
  return course.length > 6
    ? `${words.slice(0, 2).join(', then ')}, ${course.length - 5} more changes, then ${words.slice(2).join(', then ')}`
    : words.join(', then ');
}

function renderHistory({ history, name }: ObjectReport, versions: readonly string[], now: number): Html {
  const shown = [...history].reverse().slice(0, maxRows);
  const columns = versions.slice(0, maxVersions);
  const left = history.length - shown.length;
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${`History of ${name}`}"><table class="plain"><caption class="unseen">${`What changed, the latest first${left > 0 ? `; ${left} earlier changes are left out` : ''}`}</caption>
<thead><tr><th scope="col">Since</th>${columns.map((version) => html`<th scope="col">${version}</th>`)}<th scope="col">Ready</th><th scope="col">Differences</th><th scope="col">In doubt</th><th scope="col">Lasted</th></tr></thead>
<tbody>${shown.map((entry, index) => {
    const until = index === 0 ? now : (shown[index - 1]?.at ?? now);
    return html`<tr><th scope="row">${formatMoment(entry.at, now - (history[0]?.at ?? now))}</th>${columns.map((version) => html`<td>${entry.versions[version] ?? 0}</td>`)}<td>${entry.ready} of ${entry.peers}</td><td>${entry.differences}</td><td>${entry.inDoubt ? 'yes' : 'no'}</td><td>${formatSpan(until - entry.at)}</td></tr>
`;
  })}</tbody></table></div>`;
}
