import { compareUtf8 } from './compare-utf8.ts';
import type { GroupVersionKind, ResourceDiscovery, SubresourceDiscovery } from './discovery-document.ts';

/**
 * Returns `a` itself if `b` equals it. Otherwise verbs and subresources are the sorted union, and every other field
 * comes from `a`. Source: `mergeResourceCapabilities` of k8s.io/apiserver.
 */
export function mergeResource(a: ResourceDiscovery, b: ResourceDiscovery): ResourceDiscovery {
  if (equalResources(a, b)) return a;
  const verbs = new Set([...(a.verbs ?? []), ...(b.verbs ?? [])]);
  const subresources = new Map<string, SubresourceDiscovery>();
  for (const entry of [...(a.subresources ?? []), ...(b.subresources ?? [])])
    subresources.set(entry.subresource, entry);
  // Of two resources without a name, upstream prefers the later one.
  const { subresources: _, ...fields } = a.resource === '' ? b : a;
  return {
    ...fields,
    verbs: verbs.size > 0 ? [...verbs].sort(compareUtf8) : null,
    ...(subresources.size > 0 && {
      subresources: [...subresources.values()].sort((x, y) => compareUtf8(x.subresource, y.subresource)),
    }),
  };
}

/** Compares two resources like Go's `reflect.DeepEqual`. */
export function equalResources(a: ResourceDiscovery, b: ResourceDiscovery): boolean {
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

/** Like Go's `reflect.DeepEqual`: an absent list equals no other list, not even an empty one. */
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
