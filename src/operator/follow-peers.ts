import { assessPeer, type PeerObservation } from '../domain/assess-peer.ts';
import type { ApiServiceObject, CustomResourceDefinitionObject } from '../domain/custom-resources.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import {
  type IdentityLease,
  type LeaseObject,
  type LeaseProblem,
  readIdentityLease,
} from '../domain/identity-lease.ts';
import { type ResolvedPeer, resolvePeers } from '../domain/resolve-peers.ts';
import { identityLeaseName } from '../runtime/identity-lease-name.ts';
import { type EndpointSliceObject, gatherAddresses, type NodeObject, type PodObject } from './gather-addresses.ts';
import { type MonitorContext, monitorPeer, type PeerMonitor } from './peer-monitor.ts';
import type { WatchedSet } from './ports.ts';
import type { ControllerSettings } from './read-settings.ts';

/** What the API server that the operator uses says, each by a watch of its own. */
export interface ClusterSets {
  readonly leases: WatchedSet<LeaseObject>;
  readonly pods: WatchedSet<PodObject>;
  readonly nodes: WatchedSet<NodeObject>;
  readonly endpointSlices: WatchedSet<EndpointSliceObject>;
  readonly crds: WatchedSet<CustomResourceDefinitionObject>;
  readonly apiServices: WatchedSet<ApiServiceObject>;
}

/** The peers of a control plane, each with a monitor of its own. */
export interface PeerRoster {
  /** Takes over peers that somebody knew before, unless they are followed already. */
  remember(known: ReadonlyMap<string, PeerObservation>): void;
  /** Brings the monitors up to date with what the cluster says; returns Leases that identify nobody. */
  follow(): readonly LeaseProblem[];
  /** Every peer as it stands now. */
  views(): readonly PeerView[];
  observations(): ReadonlyMap<string, PeerObservation>;
  /** Asks all peers anew, or those at one address. */
  poke(address?: string): void;
  stop(): void;
}

/** Starts with nobody, or with the observations of an earlier roster. */
export function createPeerRoster(
  settings: ControllerSettings,
  sets: ClusterSets,
  context: MonitorContext,
  earlier: ReadonlyMap<string, PeerObservation> | undefined,
): PeerRoster {
  const { clock } = context;
  const monitors = new Map<string, PeerMonitor>();

  function gather(): { readonly peers: readonly ResolvedPeer[]; readonly problems: readonly LeaseProblem[] } {
    const leases: IdentityLease[] = [];
    const problems: LeaseProblem[] = [];
    for (const object of sets.leases.items().values()) {
      const read = readIdentityLease(object, settings.checkLeaseNames ? identityLeaseName : undefined);
      if ('peer' in read) leases.push(read.peer);
      else problems.push(read.problem);
    }
    const addresses = gatherAddresses(
      sets.pods.items().values(),
      sets.nodes.items().values(),
      sets.endpointSlices.items().values(),
      settings.nodePort,
    );
    const facts = { leases, staticEntries: settings.staticEntries, ...addresses };
    const resolved = resolvePeers(facts, settings.sources, settings.checkAddress);
    return { peers: withoutEchoes(resolved.peers), problems: [...problems, ...resolved.problems] };
  }

  /**
   * Leaves out addresses without identity that belong to a server whose Lease has just gone: an EndpointSlice outlives
   * the Lease by some seconds, and what the server served is to be remembered under its name.
   */
  function withoutEchoes(resolved: readonly ResolvedPeer[]): readonly ResolvedPeer[] {
    const ids = new Set(resolved.map(({ id }) => id));
    const departed = new Set<string | undefined>();
    for (const [id, monitor] of monitors) {
      const seen = monitor.observation();
      if (!ids.has(id) && seen.documents !== undefined) departed.add(seen.peer.address);
    }
    return resolved.filter(({ source, address }) => source !== 'EndpointSlice' || !departed.has(address));
  }

  function assess(seen: PeerObservation) {
    return assessPeer(seen, settings, clock.now(), sets.leases.lastContactAtMs ?? clock.now());
  }

  function letGo(id: string, monitor: PeerMonitor, replaced: boolean): void {
    // Nobody vouches for it any more.
    const { lease: _lease, source: _source, trust: _trust, ...departed } = monitor.observation().peer;
    monitor.update(departed);
    if (!replaced && assess(monitor.observation()).state !== 'Gone') return;
    monitor.stop();
    monitors.delete(id);
  }

  return {
    remember(known) {
      for (const [id, { peer, ...observation }] of known)
        if (!monitors.has(id)) monitors.set(id, monitorPeer(peer, context, observation));
    },
    follow() {
      const { peers, problems } = gather();
      for (const peer of peers) {
        const monitor = monitors.get(peer.id);
        if (monitor === undefined) monitors.set(peer.id, monitorPeer(peer, context, earlier?.get(peer.id)));
        else monitor.update(peer);
      }
      const present = new Set(peers.map(({ id }) => id));
      const addresses = new Set(peers.map(({ address }) => address));
      for (const [id, monitor] of monitors)
        if (!present.has(id)) letGo(id, monitor, addresses.has(monitor.observation().peer.address));
      return problems;
    },
    views: () =>
      [...monitors.values()].map((monitor) => {
        const seen = monitor.observation();
        return { seen, assessment: assess(seen) };
      }),
    observations: () => new Map([...monitors].map(([id, monitor]) => [id, monitor.observation()])),
    poke(address) {
      for (const monitor of monitors.values())
        if (address === undefined || monitor.observation().peer.address === address) monitor.poke();
    },
    stop() {
      for (const monitor of monitors.values()) monitor.stop();
    },
  };
}
