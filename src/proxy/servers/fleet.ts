import { type PeerState, type RoutingBundle, takesWork } from '../../domain/routing-table.ts';
import type { TableIndex } from '../../domain/table-index.ts';
import { indexTable } from '../../domain/table-index.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTarget } from '../ports.ts';
import type { ClientConnection } from '../request/exchange.ts';
import type { PeerHealth, PeerLoad } from './peer-health.ts';

/** A server that requests can be sent to. */
export interface FleetPeer {
  readonly target: PeerTarget;
  readonly state: PeerState;
  readonly load: PeerLoad;
}

/** A table with everything derived from it. It never changes, and a request keeps one reference. */
export interface FleetSnapshot {
  readonly bundle: RoutingBundle | undefined;
  readonly index: TableIndex | undefined;
  /** By index in the table; undefined for a peer without an address. */
  readonly peers: readonly (FleetPeer | undefined)[];
}

/** The servers behind this proxy now. */
export interface Fleet {
  current(): FleetSnapshot;
  /**
   * Replaces the table as a whole; running requests keep the old one. This alone does not end doubt: see {@link
   * trust}.
   */
  replace(bundle: RoutingBundle): void;
  /** The source may be behind. It counts as behind until the first call of `trust`. */
  distrust(): void;
  /** The source is not behind, so the table is confirmed now. */
  trust(): void;
  tableTooOld(): boolean;
  /** Undefined without a table. */
  tableAgeSeconds(): number | undefined;
  /** True if the table calls the peer Ready or Stale and this proxy has seen no fault. */
  usable(peer: FleetPeer | undefined): peer is FleetPeer;
  /**
   * True for a peer that is not usable but worth a try before 503: it failed just now, or the table is too old to rule
   * it out. Never true for a hung peer, which would only make the client wait.
   */
  lastResort(peer: FleetPeer | undefined): peer is FleetPeer;
  /**
   * The home of a client connection: the pinned one, else one that is chosen once and kept while it is healthy. A watch
   * states which version it has seen, so on a connection that is leaving it may have another home than reads.
   */
  homeOf(
    snapshot: FleetSnapshot,
    connection: ClientConnection,
    use?: { readonly forWatch: boolean },
  ): FleetPeer | undefined;
  /** Address of the server that is every client's home, while it takes work. */
  pinnedHome(): string | undefined;
  /** Makes the server that stood in for a lost home the connection's home, so that its reads do not go back in time. */
  adoptHome(connection: ClientConnection, peer: FleetPeer): void;
}

/** Holds the current table and chooses homes. */
export function createFleet({
  health,
  clock,
  pinnedHome,
  serverName,
  onHomeChange,
}: {
  readonly health: PeerHealth;
  readonly clock: Clock;
  /** `host:port` of every client's home. */
  readonly pinnedHome: string | undefined;
  /** Name that every server's certificate must contain. The table's own name is data, not authority. */
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
  /** Since when the table has called an address not ready. */
  let unreadySince = new Map<string, number>();
  const usable = (peer: FleetPeer | undefined): peer is FleetPeer =>
    peer !== undefined && takesWork(peer.state) && health.isWell(peer.target.address);
  const lastResort = (peer: FleetPeer | undefined): peer is FleetPeer =>
    peer !== undefined &&
    !health.isHung(peer.target.address) &&
    (takesWork(peer.state) || (distrusted && peer.state !== 'Refused' && peer.state !== 'Gone'));
  // Once the table is in doubt, its "not ready" holds until this proxy itself has seen the server ready.
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
    // Never connects to an address that the operator refuses, or that a server has left.
    const known = snapshot.peers.filter(
      (peer): peer is FleetPeer => peer !== undefined && peer.state !== 'Refused' && peer.state !== 'Gone',
    );
    health.watch(pinned === undefined ? known : [pinned, ...known.filter(({ load }) => load !== pinned.load)]);
  };
  watchAll();
  let turn = 0;
  // Starts at another peer each time, so that equals take turns.
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
      // A restarted server is usable from now on, because the next one may be restarted at once.
      for (const peer of peers) if (peer?.state === 'Ready') health.noteReadyInTable(peer.target.address);
      for (const [address, load] of loads) if (!addresses.has(address) && load.inFlight === 0) loads.delete(address);
    },
    distrust: () => {
      distrusted = true;
    },
    trust: () => {
      distrusted = false;
      confirmedAt = clock.now();
    },
    tableTooOld: () => distrusted,
    tableAgeSeconds: () =>
      snapshot.bundle === undefined ? undefined : Math.max(0, (clock.now() - confirmedAt) / 1000),
    usable,
    lastResort,
    pinnedHome: () => (pinnedTakesWork(snapshot) ? pinnedHome : undefined),
    homeOf: (from, connection, use) => {
      if (pinned !== undefined && pinnedTakesWork(from)) {
        connection.home = undefined;
        return pinned;
      }
      const isMoved = use?.forWatch === true && connection.isLeaving === true;
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

function rank({ state }: FleetPeer): number {
  return state === 'Ready' ? 0 : 1;
}
