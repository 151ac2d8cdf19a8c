import type { Doubt, RoutingTable } from './routing-table.ts';

/**
 * Every reason why a server may serve a resource that the table does not list. If there is none, no server serves it.
 *
 * A server that has been away counts until it is `Gone` or has been read again, even if its discovery was read a moment
 * before. It may come back as another version, and it serves clients before the operator has seen it.
 */
export function absenceDoubts({ doubts, peers }: Pick<RoutingTable, 'doubts' | 'peers'>): readonly Doubt[] {
  const named = new Set(doubts.map(({ peer }) => peer));
  const away = peers.filter(({ id, inDoubt }) => inDoubt === true && !named.has(id));
  return [
    ...doubts,
    ...away.map(({ id }) => ({
      peer: id,
      reason: 'Away',
      message: 'it has been away, and may have another version since then',
    })),
  ];
}
