import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from './discovery-document.ts';
import { mergeOrder } from './merge-order.ts';
import { equalResources, mergeResource } from './merge-resource.ts';

/** One group, merged over all servers. */
export interface MergedGroup {
  readonly inputs: readonly GroupDiscovery[];
  readonly group: GroupDiscovery;
  /** False if no server adds to the first one's group or lists it differently; then it is the first one's. */
  readonly changed: boolean;
}

/**
 * Merges one group of several servers in their order. The result equals merging them pairwise from the left.
 *
 * Skips an entry that is the same object as the one merged last, because merging it again changes nothing. Source:
 * `mergeVersionsAcrossGroup` and `mergeResourcesAcrossVersion` in `peer_aggregated_handler.go` of k8s.io/apiserver.
 */
export function mergeGroup(inputs: readonly [GroupDiscovery, ...GroupDiscovery[]]): MergedGroup {
  const [first, ...others] = inputs;
  if (others.length === 0) return { inputs, group: first, changed: false };
  const versions = openList(first.versions ?? [], nameOfVersion, openVersion);
  let last: GroupDiscovery | undefined;
  let changed = false;
  for (const group of others) {
    if (group === last) continue;
    last = group;
    if (addList(versions, group.versions ?? [], nameOfVersion, openVersion, addVersion)) changed = true;
  }
  const group = changed ? { ...first, versions: statesOf(versions).map(closeVersion) } : first;
  return { inputs, group, changed };
}

/** A list during the merge: its names in order, and the state of each entry. */
interface ListMerge<State> {
  names: readonly string[];
  readonly states: Map<string, State>;
}

interface VersionMerge {
  readonly first: VersionDiscovery;
  last: VersionDiscovery | undefined;
  resources: ListMerge<ResourceMerge> | undefined;
  changed: boolean;
}

interface ResourceMerge {
  value: ResourceDiscovery;
  /** Values known to add nothing. */
  absorbed: Set<ResourceDiscovery> | undefined;
}

function openList<Entry, State>(
  entries: readonly Entry[],
  nameOf: (entry: Entry) => string,
  open: (entry: Entry) => State,
): ListMerge<State> {
  // If a list has a name twice, the last entry counts.
  return { names: entries.map(nameOf), states: new Map(entries.map((entry) => [nameOf(entry), open(entry)])) };
}

/** Adds another server's list. Returns false if it has the same names in the same order and changes no entry. */
function addList<Entry, State>(
  list: ListMerge<State>,
  entries: readonly Entry[],
  nameOf: (entry: Entry) => string,
  open: (entry: Entry) => State,
  add: (state: State, entry: Entry) => boolean,
): boolean {
  const { names, states } = list;
  let sameNames = entries.length === names.length;
  let changed = false;
  for (let index = 0; index < entries.length; index++) {
    const entry = entries[index] as Entry;
    const name = nameOf(entry);
    if (sameNames && name !== names[index]) sameNames = false;
    const state = states.get(name);
    if (state === undefined) states.set(name, open(entry));
    else if (add(state, entry)) changed = true;
  }
  if (sameNames && !changed) return false;
  const order = sameNames ? names : mergeOrder([names, entries.map(nameOf)]);
  list.names = order.length === states.size ? order : [...new Set(order)];
  return true;
}

function statesOf<State>({ names, states }: ListMerge<State>): readonly State[] {
  return names.flatMap((name) => states.get(name) ?? []);
}

function nameOfVersion({ version }: VersionDiscovery): string {
  return version;
}

function openVersion(first: VersionDiscovery): VersionMerge {
  return { first, last: undefined, resources: undefined, changed: false };
}

function addVersion(into: VersionMerge, version: VersionDiscovery): boolean {
  if (version === into.last) return false;
  into.last = version;
  into.resources ??= openList(into.first.resources ?? [], nameOfResource, openResource);
  const changed = addList(into.resources, version.resources ?? [], nameOfResource, openResource, addResource);
  if (changed) into.changed = true;
  return changed;
}

function closeVersion({ first, resources, changed }: VersionMerge): VersionDiscovery {
  if (!changed || resources === undefined) return first;
  return { ...first, resources: statesOf(resources).map(({ value }) => value) };
}

function nameOfResource({ resource }: ResourceDiscovery): string {
  return resource;
}

function openResource(value: ResourceDiscovery): ResourceMerge {
  return { value, absorbed: undefined };
}

/** Returns true for every difference, even if the value does not change, because upstream's merge does. */
function addResource(into: ResourceMerge, resource: ResourceDiscovery): boolean {
  const { value } = into;
  // The difference of an absorbed value has been reported before.
  if (value === resource || into.absorbed?.has(resource) === true) return false;
  const merged = mergeResource(value, resource);
  if (merged === value) return false;
  if (equalResources(merged, value)) {
    into.absorbed ??= new Set();
    into.absorbed.add(resource);
  } else {
    into.value = merged;
    into.absorbed = undefined;
  }
  return true;
}
