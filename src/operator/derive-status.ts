import type {
  Condition,
  DivergentResource,
  FieldDifferenceStatus,
  PeerDiscoveryStatus,
  PeerStatus,
  SchemaDifferenceStatus,
} from '../api/peer-discovery.ts';
import { rfc3339 } from '../api/rfc3339.ts';
import type { FieldList } from '../domain/compare-fields.ts';
import type { SchemaDifference } from '../domain/compare-schemas.ts';
import { cutText } from '../domain/cut-text.ts';
import type { PeerView, UnifiedView } from '../domain/derive-bundle.ts';
import { countResources } from '../domain/discovery-document.ts';
import type { Divergence } from '../domain/find-divergences.ts';
import type { LeaseProblem } from '../domain/identity-lease.ts';
import { judgeConvergence, nameEach } from '../domain/judge-convergence.ts';
import type { FieldVerdict } from '../domain/judge-fields.ts';
import type { PeerSet, TablePeer } from '../domain/routing-table.ts';
import { sameValue } from '../domain/same-value.ts';
import type { SpecRefusal, Standstill } from './ports.ts';

/** The facts that one pass reports in the status. */
export interface StatusInput {
  /** The generation of the spec that the controller follows. */
  readonly generation: number;
  /** A newer spec that is invalid. The status is then about its generation. */
  readonly refused?: SpecRefusal | undefined;
  readonly unified: UnifiedView;
  readonly views: readonly PeerView[];
  readonly leaseProblems: readonly LeaseProblem[];
  /** Published revision and hash; absent if nothing could be published yet. */
  readonly published?: { readonly revision: number; readonly hash: string };
  readonly routingTable: { readonly namespace: string; readonly name: string };
  readonly trouble?: Trouble;
}

/** The reason why the operator cannot do its work. */
export interface Trouble {
  readonly reason: string;
  readonly message: string;
  /** True if trying again will not help until something is changed; kstatus then counts it as a failure. */
  readonly terminal?: boolean;
}

/** The status is cut to this many bytes of JSON, well below etcd's limit of 1.5 MiB per object. */
const peersBudgetBytes = 384 * 1024;
const divergentBudgetBytes = 384 * 1024;
const schemasBudgetBytes = 64 * 1024;
const fieldsBudgetBytes = 64 * 1024;
/** Leaves room for other rows next to one resource on 100 peers. */
const maxIdsListed = 20;
const maxValuesListed = 5;
const maxValueLength = 300;
const maxFieldsListed = 10;
const maxPathLength = 150;

/**
 * Builds the whole status. It takes over transition times, and the times of healthy peers, from `before`.
 *
 * @param now Milliseconds of the observations' clock.
 * @param dateOf Converts a time of that clock to milliseconds since the epoch.
 */
export function deriveStatus(
  input: StatusInput,
  before: PeerDiscoveryStatus | undefined,
  now: number,
  dateOf: (at: number) => number,
): PeerDiscoveryStatus {
  const { unified, refused } = input;
  // Tools that read kstatus wait while a status is about an older generation, and look at none of its conditions.
  const generation = refused?.generation ?? input.generation;
  const listed = input.views.filter(({ assessment }) => assessment.live || assessment.retained);
  const count = (wanted: (view: PeerView) => boolean) => listed.filter(wanted).length;
  const peerCounts = {
    total: listed.length,
    ready: count(({ assessment }) => assessment.state === 'Ready'),
    stale: count(({ assessment }) => !assessment.fresh),
    unreachable: count(({ assessment }) => ['Unreachable', 'Unresolved', 'Refused'].includes(assessment.state)),
  };
  const converged = { type: 'Converged', ...judgeConvergence(listed, unified) };
  const rows = fit([...listed].sort(byId), peersBudgetBytes, (view) => peerRow(view, dateOf));
  const divergent = fit(unified.divergent, divergentBudgetBytes, divergentRow);
  const conditions = [judgeReady(input, listed), judgeStale(listed), converged, judgeStalled(input)].map((condition) =>
    withTransition({ ...condition, observedGeneration: generation }, before, dateOf(now)),
  );
  const schemas = fit(unified.schemaDifferences, schemasBudgetBytes, schemaRow);
  const fields = fit(unified.fieldVerdicts, fieldsBudgetBytes, (verdict) => fieldRow(verdict, unified.peers));
  const omitted = {
    peers: listed.length - rows.length,
    divergent: unified.divergent.length - divergent.length,
    ...(unified.schemaDifferences.length > schemas.length && {
      schemaDifferences: unified.schemaDifferences.length - schemas.length,
    }),
    ...(unified.fieldVerdicts.length > fields.length && {
      fieldDifferences: unified.fieldVerdicts.length - fields.length,
    }),
  };
  return {
    observedGeneration: generation,
    mode: unified.mode,
    ...(input.published !== undefined && { revision: input.published.revision, hash: input.published.hash }),
    peerCounts,
    groups: unified.groups,
    resources: unified.resources,
    divergentResources: unified.divergent.length,
    converged: converged.status,
    conditions,
    peers: rows,
    divergent,
    ...(schemas.length > 0 && { schemaDifferences: schemas }),
    fieldDifferentResources: unified.fieldVerdicts.length,
    ...(fields.length > 0 && { fieldDifferences: fields }),
    ...(Object.values(omitted).some((left) => left > 0) && { omitted }),
    ...(input.leaseProblems.length > 0 && { leaseProblems: input.leaseProblems.slice(0, 50) }),
    routingTable: input.routingTable,
  };
}

/** True if a status says something new. How long ago a healthy peer last answered is not news. */
export function statusDiffers(before: PeerDiscoveryStatus | undefined, after: PeerDiscoveryStatus): boolean {
  return before === undefined || !sameValue(withoutTimes(before), withoutTimes(after));
}

function withoutTimes(status: PeerDiscoveryStatus): unknown {
  const peers = status.peers?.map(({ lastSuccessTime, ...row }) =>
    row.state === 'Ready' ? row : { ...row, lastSuccessTime },
  );
  return { ...status, peers };
}

function peerRow({ seen, assessment }: PeerView, dateOf: (at: number) => number): PeerStatus {
  const { peer, documents, documentsAt } = seen;
  const groups = documents === undefined ? [] : [...documents.api, ...documents.apis];
  return {
    id: peer.id,
    ...(peer.hostname !== undefined && { hostname: peer.hostname }),
    ...(seen.version !== undefined && { version: seen.version }),
    ...(seen.emulatedVersion !== undefined && { emulatedVersion: seen.emulatedVersion }),
    ...(peer.address !== undefined && { address: peer.address }),
    ...(peer.source !== undefined && { addressSource: peer.source }),
    ...(peer.trust !== undefined && { trust: peer.trust }),
    state: assessment.state,
    reason: assessment.reason,
    ...(assessment.state !== 'Ready' && { message: cutText(assessment.message, 300) }),
    ...(documents !== undefined && {
      documentForm: documents.form,
      documentHash: documents.hash,
      groups: groups.length,
      resources: countResources(groups),
    }),
    ...(documentsAt !== undefined && { lastSuccessTime: rfc3339(dateOf(documentsAt)) }),
    ...(seen.peerAggregated !== undefined && { peerAggregated: seen.peerAggregated }),
  };
}

type Judgement = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>;

function judgeReady({ unified, published, trouble }: StatusInput, listed: readonly PeerView[]): Judgement {
  const ready = (status: Condition['status'], reason: string, message: string) => ({
    type: 'Ready',
    status,
    reason,
    message,
  });
  if (trouble !== undefined) return ready('False', trouble.reason, trouble.message);
  if (published === undefined) return ready('False', 'NotPublished', 'the operator has published no routing table yet');
  const [doubt] = unified.doubts;
  if (doubt !== undefined) {
    const more = unified.doubts.length > 1 ? ` (and ${unified.doubts.length - 1} more)` : '';
    return ready('False', 'Incomplete', cutText(`${doubt.peer || 'peers'}: ${doubt.message}${more}`, 500));
  }
  const others = listed.filter(({ assessment }) => assessment.state !== 'Ready');
  const count = `${listed.length - others.length} of ${listed.length} peers`;
  if (others.length === listed.length) return ready('False', 'NoReadyPeer', 'no kube-apiserver is ready');
  const message =
    others.length === 0
      ? `every live kube-apiserver's discovery is fresh (${count} ready)`
      : `the routing table is complete, though only ${count} are ready: ${nameEach(others)}`;
  return ready('True', 'Complete', cutText(message, 500));
}

/** What needs an action: first the newest spec, if it is invalid, then a trouble that will not pass by itself. */
export function standstillOf(trouble: Trouble | undefined, refused: SpecRefusal | undefined): Standstill | undefined {
  const standstill = refused ?? (trouble?.terminal === true ? trouble : undefined);
  return standstill === undefined ? undefined : { reason: standstill.reason, message: standstill.message };
}

/** `True` means that waiting will not help. A trouble that may pass by itself appears only in Ready. */
function judgeStalled({ trouble, refused }: StatusInput): Judgement {
  const standstill = standstillOf(trouble, refused);
  if (standstill !== undefined) return { type: 'Stalled', status: 'True', ...standstill };
  const message =
    trouble === undefined ? 'nothing keeps the operator from working' : `trying again: ${trouble.message}`;
  return { type: 'Stalled', status: 'False', reason: trouble?.reason ?? 'Progressing', message };
}

function judgeStale(listed: readonly PeerView[]): Judgement {
  const stale = listed.filter(({ assessment }) => !assessment.fresh);
  const [first] = stale;
  if (first === undefined)
    return { type: 'Stale', status: 'False', reason: 'Fresh', message: "every peer's discovery is fresh" };
  const names = stale.map(({ seen }) => seen.peer.hostname ?? seen.peer.id);
  return {
    type: 'Stale',
    status: 'True',
    reason: first.assessment.reason,
    message: cutText(`${names.slice(0, 10).join(', ')}: ${first.assessment.message}`, 500),
  };
}

function withTransition(
  condition: Omit<Condition, 'lastTransitionTime'>,
  before: PeerDiscoveryStatus | undefined,
  now: number,
): Condition {
  const last = before?.conditions?.find(({ type }) => type === condition.type);
  const kept = last?.status === condition.status ? last.lastTransitionTime : undefined;
  return { ...condition, lastTransitionTime: kept ?? rfc3339(now) };
}

function divergentRow({ servedBy, missingFrom, differences, ...where }: Divergence): DivergentResource {
  const shown = differences.map(({ field, values }) => ({
    field,
    values: values.slice(0, maxValuesListed).map(({ value, peers }) => ({
      value: cutText(value, maxValueLength),
      peers: peers.slice(0, maxIdsListed),
      count: peers.length,
    })),
    ...(values.length > maxValuesListed && { omittedValues: values.length - maxValuesListed }),
  }));
  const omittedPeers = [servedBy, missingFrom].reduce((sum, ids) => sum + Math.max(0, ids.length - maxIdsListed), 0);
  return {
    ...where,
    servedBy: servedBy.slice(0, maxIdsListed),
    missingFrom: missingFrom.slice(0, maxIdsListed),
    ...(omittedPeers > 0 && { omittedPeers }),
    ...(shown.length > 0 && { differences: shown }),
  };
}

function schemaRow({ group, version, schemas }: SchemaDifference): SchemaDifferenceStatus {
  const shown = schemas.slice(0, maxValuesListed).map(({ hash, peers }) => ({
    hash,
    peers: peers.slice(0, maxIdsListed),
    count: peers.length,
  }));
  return { group, version, schemas: shown };
}

function fieldRow(verdict: FieldVerdict, peers: readonly TablePeer[]): FieldDifferenceStatus {
  const { group, resource, basis, writers, standIns, appearing, disappearing, described } = verdict;
  const idsOf = (set: PeerSet) => set.slice(0, maxIdsListed).map((at) => peers[at]?.id ?? '');
  const omittedPeers = [writers, standIns].reduce((sum, set) => sum + Math.max(0, set.length - maxIdsListed), 0);
  return {
    group,
    resource,
    basis,
    writers: idsOf(writers),
    ...(standIns.length > 0 && { standIns: idsOf(standIns) }),
    ...(omittedPeers > 0 && { omittedPeers }),
    ...(appearing.count > 0 && { appearing: fieldListRow(appearing) }),
    ...(disappearing.count > 0 && { disappearing: fieldListRow(disappearing) }),
    ...(described.count > 0 && { described: fieldListRow(described) }),
  };
}

function fieldListRow({ paths, count }: FieldList): { readonly paths: readonly string[]; readonly count: number } {
  return { paths: paths.slice(0, maxFieldsListed).map((path) => cutText(path, maxPathLength)), count };
}

/** As many rows from the start as fit. Rows beyond that are not even built. */
function fit<Item, Row>(items: readonly Item[], budgetBytes: number, rowOf: (item: Item) => Row): readonly Row[] {
  const rows: Row[] = [];
  let used = 0;
  for (const item of items) {
    const row = rowOf(item);
    used += Buffer.byteLength(JSON.stringify(row)) + 1;
    if (used > budgetBytes) break;
    rows.push(row);
  }
  return rows;
}

function byId(a: PeerView, b: PeerView): number {
  return a.seen.peer.id < b.seen.peer.id ? -1 : 1;
}
