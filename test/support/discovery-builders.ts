import fc from 'fast-check';
import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from '../../src/domain/discovery-document.ts';

/** A resource as a server would list it, with defaults for all other fields. */
export function buildResource(resource: string, more: Partial<ResourceDiscovery> = {}): ResourceDiscovery {
  return { resource, scope: 'Namespaced', singularResource: '', verbs: ['get', 'list'], ...more };
}

/** A version with the given resources. A string stands for a resource with that name. */
export function buildVersion(version: string, ...resources: (string | ResourceDiscovery)[]): VersionDiscovery {
  const list = resources.map((entry) => (typeof entry === 'string' ? buildResource(entry) : entry));
  return { version, resources: list, freshness: 'Current' };
}

/** A group with the given versions. */
export function buildGroup(name: string, ...versions: VersionDiscovery[]): GroupDiscovery {
  return { name, versions };
}

/** An APIGroupDiscoveryList as decoded from JSON: a server's document before it is checked. */
export interface RawDiscoveryList {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: object;
  readonly items: readonly RawGroup[] | null;
}

interface RawGroup {
  readonly metadata?: { readonly name?: string | null; readonly creationTimestamp?: null };
  readonly versions?: readonly RawVersion[] | null | undefined;
}

interface RawVersion {
  readonly version: string;
  readonly resources?: readonly RawResource[] | null | undefined;
}

interface RawResource {
  readonly resource: string;
  readonly responseKind?: object | null;
  readonly scope?: string | null;
  readonly singularResource?: string;
  readonly verbs?: readonly string[] | null | undefined;
  readonly shortNames?: readonly string[] | null | undefined;
  readonly categories?: readonly string[] | null | undefined;
  readonly subresources?: readonly RawSubresource[] | null | undefined;
}

interface RawSubresource {
  readonly subresource: string;
  readonly acceptedTypes?: readonly (object | null)[] | null | undefined;
}

/** The documents of some servers, and the id of the local one. */
export interface DocumentSet {
  readonly local: string;
  readonly servers: Readonly<Record<string, RawDiscoveryList>>;
}

/**
 * Sets of documents that are hard to merge: mostly alike and therefore overlapping, in contradictory orders, with
 * duplicate names, lists that are empty, null or absent, and text that is awkward to sort or escape.
 *
 * The local server's own list is never null: in kube-apiserver it is null only before its first document.
 */
export function nastyDocumentSets(): fc.Arbitrary<DocumentSet> {
  return fc
    .array(group(), { maxLength: 4 })
    .chain((base) =>
      fc.record({
        ids: fc.uniqueArray(fc.constantFrom(...serverIds), { minLength: 1, maxLength: 4 }),
        lists: fc.array(variationOf(base, group(), groupVariation), { minLength: 4, maxLength: 4 }),
        absent: fc.array(rarely(), { minLength: 4, maxLength: 4 }),
      }),
    )
    .map(({ ids, lists, absent }) => ({
      local: ids[0] ?? '',
      servers: Object.fromEntries(
        ids.map((id, index) => [id, rawList(index > 0 && absent[index] ? null : (lists[index] ?? []))]),
      ),
    }));
}

function rawList(items: readonly RawGroup[] | null): RawDiscoveryList {
  return { kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2', metadata: {}, items };
}

// U+FFFD sorts before U+1F600 in bytes, and after it in UTF-16 units. A lone surrogate is read as U+FFFD.
const serverIds = ['a', 'b', 'B', 'apiserver-10', 'apiserver-9', '\ufffd', '\u{1f600}', 'é'];
const names = ['', 'a', 'b', 'c', 'B', 'aa', 'é', '\ufffd', '\ud800', '\u{1f600}', '<&>\u2028', 'constructor'];
const verbs = ['list', 'get', 'watch', 'Get', '', '\udc00', 'a"\\\n\u0001\u007f', '\u{1f600}', '\ufffd'];

function rarely(): fc.Arbitrary<boolean> {
  return fc.integer({ min: 0, max: 9 }).map((roll) => roll === 0);
}

/** A list as Go may have written it, or as a careless server sent it. */
function maybeList<Item>(
  item: fc.Arbitrary<Item>,
  maxLength: number,
): fc.Arbitrary<readonly Item[] | null | undefined> {
  return fc.oneof(
    { weight: 6, arbitrary: fc.array(item, { maxLength }) },
    { weight: 1, arbitrary: fc.constantFrom(null, undefined, []) },
  );
}

const texts = () => maybeList(fc.constantFrom(...verbs), 3);
const kind = () =>
  fc.option(fc.record({ group: fc.constantFrom('', 'a'), kind: fc.constantFrom('A', '<B>', null) }), { freq: 3 });

function group(): fc.Arbitrary<RawGroup> {
  return fc.record({
    metadata: fc.record({ name: fc.constantFrom(...names), creationTimestamp: fc.constant(null) }),
    kind: fc.constantFrom(undefined, undefined, '', 'K'),
    versions: maybeList(version(), 3),
  });
}

function version(): fc.Arbitrary<RawVersion> {
  return fc.record({
    version: fc.constantFrom('v1', 'v2', 'v1beta1', 'é', ''),
    resources: maybeList(resource(), 8),
    freshness: fc.constantFrom('Current', 'Stale', '', undefined),
  });
}

function resource(): fc.Arbitrary<RawResource> {
  return fc.record({
    resource: fc.constantFrom(...names),
    responseKind: kind(),
    scope: fc.constantFrom('Namespaced', 'Cluster', null),
    singularResource: fc.constantFrom('', 's'),
    verbs: texts(),
    shortNames: texts(),
    categories: texts(),
    subresources: maybeList(subresource(), 3),
    unknownField: fc.constant(1),
  });
}

const resourceFields = [
  'responseKind',
  'scope',
  'singularResource',
  'verbs',
  'shortNames',
  'categories',
  'subresources',
] as const satisfies readonly (keyof RawResource)[];

function subresource(): fc.Arbitrary<RawSubresource> {
  return fc.record({
    subresource: fc.constantFrom('status', 'exec', ''),
    responseKind: kind(),
    acceptedTypes: maybeList(kind(), 2),
    verbs: texts(),
  });
}

/** The same list, or one with entries dropped, reordered, duplicated, changed or added. */
function variationOf<Item>(
  base: readonly Item[],
  fresh: fc.Arbitrary<Item>,
  variation: (item: Item) => fc.Arbitrary<Item>,
): fc.Arbitrary<readonly Item[]> {
  const some = [...base];
  const changed = fc.tuple(
    ...some.map((item) => fc.oneof({ weight: 2, arbitrary: fc.constant(item) }, variation(item))),
  );
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant(some) },
    { weight: 2, arbitrary: fc.shuffledSubarray(some) },
    { weight: 1, arbitrary: fc.subarray(some) },
    { weight: 2, arbitrary: changed },
    { weight: 1, arbitrary: fc.tuple(fc.shuffledSubarray(some), changed).map(([first, then]) => [...first, ...then]) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.array(fresh, { maxLength: 2 }), changed).map(([first, then]) => [...first, ...then]),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.subarray(some), fc.array(fresh, { maxLength: 3 })).map((parts) => parts.flat()),
    },
  );
}

function groupVariation(item: RawGroup): fc.Arbitrary<RawGroup> {
  return variationOf(item.versions ?? [], version(), versionVariation).map((versions) => ({ ...item, versions }));
}

function versionVariation(item: RawVersion): fc.Arbitrary<RawVersion> {
  return variationOf(item.resources ?? [], resource(), resourceVariation).map((resources) => ({ ...item, resources }));
}

function resourceVariation(item: RawResource): fc.Arbitrary<RawResource> {
  const list = item.subresources ?? [];
  const otherSubresources = variationOf(list, subresource(), subresourceVariation);
  const rebuilt = fc
    .tuple(resource(), otherSubresources, fc.constantFrom(...resourceFields, 'subresources', 'subresources', undefined))
    .map(([fresh, subresources, only]) => {
      const other = list.length > 0 ? { ...fresh, subresources } : fresh;
      return only === undefined ? { ...other, resource: item.resource } : { ...item, [only]: other[only] };
    });
  // Differences that only a careful comparison sees: one list that is empty instead of absent, one word of a kind.
  const listField = fc.constantFrom('verbs', 'shortNames', 'categories', 'subresources');
  const emptied = listField.map((field) =>
    item[field]?.length ? item : { ...item, [field]: item[field] ? null : [] },
  );
  const kindWord = fc.constantFrom('group', 'version', 'kind');
  const renamed = kindWord.map((word) => ({ ...item, responseKind: { ...item.responseKind, [word]: 'x' } }));
  return fc.oneof({ weight: 2, arbitrary: rebuilt }, emptied, renamed);
}

function subresourceVariation(item: RawSubresource): fc.Arbitrary<RawSubresource> {
  return maybeList(kind(), 2).map((acceptedTypes) => ({ ...item, acceptedTypes }));
}
