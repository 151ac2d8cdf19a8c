import type { PeerAssessment, PeerDocuments, PeerObservation } from './assess-peer.ts';
import { compareSchemas, type SchemaDifference } from './compare-schemas.ts';
import { compareText } from './compare-text.ts';
import { type DefinedResources, resourceKey } from './custom-resources.ts';
import { createTableMemo, deriveTable, type TableMemo } from './derive-table.ts';
import type { GroupDiscovery } from './discovery-document.ts';
import { createDivergenceMemo, type Divergence, type DivergenceMemo, findDivergences } from './find-divergences.ts';
import {
  type ComparedPeer,
  createFieldMemo,
  type FieldMemo,
  type FieldVerdict,
  judgeFields,
  type RememberedVerdicts,
  type SchemaKnowledge,
} from './judge-fields.ts';
import { createMergeMemo, type MergeMemo, mergeDiscovery } from './merge-discovery.ts';
import type { Doubt, FieldSkew, Mode, TableGroupVersion, TablePeer } from './routing-table.ts';
import { settleFreshness } from './settle-freshness.ts';
import { withWriters } from './with-writers.ts';

/** One peer, as one pass sees it. */
export interface PeerView {
  readonly seen: PeerObservation;
  readonly assessment: PeerAssessment;
}

/** The sources for comparing fields. */
export interface FieldSources {
  readonly knowledge: SchemaKnowledge;
  /** An earlier leader's verdicts, for servers whose schemas cannot be read now. */
  readonly remembered?: RememberedVerdicts | undefined;
}

const noSchemas: Readonly<FieldSources> = { knowledge: { revision: 0, find: () => undefined } };

/** Everything that a pass concludes, without a revision. */
export interface UnifiedView {
  readonly mode: Mode;
  readonly fieldSkew: FieldSkew;
  readonly serverName: string;
  readonly peers: readonly TablePeer[];
  readonly groupVersions: readonly TableGroupVersion[];
  readonly doubts: readonly Doubt[];
  readonly apis: readonly GroupDiscovery[];
  readonly api: readonly GroupDiscovery[];
  readonly groups: number;
  /** Number of group/version/resource triples; subresources are not counted. */
  readonly resources: number;
  readonly divergent: readonly Divergence[];
  readonly schemaDifferences: readonly SchemaDifference[];
  /** Resources whose fields differ between servers, even if routing ignores that. */
  readonly fieldVerdicts: readonly FieldVerdict[];
  readonly documentsOf: ReadonlyMap<string, PeerDocuments>;
}

/** The results of the last derivation, so that a change of one peer does not repeat all the work. */
export interface DeriveMemo {
  readonly apis: MergeMemo;
  readonly api: MergeMemo;
  readonly table: TableMemo;
  readonly divergences: DivergenceMemo;
  readonly fields: FieldMemo;
}

/** An empty memo. */
export function createDeriveMemo(): DeriveMemo {
  return {
    apis: createMergeMemo(),
    api: createMergeMemo(),
    table: createTableMemo(),
    divergences: createDivergenceMemo(),
    fields: createFieldMemo(),
  };
}

/**
 * Merges the peers' documents and records which peer serves which resource. The result depends neither on the order of
 * the input nor on the memo.
 *
 * Parts that did not change since the last derivation are the same objects.
 */
export function deriveUnifiedView(
  views: readonly PeerView[],
  defined: DefinedResources,
  settings: { readonly mode: Mode; readonly fieldSkew: FieldSkew; readonly serverName: string },
  memo: DeriveMemo = createDeriveMemo(),
  schemas: FieldSources = noSchemas,
): UnifiedView {
  const listed = views.filter(({ assessment }) => assessment.state !== 'Gone').sort(byId);
  const peers = listed.map(tablePeer);
  const documentsOf = new Map<string, PeerDocuments>();
  const trimmed: Trimmed = new Map();
  const settling: Doubt[] = [];
  for (const { seen, assessment } of listed) {
    if (seen.documents === undefined || !assessment.retained) continue;
    const documents = withoutDeleted(seen.documents, seen.documentsAt ?? 0, defined, trimmed);
    documentsOf.set(seen.peer.id, documents);
    if (assessment.live && hidesAny(seen.documents.apis, documents.apis)) settling.push(settlingDoubt(seen.peer.id));
  }

  const ids = peers.map(({ id }) => id);
  const served = deriveTable(
    ids.map((id) => documentsOf.get(id)),
    defined,
    memo.table,
  );
  const fieldVerdicts = judgeFields(
    served,
    listed.map(comparedPeer),
    schemas.knowledge,
    schemas.remembered,
    memo.fields,
  );
  const rows = served.map(({ row }) => row);
  const groupVersions = settings.fieldSkew === 'Preserve' ? withWriters(rows, fieldVerdicts) : rows;
  const compared = listed.flatMap(({ seen, assessment }, index) =>
    assessment.live && documentsOf.has(seen.peer.id) ? [index] : [],
  );
  const local =
    listed.find((view) => view.assessment.live && documentsOf.has(view.seen.peer.id)) ?? listed.find(hasDocuments);
  const merged = (part: 'apis' | 'api') =>
    local === undefined
      ? []
      : mergeDiscovery(
          local.seen.peer.id,
          new Map([...documentsOf].map(([id, documents]) => [id, documents[part]])),
          memo[part],
        );
  function hasDocuments(view: PeerView): boolean {
    return documentsOf.has(view.seen.peer.id);
  }

  const live = listed.flatMap(({ seen, assessment }) => (assessment.live ? (documentsOf.get(seen.peer.id) ?? []) : []));
  const apis = settleFreshness(merged('apis'), new Set(live.map((documents) => documents.apis)));
  const api = merged('api');
  return {
    mode: settings.mode,
    fieldSkew: settings.fieldSkew,
    serverName: settings.serverName,
    peers,
    groupVersions,
    doubts: [...findDoubts(listed), ...settling, ...findUnlisted(listed, defined)],
    apis,
    api,
    groups: apis.length + api.length,
    resources: groupVersions.reduce((sum, { resources }) => sum + resources.length, 0),
    schemaDifferences: compareSchemas(
      listed.flatMap(({ seen: { peer, schemas }, assessment }) =>
        assessment.live && schemas !== undefined ? [{ id: peer.id, schemas }] : [],
      ),
    ),
    fieldVerdicts,
    divergent: findDivergences(served, ids, compared, memo.divergences),
    documentsOf,
  };
}

function byId(a: PeerView, b: PeerView): number {
  return compareText(a.seen.peer.id, b.seen.peer.id);
}

function comparedPeer({ seen }: PeerView): ComparedPeer {
  const { peer, version, emulatedVersion, schemas } = seen;
  return { id: peer.id, version, emulatedVersion, hashes: schemas?.hashes, hashesDigest: schemas?.digest };
}

/** A peer that was away may have come back as another version. So may one whose documents an earlier leader read. */
function mayBeAnother({ documents, documentsAt, unreachableSince }: PeerObservation): boolean {
  return documents !== undefined && (documentsAt === undefined || unreachableSince !== undefined);
}

function tablePeer({ seen, assessment }: PeerView): TablePeer {
  const { id, hostname, address } = seen.peer;
  return {
    id,
    ...(hostname !== undefined && { hostname }),
    ...(address !== undefined && { address }),
    ...(seen.version !== undefined && { version: seen.version }),
    ...(seen.emulatedVersion !== undefined && { emulatedVersion: seen.emulatedVersion }),
    ...(mayBeAnother(seen) && { inDoubt: true }),
    state: assessment.state,
  };
}

/** Documents without deleted resources, by document and deletions. Peers with the same document share these too. */
type Trimmed = Map<readonly GroupDiscovery[], Map<string, readonly GroupDiscovery[]>>;

/**
 * Removes resources that were deleted after the document was last confirmed, so that a deleted CustomResourceDefinition
 * disappears at once.
 */
function withoutDeleted(
  documents: PeerDocuments,
  confirmedAt: number,
  defined: DefinedResources,
  trimmed: Trimmed,
): PeerDocuments {
  // After a deletion, a server's own discovery lists the resource for another second or two.
  const settledMs = 5_000;
  const deleted = new Set<string>();
  for (const [key, at] of defined.deletedAt) if (confirmedAt < at + settledMs) deleted.add(key);
  if (deleted.size === 0) return documents;
  const known = trimmed.get(documents.apis) ?? new Map<string, readonly GroupDiscovery[]>();
  trimmed.set(documents.apis, known);
  const key = [...deleted].join();
  const apis = known.get(key) ?? documents.apis.flatMap((group) => trimGroup(group, deleted));
  known.set(key, apis);
  return { ...documents, apis };
}

/** Groups from which nothing was removed are the same objects. */
function hidesAny(before: readonly GroupDiscovery[], after: readonly GroupDiscovery[]): boolean {
  return before.length !== after.length || before.some((group, at) => group !== after[at]);
}

/** A server may have the deleted custom resource built in. Only its next document shows that. */
function settlingDoubt(peer: string): Doubt {
  return {
    peer,
    reason: 'Settling',
    message:
      'a CustomResourceDefinition or APIService was deleted, and the operator has not asked the ' +
      'server since then whether it still serves the resources',
  };
}

/** The group itself if nothing in it was deleted; undefined if nothing is left. */
function trimGroup(group: GroupDiscovery, deleted: ReadonlySet<string>): readonly GroupDiscovery[] {
  const versions = (group.versions ?? []).flatMap((version) => {
    if (deleted.has(`${group.name}/${version.version}`)) return [];
    const resources = version.resources?.filter(
      ({ resource }) => !deleted.has(resourceKey({ group: group.name, version: version.version, resource })),
    );
    if (resources === undefined || resources.length === version.resources?.length) return [version];
    return resources.length > 0 ? [{ ...version, resources }] : [];
  });
  if (versions.length === 0) return [];
  const unchanged = versions.length === group.versions?.length && versions.every((v, at) => v === group.versions?.[at]);
  return [unchanged ? group : { ...group, versions }];
}

/** Lists every reason why a live server might serve something that the table lacks. */
function findDoubts(listed: readonly PeerView[]): readonly Doubt[] {
  if (listed.length === 0)
    return [{ peer: '', reason: 'NoPeers', message: 'the operator has found no kube-apiserver yet' }];
  return listed.flatMap(({ seen, assessment: { live, fresh, reason, message } }) =>
    live && !fresh ? [{ peer: seen.peer.id, reason, message }] : [],
  );
}

/**
 * Lists the group-versions that a live server announces without listing their resources. Skips aggregated ones: all
 * servers forward those to the same aggregated server.
 */
function findUnlisted(listed: readonly PeerView[], { aggregated }: DefinedResources): readonly Doubt[] {
  const unlisted = new Map<readonly GroupDiscovery[], string | undefined>();
  return listed.flatMap(({ seen: { peer, documents }, assessment }) => {
    if (documents === undefined || !assessment.live || !assessment.fresh) return [];
    const { apis } = documents;
    if (!unlisted.has(apis)) unlisted.set(apis, firstUnlisted(apis, aggregated));
    const found = unlisted.get(apis);
    if (found === undefined) return [];
    return [{ peer: peer.id, reason: 'NotListed', message: `it lists ${found}, but not its resources` }];
  });
}

function firstUnlisted(apis: readonly GroupDiscovery[], aggregated: ReadonlySet<string>): string | undefined {
  for (const { name, versions = [] } of apis)
    for (const { version, freshness, resources = [] } of versions)
      if (freshness === 'Stale' && resources.length === 0 && !aggregated.has(`${name}/${version}`))
        return `${name}/${version}`;
  return undefined;
}
