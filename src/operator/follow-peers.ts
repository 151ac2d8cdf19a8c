import {
  assessPeer,
  leaseAbandonedAfterMs,
  type PeerAssessment,
  type PeerObservation,
  type ProbeResult,
} from '../domain/assess-peer.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import {
  type IdentityLease,
  type LeaseObject,
  type LeaseProblem,
  readIdentityLease,
} from '../domain/identity-lease.ts';
import {
  type AddressAnswer,
  type AddressEvidence,
  type AddressFacts,
  type Resolution,
  type ResolvedPeer,
  resolvePeers,
} from '../domain/resolve-peers.ts';
import { identityLeaseName } from '../runtime/identity-lease-name.ts';
import { gatherAddresses } from './gather-addresses.ts';
import type { Hearing } from './judge-watches.ts';
import { type MonitorContext, monitorPeer, type PeerMonitor } from './peer-monitor.ts';
import type { ClusterSets } from './ports.ts';
import { readAnswer } from './probe-address.ts';
import type { ControllerSettings } from './read-settings.ts';
import { type AddressScout, scoutAddress } from './scout-address.ts';

/** The peers of a control plane, each with its own monitor. */
export interface PeerRoster {
  /**
   * Takes over peers from earlier observations, with their resources unless these have been read since. A peer without
   * a source is dropped once it has been away for long enough. Its address must be allowed now.
   */
  remember(known: ReadonlyMap<string, PeerObservation>): void;
  /** Updates the monitors by the cluster's facts. Returns Leases that identify no peer. */
  follow(hearing: Hearing): readonly LeaseProblem[];
  /** The current state of every peer. */
  views(hearing: Hearing): readonly PeerView[];
  observations(): ReadonlyMap<string, PeerObservation>;
  /** Asks all peers again, or only those at one address. */
  poke(address?: string): void;
  stop(): void;
}

/** Starts empty, or with the observations of an earlier roster. */
export function createPeerRoster(
  settings: ControllerSettings,
  sets: ClusterSets,
  context: MonitorContext,
  earlier: ReadonlyMap<string, PeerObservation> | undefined,
): PeerRoster {
  const { clock } = context;
  const readLease = createLeaseReader(settings.checkLeaseNames ? identityLeaseName : undefined);
  const monitors = new Map<string, PeerMonitor>();
  const scouts = new Map<string, AddressScout>();
  // The administrator removed these servers from the list, so they are left alone.
  const struck = new Set<string>();
  for (const [id, { peer }] of earlier ?? [])
    if (
      peer.source === 'Static' &&
      peer.lease === undefined &&
      !settings.staticEntries.some((entry) => entry.peer === id)
    )
      struck.add(id);
  if (earlier !== undefined) remember(earlier);

  function remember(known: ReadonlyMap<string, PeerObservation>): void {
    for (const [id, observation] of known) {
      if (struck.has(id)) continue;
      const followed = monitors.get(id);
      if (followed !== undefined) {
        if (followed.observation().peer.address === observation.peer.address) followed.recall(observation);
        continue;
      }
      const { refused: _, ...peer } = observation.peer;
      const verdict = peer.address === undefined ? undefined : settings.checkAddress(peer.address);
      const judged = verdict === undefined || verdict.ok ? peer : { ...peer, refused: verdict.reason };
      monitors.set(id, monitorPeer(judged, context, observation));
    }
  }

  /** The holder of each address by a renewed Lease, and the answer at each address. */
  function evidence(hearing: Hearing): AddressEvidence {
    const holders = new Map<string, string>();
    const answers = new Map<string, AddressAnswer>();
    const abandoned = new Map<string, string | undefined>();
    const note = (address: string, probe: ProbeResult | undefined) => {
      const answer = probe === undefined ? undefined : readAnswer(probe);
      if (answer !== undefined) answers.set(address, answer);
    };
    for (const [id, monitor] of monitors) {
      const { peer, leaseChangedAt, probe } = withGap(monitor.observation(), hearing);
      if (peer.address !== undefined) note(peer.address, probe);
      if (peer.lease === undefined || leaseChangedAt === undefined) continue;
      if (hearing.at - leaseChangedAt >= leaseAbandonedAfterMs)
        abandoned.set(id, peer.address ?? monitors.get(peer.displacedBy ?? '')?.observation().peer.address);
      else if (peer.address !== undefined) holders.set(peer.address, id);
    }
    for (const [address, scout] of scouts) note(address, scout.found());
    return { holders, answers, abandoned };
  }

  function resolve(hearing: Hearing): Resolution {
    const leases: IdentityLease[] = [];
    const problems: LeaseProblem[] = [];
    for (const object of sets.leases.items().values()) {
      const read = readLease(object);
      if ('peer' in read) leases.push(read.peer);
      else problems.push(read.problem);
    }
    const addresses = gatherAddresses(sets, settings.nodePort);
    const facts: AddressFacts = { leases, staticEntries: settings.staticEntries, ...addresses };
    const resolved = resolvePeers(facts, settings.sources, settings.checkAddress, evidence(hearing));
    return {
      ...resolved,
      peers: withoutEchoes(resolved.peers),
      problems: [...problems, ...resolved.problems],
    };
  }

  /**
   * Removes addresses without identity whose server's Lease has just gone: an EndpointSlice outlives the Lease by some
   * seconds, and the server's resources should be remembered under its name. If the address still answers while another
   * Lease has no address, the server was renamed.
   */
  function withoutEchoes(resolved: readonly ResolvedPeer[]): readonly ResolvedPeer[] {
    const ids = new Set(resolved.map(({ id }) => id));
    const departed = new Set<string | undefined>();
    const isOpen = resolved.some(
      ({ lease, address, displacedBy }) => lease !== undefined && address === undefined && displacedBy === undefined,
    );
    for (const [id, monitor] of monitors) {
      const seen = monitor.observation();
      // Another server may be at the address of a refused one.
      const refused = seen.peer.refused !== undefined || seen.probe?.kind === 'refused';
      const renamed = isOpen && seen.probe !== undefined && readAnswer(seen.probe)?.verified === true;
      if (!ids.has(id) && seen.documents !== undefined && !refused && !renamed) departed.add(seen.peer.address);
    }
    return resolved.filter(
      ({ source, lease, address }) => source !== 'EndpointSlice' || lease !== undefined || !departed.has(address),
    );
  }

  function assess(seen: PeerObservation, hearing: Hearing): PeerAssessment {
    return assessPeer(withGap(seen, hearing), settings, clock.now(), sets.leases.lastContactAtMs ?? clock.now());
  }

  function followScouts(candidates: readonly string[]): void {
    const wanted = new Set(candidates);
    for (const [address, scout] of scouts) {
      if (wanted.has(address)) continue;
      scout.stop();
      scouts.delete(address);
    }
    for (const address of candidates) if (!scouts.has(address)) scouts.set(address, scoutAddress(address, context));
  }

  /** Don't connect to servers that have left. */
  function forgetOthers(): void {
    const inUse = new Set(scouts.keys());
    for (const monitor of monitors.values()) {
      const { address } = monitor.observation().peer;
      if (address !== undefined) inUse.add(address);
    }
    context.client.keepOnly(inUse);
  }

  function letGo(id: string, monitor: PeerMonitor, replaced: boolean, hearing: Hearing): void {
    // It has no source any more.
    const { lease: _lease, source: _source, trust: _trust, ...departed } = monitor.observation().peer;
    monitor.update(departed);
    if (!replaced && assess(monitor.observation(), hearing).state !== 'Gone') return;
    monitor.stop();
    monitors.delete(id);
  }

  return {
    remember,
    follow(hearing) {
      const { peers, problems, candidates } = resolve(hearing);
      followScouts(candidates);
      for (const peer of peers) {
        const monitor = monitors.get(peer.id);
        if (monitor === undefined) monitors.set(peer.id, monitorPeer(peer, context));
        else monitor.update(peer);
      }
      const present = new Set(peers.map(({ id }) => id));
      const addresses = new Set(peers.map(({ address }) => address));
      for (const [id, monitor] of monitors)
        if (!present.has(id)) letGo(id, monitor, addresses.has(monitor.observation().peer.address), hearing);
      forgetOthers();
      return problems;
    },
    views: (hearing) =>
      [...monitors.values()].map((monitor) => {
        const seen = monitor.observation();
        return { seen, assessment: assess(seen, hearing) };
      }),
    observations: () => new Map([...monitors].map(([id, monitor]) => [id, monitor.observation()])),
    poke(address) {
      for (const monitor of monitors.values())
        if (address === undefined || monitor.observation().peer.address === address) monitor.poke();
    },
    stop() {
      for (const monitor of monitors.values()) monitor.stop();
      followScouts([]);
    },
  };
}

/** Reads each Lease once, until the watch brings another version of it. A name costs a hash to check. */
function createLeaseReader(nameFor: ((hostname: string) => string) | undefined) {
  const known = new WeakMap<LeaseObject, ReturnType<typeof readIdentityLease>>();
  return (object: LeaseObject) => {
    const read = known.get(object) ?? readIdentityLease(object, nameFor);
    known.set(object, read);
    return read;
  };
}

/** A renewal during a gap of the watch counts from the end of the gap. */
function withGap(seen: PeerObservation, { since }: Hearing): PeerObservation {
  const { leaseChangedAt } = seen;
  return leaseChangedAt === undefined || leaseChangedAt >= since ? seen : { ...seen, leaseChangedAt: since };
}
