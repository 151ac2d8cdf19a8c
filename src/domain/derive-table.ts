import type { PeerDocuments } from './assess-peer.ts';
import { compareText } from './compare-text.ts';
import type { DefinedResources } from './custom-resources.ts';
import type { GroupDiscovery, VersionDiscovery } from './discovery-document.ts';
import type { Origin, PeerSet, Scope, TableGroupVersion, TableResource } from './routing-table.ts';

/** One list of resources of a group-version, and the peers that serve exactly this list. */
export interface Offer {
  readonly version: VersionDiscovery;
  readonly peers: PeerSet;
}

/** A group-version of the table, and the offers it was made from. */
export interface ServedGroupVersion {
  readonly offers: readonly Offer[];
  readonly row: TableGroupVersion;
  /** Every set of peers that the row refers to. */
  readonly sets: readonly PeerSet[];
}

/** The results of the last derivation. A group-version keeps its row if its offers are the same objects. */
export interface TableMemo {
  served: ReadonlyMap<string, ServedGroupVersion>;
  /** Equal sets are one object, so that identity tells them apart. */
  sets: ReadonlyMap<string, PeerSet>;
}

/** An empty memo. */
export function createTableMemo(): TableMemo {
  return { served: new Map(), sets: new Map() };
}

/**
 * Derives which peer serves which resource for every group-version, sorted by name. It looks at each distinct list
 * once, not once for each peer.
 *
 * @param documents By the peer's index; undefined for a peer whose documents do not count.
 */
export function deriveTable(
  documents: readonly (PeerDocuments | undefined)[],
  defined: DefinedResources,
  memo: TableMemo,
): readonly ServedGroupVersion[] {
  const sets = new Map<string, PeerSet>();
  const share = (peers: readonly number[]): PeerSet => {
    const key = peers.join();
    const shared = sets.get(key) ?? memo.sets.get(key) ?? peers;
    sets.set(key, shared);
    return shared;
  };
  const customVersions = new Set([...defined.custom].map((key) => key.slice(0, key.lastIndexOf('/'))));
  const served = new Map<string, ServedGroupVersion>();
  for (const [key, { group, version, lists }] of collectOffers(documents)) {
    const offers = [...lists].map(([list, peers]) => ({ version: list, peers: share(peers) }));
    const before = memo.served.get(key);
    const kept = before !== undefined && sameOffers(before.offers, offers) ? before : undefined;
    const { resources, sets: used } =
      kept === undefined ? tabulate(offers, share) : { resources: kept.row.resources, sets: kept.sets };
    // The next derivation must find the sets that a kept row refers to.
    if (kept !== undefined) for (const set of used) share(set);
    const origin = originOf(key, resources, defined, customVersions);
    const row = { group, version, origin, resources };
    served.set(key, kept?.row.origin === origin ? kept : { offers, row, sets: used });
  }
  memo.served = served;
  memo.sets = sets;
  return [...served].sort(byKey).map(([, entry]) => entry);
}

interface Collected {
  readonly group: string;
  readonly version: string;
  readonly lists: Map<VersionDiscovery, PeerSet>;
}

function collectOffers(documents: readonly (PeerDocuments | undefined)[]): ReadonlyMap<string, Collected> {
  const alike = new Map<readonly GroupDiscovery[], number[]>();
  documents.forEach((document, peer) => {
    for (const groups of document === undefined ? [] : [document.api, document.apis]) {
      const peers = alike.get(groups);
      if (peers === undefined) alike.set(groups, [peer]);
      else peers.push(peer);
    }
  });
  const collected = new Map<string, Collected>();
  for (const [groups, peers] of alike)
    for (const group of groups)
      for (const version of group.versions ?? []) {
        const key = `${group.name}/${version.version}`;
        const entry = collected.get(key) ?? { group: group.name, version: version.version, lists: new Map() };
        collected.set(key, entry);
        const known = entry.lists.get(version);
        entry.lists.set(version, known === undefined ? peers : unite([known, peers]));
      }
  return collected;
}

interface CollectedResource {
  /** Undefined if offers differ. */
  scope: string | undefined;
  readonly offers: number[];
  readonly subresources: Map<string, number[]>;
}

function tabulate(
  offers: readonly Offer[],
  share: (peers: readonly number[]) => PeerSet,
): { readonly resources: readonly TableResource[]; readonly sets: readonly PeerSet[] } {
  const unions = new Map<string, PeerSet>();
  /** The union of the peers of several offers. */
  const peersOf = (indexes: readonly number[]): PeerSet => {
    const key = indexes.join();
    const known = unions.get(key) ?? share(unite(indexes.map((index) => offers[index]?.peers ?? [])));
    unions.set(key, known);
    return known;
  };
  const rows = new Map<string, CollectedResource>();
  offers.forEach(({ version }, index) => {
    for (const { resource, scope, subresources } of version.resources ?? []) {
      const row = rows.get(resource) ?? { scope, offers: [], subresources: new Map<string, number[]>() };
      rows.set(resource, row);
      if (row.scope !== scope) row.scope = undefined;
      addOnce(row.offers, index);
      for (const { subresource } of subresources ?? []) {
        const known = row.subresources.get(subresource) ?? [];
        row.subresources.set(subresource, known);
        addOnce(known, index);
      }
    }
  });
  const resources = [...rows].sort(byKey).map(([resource, row]) => ({
    resource,
    ...(isScope(row.scope) ? { scope: row.scope } : {}),
    peers: peersOf(row.offers),
    subresources: Object.fromEntries(
      [...row.subresources].sort(byKey).map(([subresource, indexes]) => [subresource, peersOf(indexes)]),
    ),
  }));
  return { resources, sets: [...unions.values()] };
}

function isScope(scope: string | undefined): scope is Scope {
  return scope === 'Namespaced' || scope === 'Cluster';
}

function unite(sets: readonly PeerSet[]): readonly number[] {
  const [only] = sets;
  return sets.length === 1 && only !== undefined ? only : [...new Set(sets.flat())].sort((a, b) => a - b);
}

function addOnce(indexes: number[], index: number): void {
  if (indexes.at(-1) !== index) indexes.push(index);
}

function sameOffers(a: readonly Offer[], b: readonly Offer[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ version, peers }, index) => version === b[index]?.version && peers === b[index]?.peers)
  );
}

function originOf(
  groupVersion: string,
  resources: readonly TableResource[],
  defined: DefinedResources,
  customVersions: ReadonlySet<string>,
): Origin {
  if (defined.aggregated.has(groupVersion)) return 'Aggregated';
  const custom =
    customVersions.has(groupVersion) &&
    resources.some(({ resource }) => defined.custom.has(`${groupVersion}/${resource}`));
  return custom ? 'CustomResource' : 'BuiltIn';
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return compareText(a[0], b[0]);
}
