import { type RememberedVerdicts, versionKey } from './judge-fields.ts';
import type { FieldWriters, PeerSet, RoutingTable } from './routing-table.ts';

/** An earlier leader's verdicts on fields, from the table that it published. Undefined if it compared none. */
export function rememberVerdicts({ fieldSkew, peers, groupVersions }: RoutingTable): RememberedVerdicts | undefined {
  if (fieldSkew !== 'Preserve') return undefined;
  const idsOf = (set: PeerSet = []) => set.map((at) => peers[at]?.id ?? '');
  const rows = new Map<string, { peers: Set<string>; writers?: Set<string>; standIns?: Set<string> }>();
  for (const { group, origin, resources } of groupVersions) {
    if (origin !== 'BuiltIn') continue;
    for (const { resource, peers: serving, writers, standIns, subresources, subresourceWriters = {} } of resources) {
      remember(`${group}/${resource}`, serving, writers && { writers, standIns: standIns ?? [] });
      for (const [name, peersOf] of Object.entries(subresources))
        remember(`${group}/${resource}/${name}`, peersOf, subresourceWriters[name]);
    }
  }
  function remember(key: string, serving: PeerSet, fields: FieldWriters | undefined): void {
    const row = rows.get(key) ?? { peers: new Set<string>() };
    rows.set(key, row);
    for (const id of idsOf(serving)) row.peers.add(id);
    if (fields === undefined) return;
    row.writers = new Set([...(row.writers ?? []), ...idsOf(fields.writers)]);
    row.standIns = new Set([...(row.standIns ?? []), ...idsOf(fields.standIns)]);
  }
  return { versions: new Map(peers.map((peer) => [peer.id, versionKey(peer)])), rows };
}
