import { compareFields, type FieldComparison, type FieldList, type OutlinedKind } from './compare-fields.ts';
import { compareText } from './compare-text.ts';
import type { ServedGroupVersion } from './derive-table.ts';
import type { GroupVersionKind } from './discovery-document.ts';
import { isHeartbeat } from './harmless-writes.ts';
import { isStream } from './request-info.ts';
import type { PeerSet } from './routing-table.ts';
import { type DefinitionDigest, kindKey, type SchemaOutline } from './schema-outline.ts';
import { compareServedVersions, type ServedVersion, servedMinor } from './served-version.ts';

/** The schemas of one group-version, as read from a server. */
export interface GatheredSchemas {
  readonly outline: SchemaOutline;
  /** By `group/version/kind`. */
  readonly digests: ReadonlyMap<string, DefinitionDigest>;
}

/** The schemas read so far: only of group-versions that differ. */
export interface SchemaKnowledge {
  /** Changes whenever something is added or dropped. */
  readonly revision: number;
  /** `groupVersion` is `group/version`; `hash` comes from the server's index. */
  find(groupVersion: string, hash: string): GatheredSchemas | undefined;
}

/** One server whose resources are compared. */
export interface ComparedPeer extends ServedVersion {
  readonly id: string;
  /** Hashes from its `/openapi/v3`, by `group/version`; undefined if it has not sent any. */
  readonly hashes: ReadonlyMap<string, string> | undefined;
  /** Equal for equal hashes. */
  readonly hashesDigest: string | undefined;
}

/**
 * How it was decided which servers may write.
 *
 * - `Schemas`: the schemas of all servers were compared.
 * - `Versions`: a schema is unknown, so the newest version is assumed to know all fields.
 * - `Remembered`: a schema is unknown, but an earlier leader compared the same versions.
 */
export type VerdictBasis = 'Schemas' | 'Versions' | 'Remembered';

/** Which servers may write a resource whose fields differ between servers. */
export interface FieldVerdict {
  readonly group: string;
  /** With `/subresource` if the subresource's body is of another kind. */
  readonly resource: string;
  readonly basis: VerdictBasis;
  /** They know all fields, or at least more than the others. */
  readonly writers: PeerSet;
  /**
   * They know every field that the writers know, but may not accept each one. They keep stored fields, but may drop a
   * field in the request.
   */
  readonly standIns: PeerSet;
  /** Fields that the writers know and some other server does not know. */
  readonly appearing: FieldList;
  /** Fields that some other server knows and the writers do not know. */
  readonly disappearing: FieldList;
  /** Fields that all know but describe differently. */
  readonly described: FieldList;
}

/** Verdicts of an earlier leader. */
export interface RememberedVerdicts {
  /** Maps `id` to the {@link versionKey} of the server at that time. */
  readonly versions: ReadonlyMap<string, string>;
  /**
   * Maps `group/resource` to the ids of the servers and the verdict on them; the verdict is undefined if all were
   * alike.
   */
  readonly rows: ReadonlyMap<
    string,
    {
      readonly peers: ReadonlySet<string>;
      readonly writers?: ReadonlySet<string> | undefined;
      readonly standIns?: ReadonlySet<string> | undefined;
    }
  >;
}

/** Results of earlier comparisons, by the digests of both sides. */
export interface FieldMemo {
  compared: ReadonlyMap<string, FieldComparison>;
}

/** An empty memo. */
export function createFieldMemo(): FieldMemo {
  return { compared: new Map() };
}

/** Equal for servers that run the same program and serve the same version. */
export function versionKey({ version, emulatedVersion }: ServedVersion): string {
  return `${version ?? ''} ${emulatedVersion ?? ''}`;
}

/**
 * Decides who may write each built-in resource whose fields differ between servers, by group and name.
 *
 * Proof from schemas counts first. Equal schemas have equal fields, unless a feature gate makes a difference that the
 * schema does not show, as when a server emulates an older version. Of different schemas the newest version wins,
 * because a field that graduates is in both. An older version wins only if it knows more fields and describes all
 * others in the same words.
 */
export function judgeFields(
  served: readonly ServedGroupVersion[],
  peers: readonly ComparedPeer[],
  knowledge: SchemaKnowledge,
  remembered: RememberedVerdicts | undefined,
  memo: FieldMemo = createFieldMemo(),
): readonly FieldVerdict[] {
  const likenesses = peers.map(likenessOf);
  // The usual case: with a single version, nothing needs a closer look, regardless of the number of resources.
  if (new Set(likenesses).size < 2 && haveSameHashes(peers)) {
    memo.compared = new Map();
    return [];
  }
  const judging: Judging = { peers, knowledge, remembered, before: memo.compared, compared: new Map() };
  const verdicts: FieldVerdict[] = [];
  for (const [group, versions] of byGroup(served)) {
    if (isUniform(versions, peers, likenesses)) continue;
    for (const [resource, offered] of collectResources(versions)) {
      const verdict = judgeResource(judging, group, resource, offered);
      if (verdict !== undefined) verdicts.push(verdict);
    }
  }
  memo.compared = judging.compared;
  return verdicts;
}

interface Judging {
  readonly peers: readonly ComparedPeer[];
  readonly knowledge: SchemaKnowledge;
  readonly remembered: RememberedVerdicts | undefined;
  readonly before: ReadonlyMap<string, FieldComparison>;
  readonly compared: Map<string, FieldComparison>;
}

/** A server's versions of a resource's group, most preferred first, each with the key of its kind. */
interface Offered {
  readonly stored: boolean;
  readonly kinds: ReadonlyMap<number, ReadonlyMap<string, string>>;
}

/** A class of servers that know the resource in the same way. */
interface Class {
  /** The newest of them. */
  readonly first: number;
  readonly peers: number[];
  /** By version; undefined if no server of the class has been read. */
  kinds: ReadonlyMap<string, KnownKind> | undefined;
}

type KnownKind = OutlinedKind & DefinitionDigest;

function byGroup(served: readonly ServedGroupVersion[]): ReadonlyMap<string, readonly ServedGroupVersion[]> {
  const groups = new Map<string, ServedGroupVersion[]>();
  for (const entry of served) {
    const { group, origin } = entry.row;
    if (origin !== 'BuiltIn') continue;
    const known = groups.get(group);
    if (known === undefined) groups.set(group, [entry]);
    else known.push(entry);
  }
  return groups;
}

function likenessOf(peer: ComparedPeer): string {
  return `${servedMinor(peer)} ${peer.emulatedVersion}`;
}

function haveSameHashes(peers: readonly ComparedPeer[]): boolean {
  return new Set(peers.flatMap(({ hashesDigest }) => hashesDigest ?? [])).size < 2;
}

/** True if no resource of the group can differ, so that nothing needs a closer look. */
function isUniform(
  versions: readonly ServedGroupVersion[],
  peers: readonly ComparedPeer[],
  likenesses: readonly string[],
): boolean {
  const alike = new Set<string | undefined>();
  for (const { row, offers } of versions) {
    const key = `${row.group}/${row.version}`;
    const hashes = new Set<string>();
    for (const { peers: serving } of offers)
      for (const at of serving) {
        alike.add(likenesses[at]);
        const hash = peers[at]?.hashes?.get(key);
        if (hash !== undefined) hashes.add(hash);
      }
    if (hashes.size > 1 || alike.size > 1) return false;
  }
  return true;
}

/** Resources, and subresources with a body of another kind. Such a body is never stored as it is. */
function collectResources(versions: readonly ServedGroupVersion[]): ReadonlyMap<string, Offered> {
  const resources = new Map<string, { stored: boolean; kinds: Map<number, Map<string, string>> }>();
  for (const { row, offers } of versions)
    for (const { version, peers } of offers)
      for (const { resource, responseKind, verbs, subresources } of version.resources ?? []) {
        const own = kindKey({ ...row, kind: responseKind?.kind ?? '' });
        note(resource, row.version, own, peers, verbs?.includes('get') === true);
        for (const { subresource, responseKind: body, verbs: ofBody } of subresources ?? []) {
          const key = keyOfKind(row, body);
          if (key !== own && !isStream(subresource) && ofBody?.some((verb) => writing.has(verb)))
            note(`${resource}/${subresource}`, row.version, key, peers, false);
        }
      }
  function note(name: string, version: string, kind: string, peers: PeerSet, stored: boolean): void {
    const entry = resources.get(name) ?? { stored: false, kinds: new Map() };
    resources.set(name, entry);
    if (stored) entry.stored = true;
    for (const peer of peers) {
      const kinds = entry.kinds.get(peer) ?? new Map<string, string>();
      entry.kinds.set(peer, kinds);
      kinds.set(version, kind);
    }
  }
  return resources;
}

const writing: ReadonlySet<string> = new Set(['create', 'update', 'patch']);

/** Empty group and version mean those of the list. */
function keyOfKind(list: { readonly group: string; readonly version: string }, kind?: GroupVersionKind): string {
  const { group, version } = kind === undefined || kind.version === '' ? list : kind;
  return kindKey({ group, version, kind: kind?.kind ?? '' });
}

function judgeResource(judging: Judging, group: string, resource: string, offered: Offered): FieldVerdict | undefined {
  const classes = classify(judging, group, offered);
  if (classes.length < 2) return undefined;
  const unread = classes.some(({ kinds }) => kinds === undefined);
  const recalled = unread ? recall(judging, `${group}/${resource}`, offered) : undefined;
  if (recalled === 'alike') return undefined;
  const right = chooseRight(judging, classes);
  const others = classes.filter((other) => other !== right);
  const found = others.map((other) => ({ other, comparison: compareClasses(judging, right, other) }));
  const mayStandIn = found.filter(
    ({ comparison }) =>
      !offered.stored || isHeartbeat(group, resource) || (comparison !== undefined && comparison.onlyLeft.count === 0),
  );
  const lists = found.flatMap(({ comparison }) => (comparison === undefined ? [] : [comparison]));
  return {
    group,
    resource,
    basis: recalled !== undefined ? 'Remembered' : unread ? 'Versions' : 'Schemas',
    writers: recalled?.writers ?? sorted(right.peers),
    standIns: recalled?.standIns ?? sorted(mayStandIn.flatMap(({ other }) => other.peers)),
    appearing: unite(lists.map(({ onlyLeft }) => onlyLeft)),
    disappearing: unite(lists.map(({ onlyRight }) => onlyRight)),
    described: unite(lists.map(({ described }) => described)),
  };
}

function classify(judging: Judging, group: string, { kinds }: Offered): readonly Class[] {
  const { peers } = judging;
  const newestFirst = [...kinds.keys()].sort(
    (a, b) =>
      compareServedVersions(peers[b] ?? {}, peers[a] ?? {}) || compareText(peers[a]?.id ?? '', peers[b]?.id ?? ''),
  );
  const classes: Class[] = [];
  for (const at of newestFirst) {
    const known = readKinds(judging, group, at, kinds.get(at) ?? new Map());
    const alike = classes.find((other) => isAlike(peers[other.first] ?? {}, peers[at] ?? {}, other.kinds, known));
    if (alike === undefined) classes.push({ first: at, peers: [at], kinds: known });
    else {
      alike.peers.push(at);
      alike.kinds ??= known;
    }
  }
  return classes;
}

function readKinds(
  { peers, knowledge }: Judging,
  group: string,
  at: number,
  versions: ReadonlyMap<string, string>,
): ReadonlyMap<string, KnownKind> | undefined {
  const known = new Map<string, KnownKind>();
  for (const [version, key] of versions) {
    const hash = peers[at]?.hashes?.get(`${group}/${version}`);
    const schemas = hash === undefined ? undefined : knowledge.find(`${group}/${version}`, hash);
    const definition = schemas?.outline.kinds.get(key);
    const digest = schemas?.digests.get(key);
    if (schemas === undefined || definition === undefined || digest === undefined) return undefined;
    known.set(version, { outline: schemas.outline, definition, ...digest });
  }
  return known;
}

function isAlike(
  a: ServedVersion,
  b: ServedVersion,
  left: ReadonlyMap<string, KnownKind> | undefined,
  right: ReadonlyMap<string, KnownKind> | undefined,
): boolean {
  const sameMinor = servedMinor(a) === servedMinor(b);
  // A server's schemas come from its program, even if it emulates another version.
  if (a.emulatedVersion !== b.emulatedVersion) return false;
  if (left === undefined || right === undefined) return sameMinor;
  const shared = [...left].filter(([version]) => right.has(version));
  const isShared = shared.length === left.size && shared.length === right.size;
  if (!isShared && !sameMinor) return false;
  return shared.every(([version, { digest, gated }]) => right.get(version)?.digest === digest && (sameMinor || !gated));
}

/** Chooses the newest, unless another provably knows more and describes nothing else differently. */
function chooseRight(judging: Judging, [newest, ...older]: readonly Class[]): Class {
  let right = newest;
  if (right === undefined) throw new RangeError('no class to choose from');
  for (const other of older) {
    const compared = compareClasses(judging, right, other);
    if (compared === undefined || compared.described.count > 0 || compared.onlyLeft.count > 0) continue;
    if (compared.onlyRight.count > 0) right = other;
  }
  return right;
}

/**
 * Undefined if one side is unknown. A version that only one side has is compared with the other side's first version.
 */
function compareClasses(judging: Judging, left: Class, right: Class): FieldComparison | undefined {
  if (left.kinds === undefined || right.kinds === undefined) return undefined;
  const comparisons: FieldComparison[] = [];
  for (const [version, kind] of left.kinds) {
    const same = right.kinds.get(version);
    const other = same ?? [...right.kinds.values()][0];
    if (other === undefined) continue;
    const compared = compareOnce(judging, kind, other);
    comparisons.push(same === undefined ? { ...compared, onlyRight: none, described: none } : compared);
  }
  for (const [version, kind] of right.kinds) {
    const other = [...left.kinds.values()][0];
    if (left.kinds.has(version) || other === undefined) continue;
    comparisons.push({ ...compareOnce(judging, other, kind), onlyLeft: none, described: none });
  }
  return {
    onlyLeft: unite(comparisons.map(({ onlyLeft }) => onlyLeft)),
    onlyRight: unite(comparisons.map(({ onlyRight }) => onlyRight)),
    described: unite(comparisons.map(({ described }) => described)),
  };
}

const none: Readonly<FieldList> = { paths: [], count: 0 };

function compareOnce({ before, compared }: Judging, left: KnownKind, right: KnownKind): FieldComparison {
  const key = `${left.digest} ${right.digest}`;
  const found = compared.get(key) ?? before.get(key) ?? compareFields(left, right);
  compared.set(key, found);
  return found;
}

/** Lists each path once. A path that was cut from a list counts for each list that it was cut from. */
function unite(lists: readonly FieldList[]): FieldList {
  const [only] = lists;
  if (only === undefined) return none;
  if (lists.length === 1) return only;
  const paths = new Set(lists.flatMap((list) => list.paths));
  return { paths: [...paths], count: paths.size + Math.max(...lists.map((list) => list.count - list.paths.length)) };
}

/** The verdict of an earlier leader on exactly these servers and versions. */
function recall(
  { remembered, peers }: Judging,
  key: string,
  { kinds }: Offered,
): { readonly writers: PeerSet; readonly standIns: PeerSet } | 'alike' | undefined {
  const row = remembered?.rows.get(key);
  if (remembered === undefined || row === undefined) return undefined;
  const idOf = (at: number) => peers[at]?.id ?? '';
  const serving = sorted([...kinds.keys()]);
  const same = serving.every(
    (at) => row.peers.has(idOf(at)) && remembered.versions.get(idOf(at)) === versionKey(peers[at] ?? {}),
  );
  if (!same) return undefined;
  if (row.writers === undefined) return 'alike';
  const writers = serving.filter((at) => row.writers?.has(idOf(at)));
  return writers.length === 0 || writers.length === serving.length
    ? undefined
    : { writers, standIns: serving.filter((at) => row.standIns?.has(idOf(at))) };
}

function sorted(peers: readonly number[]): PeerSet {
  return [...peers].sort((a, b) => a - b);
}
