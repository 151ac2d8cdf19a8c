import type { Condition, PeerDiscoveryStatus } from '../../api/peer-discovery.ts';
import { rfc3339 } from '../../api/rfc3339.ts';
import { compareText } from '../../domain/compare-text.ts';
import { cutText } from '../../domain/cut-text.ts';
import type { PeerView, UnifiedView } from '../../domain/derive-bundle.ts';
import { countResources } from '../../domain/discovery-document.ts';
import type { Divergence } from '../../domain/find-divergences.ts';
import type { PeerState } from '../../domain/routing-table.ts';
import { showServedVersion } from '../../domain/served-version.ts';
import type { ProgressEntry } from './progress-history.ts';

/** A controller's present knowledge. */
export interface LiveView {
  readonly views: readonly PeerView[];
  /** Undefined before the first pass. */
  readonly unified: UnifiedView | undefined;
}

/** The operator's knowledge about one PeerDiscovery. */
export interface ObservedObject {
  readonly name: string;
  /** The status in the API server. */
  readonly status: PeerDiscoveryStatus | undefined;
  readonly live: LiveView | undefined;
  readonly history: readonly ProgressEntry[];
}

/** The operator's whole knowledge. */
export interface StatusSnapshot {
  /** Milliseconds of the clock for ages; all other times here are of this clock too. */
  readonly now: number;
  /** The same moment in milliseconds since the epoch. */
  readonly date: number;
  readonly operator: { readonly version: string; readonly identity: string; readonly leadsSince: number };
  readonly objects: readonly ObservedObject[];
  /** Why the objects may be older than they look. */
  readonly trouble?: string | undefined;
}

/** A rating of a state. The page shows it with a word, a shape and a colour. */
export type Level = 'good' | 'note' | 'warning' | 'bad';

export interface PeerReport {
  readonly id: string;
  readonly name: string;
  readonly version?: string | undefined;
  readonly address?: string | undefined;
  readonly source?: string | undefined;
  readonly trust?: string | undefined;
  readonly state: PeerState;
  readonly level: Level;
  readonly reason: string;
  readonly message: string;
  readonly fresh: boolean;
  /** Age of its discovery; absent if it has none. */
  readonly ageSeconds?: number | undefined;
  readonly resources?: number | undefined;
}

/** The peers that serve a resource or subresource. */
export interface ServedReport {
  /** As in kubectl: `resource.version.group`, with `/subresource` if it is one. */
  readonly resource: string;
  /** Names of peers, at most 20. */
  readonly servedBy: readonly string[];
  readonly missingFrom: readonly string[];
  readonly omittedPeers: number;
  /** Facts that the peers describe differently. */
  readonly differingFields: readonly string[];
}

export interface ConditionReport {
  readonly type: string;
  readonly status: Condition['status'];
  readonly level: Level;
  readonly reason: string;
  readonly message: string;
  readonly since: string;
}

export interface ObjectReport {
  readonly name: string;
  readonly verdict: { readonly level: Level; readonly title: string; readonly detail: string };
  readonly mode: string;
  readonly revision?: number | undefined;
  readonly groups: number;
  readonly resources: number;
  readonly differences: number;
  readonly conditions: readonly ConditionReport[];
  readonly peerCount: number;
  readonly readyCount: number;
  readonly peers: readonly PeerReport[];
  readonly omittedPeers: number;
  readonly history: readonly ProgressEntry[];
  /** The differences, or the results of the search. */
  readonly served: {
    readonly matching: number;
    readonly rows: readonly ServedReport[];
  };
  readonly schemaDifferences: readonly string[];
  /** Built-in resources whose fields differ between servers. */
  readonly fieldDifferences: readonly string[];
  readonly leaseProblems: readonly { readonly lease: string; readonly reason: string; readonly message: string }[];
}

/** The content of the page, in the form for programs. */
export interface StatusReport {
  readonly generatedAt: string;
  readonly operator: { readonly version: string; readonly identity: string; readonly leadsSince: string };
  readonly search: string;
  readonly trouble?: string | undefined;
  readonly objects: readonly ObjectReport[];
}

const maxObjects = 20;
const maxPeers = 300;
const maxRows = 200;
const maxNames = 20;
const maxTextLength = 400;
const maxVersionLength = 40;

/**
 * Builds the report of a snapshot. Its size is bounded, whatever the cluster holds; a search looks at every served
 * resource.
 */
export function buildReport(snapshot: StatusSnapshot, search: string): StatusReport {
  const { now, date, operator } = snapshot;
  const dateOf = (at: number) => Math.round(at + date - now);
  const wanted = search.trim().slice(0, 100);
  return {
    generatedAt: rfc3339(date),
    operator: { ...operator, leadsSince: rfc3339(dateOf(operator.leadsSince)) },
    search: wanted,
    ...(snapshot.trouble !== undefined && { trouble: cut(snapshot.trouble) }),
    objects: [...snapshot.objects]
      .sort((a, b) => compareText(a.name, b.name))
      .slice(0, maxObjects)
      .map((object) => ({
        ...reportObject(object, wanted, now),
        history: object.history.map((entry) => ({ ...entry, at: dateOf(entry.at) })),
      })),
  };
}

function reportObject(object: ObservedObject, search: string, now: number): Omit<ObjectReport, 'history'> {
  const { name, status, live } = object;
  const listed = (live?.views ?? []).filter(({ assessment }) => assessment.state !== 'Gone').sort(byName);
  const peers = listed.slice(0, maxPeers).map((view) => reportPeer(view, now));
  const readyCount = listed.filter(({ assessment }) => assessment.state === 'Ready').length;
  const conditions = (status?.conditions ?? []).map(reportCondition);
  const differences = live?.unified?.divergent.length ?? status?.divergentResources ?? 0;
  const counts = { differences, peers: listed.length, ready: readyCount };
  return {
    name,
    verdict: judge(conditions, counts),
    mode: status?.mode ?? live?.unified?.mode ?? 'Observe',
    revision: status?.revision,
    groups: live?.unified?.groups ?? status?.groups ?? 0,
    resources: live?.unified?.resources ?? status?.resources ?? 0,
    differences,
    conditions,
    peerCount: listed.length,
    readyCount,
    peers,
    omittedPeers: listed.length - peers.length,
    served: reportServed(live, search),
    schemaDifferences: (live?.unified?.schemaDifferences ?? [])
      .slice(0, maxRows)
      .map(({ group, version }) => (group === '' ? version : `${group}/${version}`)),
    fieldDifferences: (live?.unified?.fieldVerdicts ?? [])
      .slice(0, maxRows)
      .map(({ group, resource }) => (group === '' ? resource : `${resource}.${group}`)),
    leaseProblems: (status?.leaseProblems ?? []).slice(0, 50).map(({ lease, reason, message }) => ({
      lease: cut(lease),
      reason,
      message: cut(message),
    })),
  };
}

const goodStatus: Readonly<Record<string, Condition['status']>> = {
  Ready: 'True',
  Stale: 'False',
  Converged: 'True',
  Stalled: 'False',
};

function reportCondition({ type, status, reason, message, lastTransitionTime }: Condition): ConditionReport {
  const serious = type === 'Stalled' ? 'bad' : type === 'Converged' && status === 'False' ? 'note' : 'warning';
  const level = status === goodStatus[type] ? 'good' : serious;
  return { type, status, level, reason, message: cut(message), since: lastTransitionTime };
}

function judge(
  conditions: readonly ConditionReport[],
  { differences, peers, ready }: { readonly differences: number; readonly peers: number; readonly ready: number },
): ObjectReport['verdict'] {
  const find = (type: string) => conditions.find((condition) => condition.type === type);
  const stalled = find('Stalled');
  const readiness = find('Ready');
  if (readiness === undefined)
    return {
      level: 'note',
      title: 'Not looked at yet',
      detail: 'The operator has just found this object, or could not begin with it.',
    };
  if (stalled?.status === 'True')
    return { level: 'bad', title: 'Stopped until somebody changes something', detail: stalled.message };
  if (readiness.status !== 'True')
    return {
      level: 'warning',
      title: 'In doubt',
      detail: `Requests for what no server is known to serve get 503, not 404: ${readiness.message}`,
    };
  const away = peers - ready;
  if (away > 0)
    return {
      level: 'warning',
      title: `Complete, with ${away} of ${peers} servers not ready`,
      detail: 'What the other servers serve is available. See the table of servers for the reasons.',
    };
  if (differences > 0)
    return {
      level: 'note',
      title: `Complete; the servers differ in ${differences} ${differences === 1 ? 'resource' : 'resources'}`,
      detail: 'Every server is known and fresh. Differences are normal during an upgrade.',
    };
  return {
    level: 'good',
    title: 'All servers serve the same',
    detail: 'Every server is known and fresh, and none serves anything that another does not.',
  };
}

const peerLevels: Readonly<Record<PeerState, Level>> = {
  Ready: 'good',
  NotReady: 'note',
  Stale: 'warning',
  Unreachable: 'bad',
  Unresolved: 'warning',
  Refused: 'bad',
  Gone: 'bad',
};

function reportPeer({ seen, assessment }: PeerView, now: number): PeerReport {
  const { peer, documents, documentsAt } = seen;
  return {
    id: cut(peer.id),
    name: cut(peer.hostname ?? peer.id),
    version: showServedVersion(seen)?.slice(0, maxVersionLength),
    address: peer.address,
    source: peer.source,
    trust: peer.trust,
    state: assessment.state,
    level: peerLevels[assessment.state],
    reason: assessment.reason,
    message: assessment.state === 'Ready' ? '' : cut(assessment.message),
    fresh: assessment.fresh,
    ageSeconds: documentsAt === undefined ? undefined : Math.max(0, Math.round((now - documentsAt) / 1_000)),
    resources: documents && countResources(documents.api) + countResources(documents.apis),
  };
}

function reportServed(live: LiveView | undefined, search: string): ObjectReport['served'] {
  if (live?.unified === undefined) return { matching: 0, rows: [] };
  const { divergent, groupVersions, peers } = live.unified;
  const names = new Map(peers.map(({ id, hostname }) => [id, hostname ?? id]));
  const nameOf = (id: string) => cut(names.get(id) ?? id);
  const needle = search.toLowerCase();
  const fits = (name: string) => needle === '' || name.toLowerCase().includes(needle);
  const rows: ServedReport[] = [];
  let matching = 0;
  const differing = new Set<string>();
  for (const divergence of divergent) {
    const resource = formatName(divergence);
    if (needle !== '') differing.add(resource);
    if (!fits(resource)) continue;
    matching += 1;
    if (rows.length < maxRows) rows.push(reportDivergence(resource, divergence, nameOf));
  }
  if (needle === '') return { matching, rows };
  for (const { group, version, resources } of groupVersions)
    for (const entry of resources) {
      const resource = formatName({ group, version, resource: entry.resource });
      if (!fits(resource) || differing.has(resource)) continue;
      matching += 1;
      if (rows.length >= maxRows) continue;
      const ids = entry.peers.flatMap((index) => peers[index]?.id ?? []);
      rows.push({
        resource,
        servedBy: ids.slice(0, maxNames).map(nameOf).sort(compareText),
        missingFrom: [],
        omittedPeers: Math.max(0, ids.length - maxNames),
        differingFields: [],
      });
    }
  return { matching, rows };
}

function reportDivergence(
  resource: string,
  { servedBy, missingFrom, differences }: Divergence,
  nameOf: (id: string) => string,
): ServedReport {
  const omitted = [servedBy, missingFrom].reduce((sum, ids) => sum + Math.max(0, ids.length - maxNames), 0);
  return {
    resource,
    servedBy: servedBy.slice(0, maxNames).map(nameOf).sort(compareText),
    missingFrom: missingFrom.slice(0, maxNames).map(nameOf).sort(compareText),
    omittedPeers: omitted,
    differingFields: differences.map(({ field }) => field),
  };
}

function formatName(where: {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource?: string;
}): string {
  const { group, version, resource, subresource } = where;
  const name = [resource, version, group].filter((word) => word !== '').join('.');
  return cut(subresource === undefined ? name : `${name}/${subresource}`);
}

function byName(a: PeerView, b: PeerView): number {
  const name = ({ seen }: PeerView) => seen.peer.hostname ?? seen.peer.id;
  return compareText(name(a), name(b)) || compareText(a.seen.peer.id, b.seen.peer.id);
}

function cut(text: string): string {
  return cutText(text, maxTextLength);
}
