import type { PeerAssessment, PeerDocuments, PeerObservation } from './assess-peer.ts';
import { type DefinedResources, resourceKey } from './custom-resources.ts';
import type { GroupDiscovery, ResourceDiscovery } from './discovery-document.ts';
import { mergeDiscovery } from './merge-discovery.ts';
import type { Doubt, Mode, Origin, TableGroupVersion, TablePeer, TableResource } from './routing-table.ts';

/** One peer as a pass sees it. */
export interface PeerView {
  readonly seen: PeerObservation;
  readonly assessment: PeerAssessment;
}

/** A resource or subresource that some live peers serve and others do not. */
export interface Divergence {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly servedBy: readonly string[];
  readonly missingFrom: readonly string[];
}

/** Everything that a pass concludes, before it has a revision. */
export interface UnifiedView {
  readonly mode: Mode;
  readonly serverName: string;
  readonly peers: readonly TablePeer[];
  readonly groupVersions: readonly TableGroupVersion[];
  readonly doubts: readonly Doubt[];
  readonly apis: readonly GroupDiscovery[];
  readonly api: readonly GroupDiscovery[];
  readonly groups: number;
  /** Number of group/version/resource triples, subresources not counted. */
  readonly resources: number;
  readonly divergent: readonly Divergence[];
  readonly documentsOf: ReadonlyMap<string, PeerDocuments>;
}

/** Merges what the peers serve and says who serves what; pure, and the same for the same input in any order. */
export function deriveUnifiedView(
  views: readonly PeerView[],
  defined: DefinedResources,
  settings: { readonly mode: Mode; readonly serverName: string },
): UnifiedView {
  const listed = views.filter(({ assessment }) => assessment.state !== 'Gone').sort(byId);
  const peers = listed.map(tablePeer);
  const documentsOf = new Map<string, PeerDocuments>();
  for (const { seen, assessment } of listed)
    if (seen.documents !== undefined && assessment.retained)
      documentsOf.set(seen.peer.id, withoutDeleted(seen.documents, seen.documentsAt ?? 0, defined));

  const serving = collectServing(listed, documentsOf);
  const groupVersions = tabulate(serving, defined);
  const local =
    listed.find((view) => view.assessment.live && documentsOf.has(view.seen.peer.id)) ?? listed.find(hasDocuments);
  const merged = (part: 'apis' | 'api') =>
    local === undefined
      ? []
      : mergeDiscovery(local.seen.peer.id, new Map([...documentsOf].map(([id, documents]) => [id, documents[part]])));
  function hasDocuments(view: PeerView): boolean {
    return documentsOf.has(view.seen.peer.id);
  }

  const apis = merged('apis');
  const api = merged('api');
  return {
    ...settings,
    peers,
    groupVersions,
    doubts: findDoubts(listed),
    apis,
    api,
    groups: apis.length + api.length,
    resources: groupVersions.reduce((sum, { resources }) => sum + resources.length, 0),
    divergent: findDivergences(groupVersions, listed, documentsOf),
    documentsOf,
  };
}

function byId(a: PeerView, b: PeerView): number {
  return a.seen.peer.id < b.seen.peer.id ? -1 : a.seen.peer.id > b.seen.peer.id ? 1 : 0;
}

function tablePeer({ seen, assessment }: PeerView): TablePeer {
  const { id, hostname, address } = seen.peer;
  return {
    id,
    ...(hostname !== undefined && { hostname }),
    ...(address !== undefined && { address }),
    ...(seen.version !== undefined && { version: seen.version }),
    state: assessment.state,
  };
}

/** Removes what was deleted after the document was last confirmed, so that a deleted CRD disappears at once. */
function withoutDeleted(documents: PeerDocuments, confirmedAt: number, defined: DefinedResources): PeerDocuments {
  // A server's own discovery follows a deletion within a second or two; until then it still lists the resource.
  const settledMs = 5_000;
  const deleted = new Set<string>();
  for (const [key, at] of defined.deletedAt) if (confirmedAt < at + settledMs) deleted.add(key);
  if (deleted.size === 0) return documents;
  const apis: GroupDiscovery[] = [];
  for (const group of documents.apis) {
    const versions = [];
    for (const version of group.versions ?? []) {
      if (deleted.has(`${group.name}/${version.version}`)) continue;
      const resources = version.resources?.filter(
        ({ resource }) => !deleted.has(resourceKey({ group: group.name, version: version.version, resource })),
      );
      const unchanged = resources === undefined || resources.length === version.resources?.length;
      if (unchanged) versions.push(version);
      else if (resources.length > 0) versions.push({ ...version, resources });
    }
    if (versions.length > 0) apis.push({ ...group, versions });
  }
  return { ...documents, apis };
}

interface Serving {
  readonly group: string;
  readonly version: string;
  readonly resources: Map<string, { readonly peers: number[]; readonly subresources: Map<string, number[]> }>;
}

function collectServing(
  listed: readonly PeerView[],
  documentsOf: ReadonlyMap<string, PeerDocuments>,
): Map<string, Serving> {
  const serving = new Map<string, Serving>();
  listed.forEach(({ seen }, index) => {
    const documents = documentsOf.get(seen.peer.id);
    if (documents === undefined) return;
    for (const group of [...documents.api, ...documents.apis])
      for (const version of group.versions ?? []) {
        const key = `${group.name}/${version.version}`;
        const entry = serving.get(key) ?? { group: group.name, version: version.version, resources: new Map() };
        serving.set(key, entry);
        for (const resource of version.resources ?? []) addResource(entry, resource, index);
      }
  });
  return serving;
}

function addResource(entry: Serving, { resource, subresources }: ResourceDiscovery, peer: number): void {
  const row = entry.resources.get(resource) ?? { peers: [], subresources: new Map<string, number[]>() };
  entry.resources.set(resource, row);
  addOnce(row.peers, peer);
  for (const { subresource } of subresources ?? []) {
    const peers = row.subresources.get(subresource) ?? [];
    row.subresources.set(subresource, peers);
    addOnce(peers, peer);
  }
}

function addOnce(peers: number[], peer: number): void {
  if (peers.at(-1) !== peer) peers.push(peer);
}

function tabulate(serving: ReadonlyMap<string, Serving>, defined: DefinedResources): readonly TableGroupVersion[] {
  return [...serving.entries()].sort(byKey).map(([key, { group, version, resources }]) => ({
    group,
    version,
    origin: originOf(key, resources.keys(), defined),
    resources: [...resources.entries()].sort(byKey).map(
      ([resource, row]): TableResource => ({
        resource,
        peers: row.peers,
        subresources: Object.fromEntries([...row.subresources.entries()].sort(byKey)),
      }),
    ),
  }));
}

function originOf(groupVersion: string, resources: Iterable<string>, defined: DefinedResources): Origin {
  if (defined.aggregated.has(groupVersion)) return 'Aggregated';
  for (const resource of resources) if (defined.custom.has(`${groupVersion}/${resource}`)) return 'CustomResource';
  return 'BuiltIn';
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

/**
 * Lists every reason why a live server might serve something that the table does not list.
 *
 * A live Lease without an address is covered if there is an address without a Lease to go with it: each of the latter
 * is a verified server whose documents are fresh, only its name is not known.
 */
function findDoubts(listed: readonly PeerView[]): readonly Doubt[] {
  if (listed.length === 0) return [{ peer: '', reason: 'NoPeers', message: 'no kube-apiserver has been found yet' }];
  const doubts: Doubt[] = [];
  const nameless = listed.filter(
    ({ seen, assessment }) => seen.peer.source === 'EndpointSlice' && assessment.fresh,
  ).length;
  const addressless = listed.filter(({ assessment }) => assessment.state === 'Unresolved');
  for (const { seen, assessment } of listed) {
    if (!assessment.live || assessment.fresh) continue;
    if (assessment.state === 'Unresolved' && addressless.length <= nameless) continue;
    doubts.push({ peer: seen.peer.id, reason: assessment.reason, message: assessment.message });
  }
  return doubts;
}

function findDivergences(
  groupVersions: readonly TableGroupVersion[],
  listed: readonly PeerView[],
  documentsOf: ReadonlyMap<string, PeerDocuments>,
): readonly Divergence[] {
  const compared: number[] = [];
  listed.forEach(({ seen, assessment }, index) => {
    if (assessment.live && documentsOf.has(seen.peer.id)) compared.push(index);
  });
  const names = (indexes: readonly number[]) => indexes.map((index) => listed[index]?.seen.peer.id ?? '');
  const divergences: Divergence[] = [];
  const compare = (
    where: Pick<Divergence, 'group' | 'version' | 'resource' | 'subresource'>,
    peers: readonly number[],
  ) => {
    const serving = new Set(peers);
    const servedBy = compared.filter((index) => serving.has(index));
    if (servedBy.length === 0 || servedBy.length === compared.length) return;
    const missingFrom = compared.filter((index) => !serving.has(index));
    divergences.push({ ...where, servedBy: names(servedBy), missingFrom: names(missingFrom) });
  };
  for (const { group, version, resources } of groupVersions)
    for (const { resource, peers, subresources } of resources) {
      compare({ group, version, resource }, peers);
      // Where the resource itself diverges, its subresources say nothing new unless they do so differently.
      for (const [subresource, serving] of Object.entries(subresources))
        if (serving.length !== peers.length) compare({ group, version, resource, subresource }, serving);
    }
  return divergences;
}
