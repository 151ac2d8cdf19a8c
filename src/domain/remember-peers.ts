import type { PeerDocuments, PeerObservation } from './assess-peer.ts';
import type { GroupDiscovery, ResourceDiscovery } from './discovery-document.ts';
import type { RoutingTable, TableResource } from './routing-table.ts';

/** What an earlier operator published. */
export interface PublishedView {
  readonly table: RoutingTable;
  /** The unified documents of the same moment. */
  readonly apis: readonly GroupDiscovery[];
  readonly api: readonly GroupDiscovery[];
}

/**
 * What an earlier operator knew of each peer, so that a new leader does not forget a server that is away just now.
 *
 * A peer's document is taken back out of the merged one: its resources are exactly those that the table gives it, their
 * descriptions may be another peer's. It never counts as fresh.
 */
export function rememberPeers(published: PublishedView, now: number): ReadonlyMap<string, PeerObservation> {
  const remembered = new Map<string, PeerObservation>();
  const rows = new Map<string, TableResource>();
  for (const { group, version, resources } of published.table.groupVersions)
    for (const row of resources) rows.set(`${group}/${version}/${row.resource}`, row);
  published.table.peers.forEach(({ id, hostname, address, version, state }, index) => {
    const apis = documentOf(published.apis, rows, index);
    const api = documentOf(published.api, rows, index);
    if (address === undefined || apis.length + api.length === 0) return;
    const documents: PeerDocuments = { form: 'v2', apis, api, etags: {}, hash: 'remembered' };
    remembered.set(id, {
      peer: { id, address, ...(hostname !== undefined && { hostname }) },
      documents,
      ...(version !== undefined && { version }),
      ...(state === 'Unreachable' && { unreachableSince: now }),
    });
  });
  return remembered;
}

function documentOf(
  groups: readonly GroupDiscovery[],
  rows: ReadonlyMap<string, TableResource>,
  peer: number,
): readonly GroupDiscovery[] {
  const kept: GroupDiscovery[] = [];
  for (const group of groups) {
    const versions = (group.versions ?? []).flatMap((version) => {
      const resources = (version.resources ?? []).flatMap((resource) => {
        const row = rows.get(`${group.name}/${version.version}/${resource.resource}`);
        return row?.peers.includes(peer) === true ? [withSubresourcesOf(resource, row, peer)] : [];
      });
      return resources.length > 0 ? [{ ...version, resources }] : [];
    });
    if (versions.length > 0) kept.push({ ...group, versions });
  }
  return kept;
}

function withSubresourcesOf(resource: ResourceDiscovery, row: TableResource, peer: number): ResourceDiscovery {
  const subresources = resource.subresources?.filter(({ subresource }) =>
    row.subresources[subresource]?.includes(peer),
  );
  return subresources === undefined ? resource : { ...resource, subresources };
}
