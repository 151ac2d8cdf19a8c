import type { Offer, ServedGroupVersion } from './derive-table.ts';
import type { GroupVersionKind, ResourceDiscovery, SubresourceDiscovery } from './discovery-document.ts';
import type { PeerSet } from './routing-table.ts';

/** A fact on which live peers differ. */
export interface Difference {
  readonly field: 'scope' | 'kind' | 'singularName' | 'verbs' | 'shortNames' | 'categories' | 'acceptedTypes';
  readonly values: readonly { readonly value: string; readonly peers: readonly string[] }[];
}

/** A resource or subresource that some live peers serve and others do not, or that they describe differently. */
export interface Divergence {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly servedBy: readonly string[];
  readonly missingFrom: readonly string[];
  /** The facts on which the peers that serve it differ. The order of a list does not matter. */
  readonly differences: readonly Difference[];
}

/** The results of the last comparison, by group-version. They are valid only for the same objects. */
export interface DivergenceMemo {
  ids: string;
  found: ReadonlyMap<ServedGroupVersion, readonly Divergence[]>;
}

/** An empty memo. */
export function createDivergenceMemo(): DivergenceMemo {
  return { ids: '', found: new Map() };
}

/**
 * Compares the resources of the live peers. Resources are sorted by name, each followed by its subresources.
 *
 * @param compared Indexes of the peers to compare, ascending.
 */
export function findDivergences(
  served: readonly ServedGroupVersion[],
  ids: readonly string[],
  compared: PeerSet,
  memo: DivergenceMemo,
): readonly Divergence[] {
  const key = JSON.stringify([ids, compared]);
  const found = new Map<ServedGroupVersion, readonly Divergence[]>();
  const split = splitter(ids, compared);
  for (const entry of served)
    found.set(entry, (memo.ids === key ? memo.found.get(entry) : undefined) ?? compareOffers(entry, split));
  memo.ids = key;
  memo.found = found;
  const all = [...found.values()].flat();
  return [
    ...all.filter(({ subresource }) => subresource === undefined),
    ...all.filter(({ subresource }) => subresource !== undefined),
  ];
}

interface Split {
  readonly servedBy: readonly string[];
  readonly missingFrom: readonly string[];
}

type Splitter = (peers: PeerSet) => Split;

/** Splits the compared peers into those in a set and the others; computed once for each set. */
function splitter(ids: readonly string[], compared: PeerSet): Splitter {
  const known = new Map<PeerSet, Split>();
  return (peers) => {
    const before = known.get(peers);
    if (before !== undefined) return before;
    const serving = new Set(peers);
    const name = (index: number) => ids[index] ?? '';
    const split = {
      servedBy: compared.filter((index) => serving.has(index)).map(name),
      missingFrom: compared.filter((index) => !serving.has(index)).map(name),
    };
    known.set(peers, split);
    return split;
  };
}

const diverges = ({ servedBy, missingFrom }: Split) => servedBy.length > 0 && missingFrom.length > 0;

function compareOffers({ offers, row }: ServedGroupVersion, split: Splitter): Divergence[] {
  const { group, version, resources } = row;
  const lists = offers.filter(({ peers }) => split(peers).servedBy.length > 0);
  const described = lists.length > 1 ? collectDescriptions(lists, split) : undefined;
  const divergences: Divergence[] = [];
  for (const { resource, peers, subresources } of resources) {
    const descriptions = described?.get(resource) ?? [];
    const differences = descriptions.length > 1 ? compareFields(descriptions, resourceFields) : [];
    const found = split(peers);
    if (diverges(found) || differences.length > 0)
      divergences.push({ group, version, resource, ...found, differences });
    for (const [subresource, serving] of Object.entries(subresources)) {
      const differing =
        descriptions.length > 1 ? compareFields(ofSubresource(descriptions, subresource), subresourceFields) : [];
      // If a peer lacks the resource, its missing subresources are no news, unless they differ in another way.
      const missing = serving.length !== peers.length && diverges(split(serving));
      if (missing || differing.length > 0)
        divergences.push({ group, version, resource, subresource, ...split(serving), differences: differing });
    }
  }
  return divergences;
}

interface Description<Entry> {
  readonly entry: Entry;
  readonly peers: readonly string[];
}

/** The distinct descriptions of a resource; one object counts once. */
function collectDescriptions(
  offers: readonly Offer[],
  split: Splitter,
): ReadonlyMap<string, readonly Description<ResourceDiscovery>[]> {
  const byEntry = new Map<string, Map<ResourceDiscovery, readonly string[]>>();
  for (const { version, peers } of offers) {
    const { servedBy } = split(peers);
    for (const entry of version.resources ?? []) {
      const entries = byEntry.get(entry.resource) ?? new Map<ResourceDiscovery, readonly string[]>();
      byEntry.set(entry.resource, entries);
      const known = entries.get(entry);
      entries.set(entry, known === undefined ? servedBy : [...known, ...servedBy]);
    }
  }
  const described = new Map<string, readonly Description<ResourceDiscovery>[]>();
  for (const [resource, entries] of byEntry)
    if (entries.size > 1)
      described.set(
        resource,
        [...entries].map(([entry, peers]) => ({ entry, peers })),
      );
  return described;
}

function ofSubresource(
  descriptions: readonly Description<ResourceDiscovery>[],
  name: string,
): readonly Description<SubresourceDiscovery>[] {
  return descriptions.flatMap(({ entry, peers }) =>
    (entry.subresources ?? [])
      .filter(({ subresource }) => subresource === name)
      .map((found) => ({ entry: found, peers })),
  );
}

type Fields<Entry> = readonly (readonly [Difference['field'], (entry: Entry) => string])[];

const resourceFields: Readonly<Fields<ResourceDiscovery>> = [
  ['scope', ({ scope }) => scope],
  ['kind', ({ responseKind }) => showKind(responseKind)],
  ['singularName', ({ singularResource }) => singularResource],
  ['verbs', ({ verbs }) => showList(verbs)],
  ['shortNames', ({ shortNames }) => showList(shortNames)],
  ['categories', ({ categories }) => showList(categories)],
];

const subresourceFields: Readonly<Fields<SubresourceDiscovery>> = [
  ['kind', ({ responseKind }) => showKind(responseKind)],
  ['verbs', ({ verbs }) => showList(verbs)],
  ['acceptedTypes', ({ acceptedTypes }) => showList(acceptedTypes?.map(showKind))],
];

function compareFields<Entry>(
  descriptions: readonly Description<Entry>[],
  fields: Fields<Entry>,
): readonly Difference[] {
  return fields.flatMap(([field, show]) => {
    const said = new Map<string, string[]>();
    for (const { entry, peers } of descriptions) {
      const value = show(entry);
      said.set(value, [...(said.get(value) ?? []), ...peers]);
    }
    if (said.size < 2) return [];
    const values = [...said].map(([value, peers]) => ({ value, peers: [...new Set(peers)].sort() }));
    return [{ field, values: values.sort((a, b) => (a.value < b.value ? -1 : 1)) }];
  });
}

function showKind(kind: GroupVersionKind | undefined): string {
  return kind === undefined ? '' : [kind.group, kind.version, kind.kind].filter((word) => word !== '').join('/');
}

function showList(list: readonly string[] | null | undefined): string {
  return [...new Set(list ?? [])].sort().join(',');
}
