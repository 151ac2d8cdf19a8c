import { compareUtf8 } from './compare-utf8.ts';
import type { GroupDiscovery } from './discovery-document.ts';
import { type MergedGroup, mergeGroup } from './merge-group.ts';
import { mergeOrder } from './merge-order.ts';

/**
 * The results of the last merge, so that the next one merges only groups that changed.
 *
 * Groups are compared by identity: a document that was read again must share its equal parts with the one before.
 */
export interface MergeMemo {
  groups: ReadonlyMap<string, MergedGroup>;
  list: readonly GroupDiscovery[];
}

/** An empty memo. */
export function createMergeMemo(): MergeMemo {
  return { groups: new Map(), list: [] };
}

/**
 * Merges every server's `/apis` document exactly as the kube-apiserver named `localId` does: the same documents give
 * the same result and ETag. Returns the local list itself if there is nothing to add.
 *
 * It never changes its input. The result shares parts with the input, and is the same list as before if its groups are
 * the same. The order of the map does not matter. A local server without a document counts as serving nothing. Source:
 * `mergeResources` in `pkg/endpoints/discovery/aggregated/peer_aggregated_handler.go` of k8s.io/apiserver 0.35 to 0.37.
 * It copies the oddities: duplicate names in a list, the difference between empty and absent lists, and freshness,
 * which is never compared.
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

/** Each group as the servers list it, in order. Two are enough of a run of the same object. */
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
