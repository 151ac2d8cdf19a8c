import { type RememberedVerdicts, versionKey } from './judge-fields.ts';
import type { PeerSet, RoutingTable } from './routing-table.ts';

/** What an earlier leader found of fields, by the table that it published; undefined if it compared none. */
export function rememberVerdicts({ fieldSkew, peers, groupVersions }: RoutingTable): RememberedVerdicts | undefined {
  if (fieldSkew !== 'Preserve') return undefined;
  const idsOf = (set: PeerSet = []) => set.map((at) => peers[at]?.id ?? '');
  const rows = new Map<string, { peers: Set<string>; writers?: Set<string>; standIns?: Set<string> }>();
  for (const { group, origin, resources } of groupVersions) {
    if (origin !== 'BuiltIn') continue;
    for (const { resource, peers: serving, writers, standIns } of resources) {
      const key = `${group}/${resource}`;
      const row = rows.get(key) ?? { peers: new Set<string>() };
      rows.set(key, row);
      for (const id of idsOf(serving)) row.peers.add(id);
      if (writers === undefined) continue;
      row.writers = new Set([...(row.writers ?? []), ...idsOf(writers)]);
      row.standIns = new Set([...(row.standIns ?? []), ...idsOf(standIns)]);
    }
  }
  return { versions: new Map(peers.map((peer) => [peer.id, versionKey(peer)])), rows };
}
