import type { PeerState, RoutingBundle } from '../domain/routing-table.ts';
import type { TableIndex } from '../domain/table-index.ts';
import { indexTable } from '../domain/table-index.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ClientConnection } from './exchange.ts';
import type { PeerHealth, PeerLoad } from './peer-health.ts';
import type { PeerTarget } from './ports.ts';

/** A server that requests can be sent to. */
export interface FleetPeer {
  readonly target: PeerTarget;
  readonly state: PeerState;
  readonly load: PeerLoad;
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
  /** Swaps the table whole; running requests keep the old one. It is not thereby believed: see {@link distrust}. */
  replace(bundle: RoutingBundle): void;
  /** Whether the source may be behind from here on; it may until this is called for the first time. */
  distrust(doubtful: boolean): void;
  tableTooOld(): boolean;
  /** -1 without a table. */
  tableAgeSeconds(): number;
  /** Ready by the table, and well by what this proxy has seen. */
  usable(peer: FleetPeer | undefined): peer is FleetPeer;
  /**
   * Not usable, but worth a try before saying 503: it failed here just now, or the table is too old to rule it out.
   * Never one that is hung: it would let the client wait instead.
   */
  lastResort(peer: FleetPeer | undefined): peer is FleetPeer;
  /**
   * The home of a client connection: the pinned one, else one that is chosen once and kept while it is well. A watch
   * tells what it has seen, so on a connection that is to end it may have another home than the reads there.
   */
  homeOf(snapshot: FleetSnapshot, connection: ClientConnection, forWatch?: boolean): FleetPeer | undefined;
  /** Address of the server that is every client's home, while it takes work. */
  pinnedHome(): string | undefined;
  /** Makes the server that stood in for a lost home the connection's home, so that its reads do not go back in time. */
  adoptHome(connection: ClientConnection, peer: FleetPeer): void;
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
  const loads = new Map<string, PeerLoad>();
  const loadOf = (address: string) => {
    const existing = loads.get(address);
    if (existing !== undefined) return existing;
    const created = { inFlight: 0, asked: 0 };
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
  let distrusted = true;
  /** Since when the table says of an address that it is not ready. */
  let unreadySince = new Map<string, number>();
  const usable = (peer: FleetPeer | undefined): peer is FleetPeer =>
    peer !== undefined && takesWork(peer.state) && health.isWell(peer.target.address);
  const lastResort = (peer: FleetPeer | undefined): peer is FleetPeer =>
    peer !== undefined &&
    !health.isHung(peer.target.address) &&
    (takesWork(peer.state) || (distrusted && peer.state !== 'Refused' && peer.state !== 'Gone'));
  // The table's word that it is not ready holds until this proxy itself has seen it ready, once the table is doubted.
  const hasComeBack = ({ target }: FleetPeer) => {
    const seenAt = health.readyAt(target.address);
    return distrusted && seenAt !== undefined && seenAt > (unreadySince.get(target.address) ?? 0);
  };
  const pinnedTakesWork = ({ index, peers }: FleetSnapshot) => {
    if (pinned === undefined || !health.isWell(pinned.target.address)) return false;
    const at = index?.peerAt(pinned.target.address);
    const listed = at === undefined ? undefined : peers[at];
    return listed === undefined || takesWork(listed.state) || hasComeBack(listed);
  };
  const watchAll = () => {
    // Nothing connects to an address that the operator refuses, nor to one that a server has left.
    const known = snapshot.peers.filter(
      (peer): peer is FleetPeer => peer !== undefined && peer.state !== 'Refused' && peer.state !== 'Gone',
    );
    health.watch(pinned === undefined ? known : [pinned, ...known.filter(({ load }) => load !== pinned.load)]);
  };
  watchAll();
  let turn = 0;
  // It starts at another peer each time, so that equals are chosen in turn.
  const best = (peers: FleetSnapshot['peers'], mayBe: (peer: FleetPeer | undefined) => peer is FleetPeer) => {
    let found: FleetPeer | undefined;
    turn++;
    for (let step = 0; step < peers.length; step++) {
      const peer = peers[(turn + step) % peers.length];
      if (!mayBe(peer)) continue;
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
      const addresses = new Set(peers.flatMap((peer) => (peer === undefined ? [] : [peer.target.address])));
      if (pinnedHome !== undefined) addresses.add(pinnedHome);
      const unready = peers.flatMap((peer) =>
        peer === undefined || takesWork(peer.state) ? [] : [peer.target.address],
      );
      unreadySince = new Map(unready.map((address) => [address, unreadySince.get(address) ?? confirmedAt]));
      watchAll();
      // A server that was restarted is of use from now on; the next one may be restarted at once.
      for (const peer of peers) if (peer?.state === 'Ready') health.hurry(peer.target.address);
      for (const [address, load] of loads) if (!addresses.has(address) && load.inFlight === 0) loads.delete(address);
    },
    distrust: (doubtful) => {
      distrusted = doubtful;
      if (!doubtful) confirmedAt = clock.now();
    },
    tableTooOld: () => distrusted,
    tableAgeSeconds: () => (snapshot.bundle === undefined ? -1 : Math.max(0, (clock.now() - confirmedAt) / 1000)),
    usable,
    lastResort,
    pinnedHome: () => (pinnedTakesWork(snapshot) ? pinnedHome : undefined),
    homeOf: (from, connection, forWatch = false) => {
      if (pinned !== undefined && pinnedTakesWork(from)) {
        connection.home = undefined;
        return pinned;
      }
      const isMoved = forWatch && connection.isLeaving === true;
      if (connection.home !== undefined && !isMoved) {
        const at = from.index?.peerAt(connection.home);
        const kept = at === undefined ? undefined : from.peers[at];
        if (usable(kept)) return kept;
      }
      const chosen = best(from.peers, usable);
      if (chosen === undefined) return lastResort(pinned) ? pinned : best(from.peers, lastResort);
      if (!isMoved) settle(connection, chosen);
      return chosen;
    },
    adoptHome: (connection, peer) => {
      if (usable(peer)) settle(connection, peer);
    },
  };

  function settle(connection: ClientConnection, { target }: FleetPeer): void {
    const before = connection.home ?? pinnedHome;
    connection.home = target.address;
    if (before !== undefined && before !== target.address) onHomeChange(before, target.address);
  }
}

/** Draining and starting servers get no new work. */
function takesWork(state: PeerState): boolean {
  return state === 'Ready' || state === 'Stale';
}

function rank({ state }: FleetPeer): number {
  return state === 'Ready' ? 0 : 1;
}
