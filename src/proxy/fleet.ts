import type { PeerState, RoutingBundle } from '../domain/routing-table.ts';
import type { TableIndex } from '../domain/table-index.ts';
import { indexTable } from '../domain/table-index.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ClientConnection } from './exchange.ts';
import type { PeerHealth } from './peer-health.ts';
import type { PeerTarget } from './ports.ts';

/** A server that requests can be sent to. */
export interface FleetPeer {
  readonly target: PeerTarget;
  readonly state: PeerState;
  readonly load: { inFlight: number };
}

/** One table with everything that is derived from it; requests take the reference once, and it never changes. */
export interface FleetSnapshot {
  readonly bundle: RoutingBundle | undefined;
  readonly index: TableIndex | undefined;
  /** By index in the table; undefined for a peer without an address. */
  readonly peers: readonly (FleetPeer | undefined)[];
}

/** The servers behind this proxy as of now. */
export interface Fleet {
  current(): FleetSnapshot;
  /** Swaps the table whole; running requests keep the old one. */
  replace(bundle: RoutingBundle): void;
  /** Whether the source may be behind from here on. */
  distrust(doubtful: boolean): void;
  tableTooOld(): boolean;
  /** -1 without a table. */
  tableAgeSeconds(): number;
  usable(peer: FleetPeer | undefined): peer is FleetPeer;
  /** The home of a client connection: the pinned one, else one that is chosen once and kept while it is well. */
  homeOf(snapshot: FleetSnapshot, connection: ClientConnection): FleetPeer | undefined;
}

/** Holds the table in use, and chooses homes. */
export function createFleet({
  health,
  clock,
  pinnedHome,
  serverName,
  onHomeChange,
}: {
  readonly health: PeerHealth;
  readonly clock: Clock;
  /** `host:port` that is every client's home. */
  readonly pinnedHome: string | undefined;
  /** Name that every server's certificate has to bear; the table's own word for it is data, not authority. */
  readonly serverName: string;
  readonly onHomeChange: (from: string, to: string) => void;
}): Fleet {
  const loads = new Map<string, { inFlight: number }>();
  const loadOf = (address: string) => {
    const existing = loads.get(address);
    if (existing !== undefined) return existing;
    const created = { inFlight: 0 };
    loads.set(address, created);
    return created;
  };
  const pinned: FleetPeer | undefined =
    pinnedHome === undefined
      ? undefined
      : {
          target: {
            id: pinnedHome,
            address: pinnedHome,
            serverName,
            pinned: true,
          },
          state: 'Ready',
          load: loadOf(pinnedHome),
        };
  let snapshot: FleetSnapshot = { bundle: undefined, index: undefined, peers: [] };
  let confirmedAt = 0;
  let distrusted = false;
  const usable = (peer: FleetPeer | undefined): peer is FleetPeer =>
    peer !== undefined && (peer.state === 'Ready' || peer.state === 'Stale') && health.isWell(peer.target.address);
  let turn = 0;
  // It starts at another peer each time, so that equals are chosen in turn.
  const best = (peers: FleetSnapshot['peers']) => {
    let found: FleetPeer | undefined;
    turn++;
    for (let step = 0; step < peers.length; step++) {
      const peer = peers[(turn + step) % peers.length];
      if (!usable(peer)) continue;
      if (
        found === undefined ||
        rank(peer) < rank(found) ||
        (rank(peer) === rank(found) && peer.load.inFlight < found.load.inFlight)
      )
        found = peer;
    }
    return found;
  };
  return {
    current: () => snapshot,
    replace: (bundle) => {
      const { table } = bundle;
      const peers = table.peers.map(({ id, address, state }): FleetPeer | undefined =>
        address === undefined
          ? undefined
          : {
              target: { id, address, serverName, pinned: address === pinnedHome },
              state,
              load: loadOf(address),
            },
      );
      snapshot = { bundle, index: indexTable(table), peers };
      confirmedAt = clock.now();
      distrusted = false;
      const addresses = new Set(peers.flatMap((peer) => (peer === undefined ? [] : [peer.target.address])));
      if (pinnedHome !== undefined) addresses.add(pinnedHome);
      health.forgetAllBut(addresses);
      for (const [address, load] of loads) if (!addresses.has(address) && load.inFlight === 0) loads.delete(address);
    },
    distrust: (doubtful) => {
      distrusted = doubtful;
      if (!doubtful) confirmedAt = clock.now();
    },
    tableTooOld: () => distrusted,
    tableAgeSeconds: () => (snapshot.bundle === undefined ? -1 : Math.max(0, (clock.now() - confirmedAt) / 1000)),
    usable,
    homeOf: (from, connection) => {
      if (pinned !== undefined && health.isWell(pinned.target.address)) return pinned;
      if (connection.home !== undefined) {
        const at = from.index?.peerAt(connection.home);
        const kept = at === undefined ? undefined : from.peers[at];
        if (usable(kept)) return kept;
      }
      const chosen = best(from.peers);
      if (chosen !== undefined) {
        if (connection.home !== undefined || pinned !== undefined)
          onHomeChange(connection.home ?? pinnedHome ?? '', chosen.target.address);
        connection.home = chosen.target.address;
      }
      return chosen ?? pinned;
    },
  };
}

function rank({ state }: FleetPeer): number {
  return state === 'Ready' ? 0 : 1;
}
