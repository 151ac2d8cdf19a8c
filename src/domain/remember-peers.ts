import type { PeerDocuments, PeerObservation } from './assess-peer.ts';
import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from './discovery-document.ts';
import { type RoutingTable, type TableResource, takesWork } from './routing-table.ts';

/** The publication of an earlier operator. */
export interface PublishedView {
  readonly table: RoutingTable;
  /** The unified documents of the same moment. */
  readonly apis: readonly GroupDiscovery[];
  readonly api: readonly GroupDiscovery[];
}

/**
 * An earlier operator's knowledge of each peer, so that a new leader does not forget a server that is away.
 *
 * A peer's document is reconstructed from the merged one. Its resources are exactly those that the table lists for it,
 * but their descriptions may be another peer's. It never counts as fresh. Peers that the table does not distinguish
 * share a document.
 */
export function rememberPeers(published: PublishedView, now: number): ReadonlyMap<string, PeerObservation> {
  const remembered = new Map<string, PeerObservation>();
  const rows = new Map<string, TableResource>();
  for (const { group, version, resources } of published.table.groupVersions)
    for (const row of resources) rows.set(`${group}/${version}/${row.resource}`, row);
  const takeApis = takerOfGroups(published.apis, rows);
  const takeApi = takerOfGroups(published.api, rows);
  published.table.peers.forEach(({ id, hostname, address, version, emulatedVersion, state }, index) => {
    const apis = takeApis(index).part;
    const api = takeApi(index).part;
    if (address === undefined || apis.length + api.length === 0) return;
    const documents: PeerDocuments = { form: 'v2', apis, api, etags: {}, hash: 'remembered' };
    remembered.set(id, {
      peer: { id, address, ...(hostname !== undefined && { hostname }) },
      documents,
      ...(version !== undefined && { version }),
      ...(emulatedVersion !== undefined && { emulatedVersion }),
      ...(state === 'Unreachable' && { unreachableSince: now }),
      ...(takesWork(state) && { wasReady: true }),
    });
  });
  return remembered;
}

type Rows = ReadonlyMap<string, TableResource>;

/** Extracts a peer's part of something merged; parts with equal keys are one object. */
type Take<Part> = (peer: number) => { readonly key: string; readonly part: Part };

function takerOfGroups(groups: readonly GroupDiscovery[], rows: Rows): Take<readonly GroupDiscovery[]> {
  return takerOfAll(
    groups.map((group) => takerOfGroup(group, rows)),
    (parts) => parts.filter((part) => part !== undefined),
  );
}

function takerOfGroup(group: GroupDiscovery, rows: Rows): Take<GroupDiscovery | undefined> {
  const takers = (group.versions ?? []).map((version) => takerOfVersion(group.name, version, rows));
  return takerOfAll(takers, (parts) => {
    const versions = parts.filter((part) => part !== undefined);
    return versions.length > 0 ? { ...group, versions } : undefined;
  });
}

function takerOfAll<Part, Whole>(takers: readonly Take<Part>[], join: (parts: readonly Part[]) => Whole): Take<Whole> {
  return takerByKey(
    (peer) => takers.map((take) => take(peer).key).join(' '),
    (peer) => join(takers.map((take) => take(peer).part)),
  );
}

function takerOfVersion(group: string, version: VersionDiscovery, rows: Rows): Take<VersionDiscovery | undefined> {
  const listed = (version.resources ?? []).flatMap((resource) => {
    const row = rows.get(`${group}/${version.version}/${resource.resource}`);
    return row === undefined ? [] : [{ resource, row }];
  });
  // Among 100 peers, nearly all rows refer to the same few sets.
  const sets = new Set(listed.flatMap(({ row }) => [row.peers, ...Object.values(row.subresources)]));
  const members = [...sets].map((peers) => new Set(peers));
  return takerByKey(
    (peer) => members.map((peers) => (peers.has(peer) ? '1' : '0')).join(''),
    (peer) => {
      const resources = listed.flatMap(({ resource, row }) =>
        row.peers.includes(peer) ? [withSubresourcesOf(resource, row, peer)] : [],
      );
      return resources.length > 0 ? { ...version, resources } : undefined;
    },
  );
}

function takerByKey<Part>(keyOf: (peer: number) => string, build: (peer: number) => Part): Take<Part> {
  const known = new Map<string, { readonly key: string; readonly part: Part }>();
  return (peer) => {
    const key = keyOf(peer);
    const taken = known.get(key) ?? { key, part: build(peer) };
    known.set(key, taken);
    return taken;
  };
}

function withSubresourcesOf(resource: ResourceDiscovery, row: TableResource, peer: number): ResourceDiscovery {
  const { subresources } = resource;
  const kept = subresources?.filter(({ subresource }) => row.subresources[subresource]?.includes(peer));
  return kept === undefined || kept.length === subresources?.length ? resource : { ...resource, subresources: kept };
}
