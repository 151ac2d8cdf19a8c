import { compareUtf8 } from './compare-utf8.ts';
import type { GroupDiscovery } from './discovery-document.ts';
import { type MergedGroup, mergeGroup } from './merge-group.ts';
import { mergeOrder } from './merge-order.ts';

/**
 * What the last merge found, so that the next one does again only the groups that have changed.
 *
 * Groups are known again by identity: a document that was read anew has to share with the one before what is equal.
 */
export interface MergeMemo {
  groups: ReadonlyMap<string, MergedGroup>;
  list: readonly GroupDiscovery[];
}

/** A memo of nothing. */
export function createMergeMemo(): MergeMemo {
  return { groups: new Map(), list: [] };
}

/**
 * Merges every server's `/apis` document exactly as the kube-apiserver named `localId` does, so that over the same
 * documents the result and its ETag are the same; the local list itself is returned if there is nothing to add.
 *
 * Never changes what it is given; the result shares parts with it, and is the list of the merge before if that has the
 * same groups. The order of the map does not matter. A local server without a document counts as one that serves
 * nothing. Source: `mergeResources` in `pkg/endpoints/discovery/aggregated/peer_aggregated_handler.go` of
 * k8s.io/apiserver 0.35 to 0.37, oddities included: names that a list has twice, empty lists that are not absent ones,
 * and freshness that is never compared.
 */
export function mergeDiscovery(
  localId: string,
  servers: ReadonlyMap<string, readonly GroupDiscovery[]>,
  memo: MergeMemo = createMergeMemo(),
): readonly GroupDiscovery[] {
  const local = servers.get(localId) ?? [];
  const all = new Map(servers).set(localId, local);
  if (all.size <= 1) return local;

  const lists = [...all].sort(([a], [b]) => compareUtf8(a, b)).map(([, groups]) => groups);
  const merged = new Map<string, MergedGroup>();
  for (const [name, inputs] of collectInputs(lists)) {
    const before = memo.groups.get(name);
    merged.set(name, before !== undefined && sameItems(before.inputs, inputs) ? before : mergeGroup(inputs));
  }
  memo.groups = merged;

  const localNames = local.map(({ name }) => name);
  const nameLists = [...new Set(lists)].map((groups) => groups.map(({ name }) => name));
  const sameNames = nameLists.every((names) => sameItems(names, localNames));
  if (sameNames && ![...merged.values()].some(({ changed }) => changed)) return local;
  const order = sameNames ? localNames : mergeOrder(nameLists);
  const list = order.flatMap((name) => merged.get(name)?.group ?? []);
  if (!sameItems(memo.list, list)) memo.list = list;
  return memo.list;
}

type Inputs = [GroupDiscovery, ...GroupDiscovery[]];

/** Each group as the servers list it, in order; of a run of the very same object two are enough. */
function collectInputs(lists: readonly (readonly GroupDiscovery[])[]): ReadonlyMap<string, Inputs> {
  const inputs = new Map<string, Inputs>();
  for (const groups of lists)
    for (const group of groups) {
      const known = inputs.get(group.name);
      if (known === undefined) inputs.set(group.name, [group]);
      else if (known.at(-1) !== group || known.at(-2) !== group) known.push(group);
    }
  return inputs;
}

function sameItems<Item>(a: readonly Item[], b: readonly Item[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
