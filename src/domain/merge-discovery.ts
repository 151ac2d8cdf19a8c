import { compareUtf8 } from './compare-utf8.ts';
import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';
import { mergeOrder } from './merge-order.ts';

/**
 * Merges every server's `/apis` document exactly as the kube-apiserver named `localId` does, so that over the same
 * documents the result and its ETag are the same; the local list itself is returned if there is nothing to add.
 *
 * Never changes what it is given; the result shares parts with it. The order of the map does not matter. A local
 * server without a document counts as one that serves nothing. Source: `mergeResources` in
 * `pkg/endpoints/discovery/aggregated/peer_aggregated_handler.go` of k8s.io/apiserver 0.36, oddities included: names
 * that a list has twice, empty lists that are not absent ones, and freshness that is never compared.
 */
export function mergeDiscovery(
  localId: string,
  servers: ReadonlyMap<string, readonly GroupDiscovery[]>,
): readonly GroupDiscovery[] {
  const local = servers.get(localId) ?? [];
  const all = new Map(servers).set(localId, local);
  if (all.size <= 1) return local;

  const localNames = local.map(({ name }) => name);
  const merged = new Map<string, GroupDiscovery>();
  const nameLists: (readonly string[])[] = [];
  let changed = false;
  let sameNames = true;
  for (const [, groups] of [...all].sort(([a], [b]) => compareUtf8(a, b))) {
    for (const group of groups) {
      const existing = merged.get(group.name);
      const result = existing === undefined ? group : mergeGroup(existing, group);
      if (existing !== undefined && result !== existing) changed = true;
      merged.set(group.name, result);
    }
    const names = groups.map(({ name }) => name);
    nameLists.push(names);
    if (!equalLists(names, localNames, equalText)) sameNames = false;
  }
  if (sameNames && !changed) return local;
  const order = sameNames ? localNames : mergeOrder(nameLists);
  return order.flatMap((name) => merged.get(name) ?? []);
}

/** Returns `a` itself, and only then, if `b` adds nothing and has its versions in the same order. */
function mergeGroup(a: GroupDiscovery, b: GroupDiscovery): GroupDiscovery {
  const versions = mergeNamed(a.versions ?? [], b.versions ?? [], ({ version }) => version, mergeVersion);
  return versions === undefined ? a : { ...a, versions };
}

function mergeVersion(a: VersionDiscovery, b: VersionDiscovery): VersionDiscovery {
  const resources = mergeNamed(a.resources ?? [], b.resources ?? [], ({ resource }) => resource, mergeResource);
  return resources === undefined ? a : { ...a, resources };
}

/** Merges two lists entry by entry; undefined if the first is already the result. */
function mergeNamed<Entry>(
  first: readonly Entry[],
  second: readonly Entry[],
  nameOf: (entry: Entry) => string,
  mergeEntry: (a: Entry, b: Entry) => Entry,
): readonly Entry[] | undefined {
  const firstNames = first.map(nameOf);
  const secondNames = second.map(nameOf);
  // A name that the first list has twice stands for its last entry.
  const merged = new Map(first.map((entry) => [nameOf(entry), entry]));
  let changed = false;
  for (const entry of second) {
    const existing = merged.get(nameOf(entry));
    const result = existing === undefined ? entry : mergeEntry(existing, entry);
    if (result === existing) continue;
    changed = true;
    merged.set(nameOf(entry), result);
  }
  const sameNames = equalLists(firstNames, secondNames, equalText);
  if (sameNames && !changed) return undefined;
  const order = sameNames ? firstNames : mergeOrder([firstNames, secondNames]);
  return [...new Set(order)].flatMap((name) => merged.get(name) ?? []);
}

/** Verbs and subresources are the union, sorted; every other field is of `a`. */
function mergeResource(a: ResourceDiscovery, b: ResourceDiscovery): ResourceDiscovery {
  if (equalResources(a, b)) return a;
  const verbs = new Set([...(a.verbs ?? []), ...(b.verbs ?? [])]);
  const subresources = new Map<string, SubresourceDiscovery>();
  for (const entry of [...(a.subresources ?? []), ...(b.subresources ?? [])])
    subresources.set(entry.subresource, entry);
  // Upstream prefers the later of two resources without a name.
  const { subresources: _, ...fields } = a.resource === '' ? b : a;
  return {
    ...fields,
    verbs: verbs.size > 0 ? [...verbs].sort(compareUtf8) : null,
    ...(subresources.size > 0 && {
      subresources: [...subresources.values()].sort((x, y) => compareUtf8(x.subresource, y.subresource)),
    }),
  };
}

function equalResources(a: ResourceDiscovery, b: ResourceDiscovery): boolean {
  return (
    a === b ||
    (a.resource === b.resource &&
      a.scope === b.scope &&
      a.singularResource === b.singularResource &&
      equalKinds(a.responseKind, b.responseKind) &&
      equalLists(a.verbs, b.verbs, equalText) &&
      equalLists(a.shortNames, b.shortNames, equalText) &&
      equalLists(a.categories, b.categories, equalText) &&
      equalLists(a.subresources, b.subresources, equalSubresources))
  );
}

function equalSubresources(a: SubresourceDiscovery, b: SubresourceDiscovery): boolean {
  return (
    a === b ||
    (a.subresource === b.subresource &&
      equalKinds(a.responseKind, b.responseKind) &&
      equalLists(a.acceptedTypes, b.acceptedTypes, equalKinds) &&
      equalLists(a.verbs, b.verbs, equalText))
  );
}

function equalKinds(a: GroupVersionKind | undefined, b: GroupVersionKind | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return a.kind === b.kind && a.version === b.version && a.group === b.group;
}

/** As Go's `reflect.DeepEqual`: an absent list equals no list at all, not even an empty one. */
function equalLists<Item>(
  a: readonly Item[] | null | undefined,
  b: readonly Item[] | null | undefined,
  equal: (a: Item, b: Item) => boolean,
): boolean {
  if (a === b) return true;
  if (!a || !b || a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (!equal(a[index] as Item, b[index] as Item)) return false;
  return true;
}

function equalText(a: string, b: string): boolean {
  return a === b;
}
