import type { DivergentResource } from '../api/peer-discovery.ts';
import type { GroupDiscovery, ResourceDiscovery, SubresourceDiscovery } from '../domain/discovery-document.ts';
import type { RoutingTable } from '../domain/routing-table.ts';

/** Served resources by `group/version/resource[/subresource]`, with their facts from discovery if known. */
export type ServedResources = ReadonlyMap<string, ServedResource>;

/** One resource or subresource. */
export interface ServedResource {
  readonly group: string;
  readonly version: string;
  /** With `/subresource` if it is one. */
  readonly resource: string;
  /** Comparable facts by name, such as `verbs`. For a live peer, only those in which it differs from others. */
  readonly facts: Readonly<Record<string, string>>;
}

/** A resource that both sides serve in different ways. */
export interface ChangedResource extends Omit<ServedResource, 'facts'> {
  readonly changes: readonly { readonly fact: string; readonly left: string; readonly right: string }[];
}

/** The difference between two. */
export interface Comparison {
  readonly onlyLeft: readonly ServedResource[];
  readonly onlyRight: readonly ServedResource[];
  readonly changed: readonly ChangedResource[];
}

/**
 * The resources of one peer of a table, or of all peers together.
 *
 * @param divergent The status's list. Its values for this peer become facts, as far as peers differ.
 */
export function servedByPeer(
  table: RoutingTable,
  at: number | 'any',
  divergent: readonly DivergentResource[] = [],
): ServedResources {
  const id = at === 'any' ? undefined : table.peers[at]?.id;
  const facts = new Map(
    divergent.map(({ group, version, resource, subresource, differences = [] }) => [
      `${group}/${version}/${subresource === undefined ? resource : `${resource}/${subresource}`}`,
      Object.fromEntries(
        differences.flatMap(({ field, values }) =>
          values.filter(({ peers }) => id !== undefined && peers.includes(id)).map(({ value }) => [field, value]),
        ),
      ),
    ]),
  );
  const served = new Map<string, ServedResource>();
  const add = (group: string, version: string, resource: string, peers: readonly number[]) => {
    if (at !== 'any' && !peers.includes(at)) return;
    const key = `${group}/${version}/${resource}`;
    served.set(key, { group, version, resource, facts: facts.get(key) ?? {} });
  };
  for (const { group, version, resources } of table.groupVersions)
    for (const { resource, peers, subresources } of resources) {
      add(group, version, resource, peers);
      for (const [name, peersOf] of Object.entries(subresources)) add(group, version, `${resource}/${name}`, peersOf);
    }
  return served;
}

/** The resources of a server according to a saved discovery document. */
export function servedByDocument(groups: readonly GroupDiscovery[]): ServedResources {
  const served = new Map<string, ServedResource>();
  for (const { name: group, versions } of groups)
    for (const { version, resources } of versions ?? [])
      for (const row of resources ?? []) {
        const add = (resource: string, facts: ServedResource['facts']) =>
          served.set(`${group}/${version}/${resource}`, { group, version, resource, facts });
        add(row.resource, factsOf(row));
        for (const sub of row.subresources ?? []) add(`${row.resource}/${sub.subresource}`, subresourceFacts(sub));
      }
  return served;
}

/** Compares by key, and by those facts that both sides have. Sorted by group, version and resource. */
export function compareServed(left: ServedResources, right: ServedResources): Comparison {
  const changed: ChangedResource[] = [];
  for (const [key, { facts, ...row }] of left) {
    const other = right.get(key);
    if (other === undefined) continue;
    const changes = Object.entries(facts).flatMap(([fact, value]) => {
      const now = other.facts[fact];
      return now === undefined || now === value ? [] : [{ fact, left: value, right: now }];
    });
    if (changes.length > 0) changed.push({ ...row, changes });
  }
  return {
    onlyLeft: [...left]
      .filter(([key]) => !right.has(key))
      .map(([, row]) => row)
      .sort(byName),
    onlyRight: [...right]
      .filter(([key]) => !left.has(key))
      .map(([, row]) => row)
      .sort(byName),
    changed: changed.sort(byName),
  };
}

function factsOf(row: ResourceDiscovery): Readonly<Record<string, string>> {
  return {
    kind: row.responseKind?.kind ?? '',
    scope: row.scope ?? '',
    verbs: sorted(row.verbs),
    shortNames: sorted(row.shortNames),
    categories: sorted(row.categories),
  };
}

function subresourceFacts(row: SubresourceDiscovery): Readonly<Record<string, string>> {
  return { kind: row.responseKind?.kind ?? '', verbs: sorted(row.verbs) };
}

function sorted(names: readonly string[] | null | undefined): string {
  return [...(names ?? [])].sort().join(',');
}

function byName(a: Omit<ServedResource, 'facts'>, b: Omit<ServedResource, 'facts'>): number {
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

function keyOf({ group, version, resource }: Omit<ServedResource, 'facts'>): string {
  return `${group}/${version}/${resource}`;
}
