import { absenceDoubts } from './absence-doubts.ts';
import { isHeartbeat, isReview } from './harmless-writes.ts';
import type {
  Doubt,
  FieldWriters,
  PeerSet,
  RoutingTable,
  Scope,
  TableGroupVersion,
  TableResource,
} from './routing-table.ts';
import { writesStored } from './written-with.ts';

/** A resource or subresource of the table. */
export interface ListedResource {
  readonly peers: PeerSet;
  /** The scope of kube-apiserver's own objects; undefined if it is unknown. */
  readonly scope: Scope | undefined;
  /** The servers that know all fields, if not all do. */
  readonly fields?: WriteRule | undefined;
}

/** The writers of a resource. */
export interface WriteRule extends FieldWriters {
  /** True if a server that may have another version now may write it too, while no other server can. */
  readonly harmless: boolean;
}

/** A routing table, indexed so that every lookup of a request costs one access. */
export interface TableIndex {
  readonly table: RoutingTable;
  /** Undefined if the table does not list it. */
  resource(group: string, version: string, resource: string, subresource: string): ListedResource | undefined;
  /** The peers that serve anything of the group-version. */
  groupVersion(group: string, version: string): PeerSet | undefined;
  /** The peers that serve anything of the group. */
  group(group: string): PeerSet | undefined;
  /** True if servers pass requests for the group-version on to an aggregated server. */
  isAggregated(group: string, version: string): boolean;
  /** The peer at this `host:port`. */
  peerAt(address: string): number | undefined;
  /** Why a server may serve what the table does not list; empty if none does. */
  readonly doubts: readonly Doubt[];
}

/** Indexes a table once, so that each request costs one Map look-up whatever the table's size. */
export function indexTable(table: RoutingTable): TableIndex {
  const resources = new Map<string, ListedResource>();
  const groupVersions = new Map<string, Set<number>>();
  const groups = new Map<string, Set<number>>();
  const aggregated = new Set<string>();
  for (const { group, version, origin, resources: rows } of table.groupVersions) {
    if (origin === 'Aggregated') aggregated.add(`${group}/${version}`);
    const ofVersion = setOf(groupVersions, `${group}/${version}`);
    const ofGroup = setOf(groups, group);
    let before: PeerSet | undefined;
    for (const row of rows) {
      const key = `${group}/${version}/${row.resource}`;
      // An aggregated server decides itself which objects it has at which path.
      const scope = origin === 'Aggregated' ? undefined : row.scope;
      const fields = writersOf(table, { group, origin }, row);
      resources.set(key, { peers: row.peers, scope, ...(fields && { fields }) });
      // Nearly all rows refer to the same few sets.
      if (row.peers !== before)
        for (const peer of row.peers) {
          ofVersion.add(peer);
          ofGroup.add(peer);
        }
      before = row.peers;
      for (const name of Object.keys(row.subresources)) {
        const peers = row.subresources[name] ?? [];
        const own = ofSubresource(group, row, name, fields);
        resources.set(`${key}/${name}`, { peers, scope, ...(own && { fields: own }) });
      }
    }
  }
  const versionPeers = sorted(groupVersions);
  const groupPeers = sorted(groups);
  const addresses = new Map<string, number>();
  table.peers.forEach(({ address }, at) => {
    if (address !== undefined && !addresses.has(address)) addresses.set(address, at);
  });
  return {
    table,
    resource: (group, version, resource, subresource) => {
      // A name that contains a slash (from %2F) must not be taken for a subresource.
      if (resource.indexOf('/') >= 0) return undefined;
      const key = `${group}/${version}/${resource}`;
      return resources.get(subresource === '' ? key : `${key}/${subresource}`);
    },
    groupVersion: (group, version) => versionPeers.get(`${group}/${version}`),
    group: (group) => groupPeers.get(group),
    isAggregated: (group, version) => aggregated.has(`${group}/${version}`),
    peerAt: (address) => addresses.get(address),
    doubts: absenceDoubts(table),
  };
}

/**
 * The writers, if not every server of the resource is one.
 *
 * If all are alike but one has been away, that one may have another version now; the others do not.
 */
function writersOf(
  { fieldSkew, peers }: RoutingTable,
  { group, origin }: Pick<TableGroupVersion, 'group' | 'origin'>,
  { resource, peers: serving, writers, standIns = [] }: TableResource,
): WriteRule | undefined {
  const harmless = isHeartbeat(group, resource) || isReview(group);
  if (writers !== undefined) return { writers, standIns, harmless };
  if (fieldSkew !== 'Preserve' || origin !== 'BuiltIn' || serving.length < 2 || harmless) return undefined;
  return serving.some((peer) => peers[peer]?.inDoubt === true) ? { writers: serving, standIns, harmless } : undefined;
}

/** The resource's writers, unless the table names others or the server writes no stored object with it. */
function ofSubresource(
  group: string,
  { resource, subresources, writers, subresourceWriters = {} }: TableResource,
  name: string,
  ofResource: WriteRule | undefined,
): WriteRule | undefined {
  const own = subresourceWriters[name];
  const stored = writesStored(group, resource, name);
  if (own !== undefined)
    return own.writers.length < (subresources[name] ?? []).length ? { ...own, harmless: !stored } : undefined;
  if (ofResource === undefined || (writers === undefined && !stored)) return undefined;
  return { ...ofResource, harmless: ofResource.harmless || !stored };
}

function setOf(map: Map<string, Set<number>>, key: string): Set<number> {
  const existing = map.get(key);
  if (existing !== undefined) return existing;
  const created = new Set<number>();
  map.set(key, created);
  return created;
}

function sorted(map: ReadonlyMap<string, ReadonlySet<number>>): Map<string, PeerSet> {
  return new Map([...map].map(([key, peers]) => [key, [...peers].sort((a, b) => a - b)]));
}
