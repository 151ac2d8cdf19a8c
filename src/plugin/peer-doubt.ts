import type { RoutingTable } from '../domain/routing-table.ts';

/** Why a peer may serve more or less than the table lists for it; undefined if it is known well. */
export function doubtAbout(table: RoutingTable, at: number): string | undefined {
  const peer = table.peers[at];
  if (peer === undefined) return 'it is not in the table';
  const doubt = table.doubts.find(({ peer: id }) => id === peer.id);
  if (doubt !== undefined) return doubt.message;
  return peer.state === 'Ready' || peer.state === 'NotReady' || peer.state === 'Stale'
    ? undefined
    : `it is ${peer.state}`;
}
