import { startingForMs } from '../../domain/assess-peer.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { createStrangerQueue } from '../../runtime/stranger-queue.ts';
import type { PeerTarget, PeerTransport, Readiness } from '../ports.ts';

/** How much work a peer has for this proxy. */
export interface PeerLoad {
  inFlight: number;
  /** Number of requests sent to it so far. */
  asked: number;
}

/** A peer to probe. */
export interface WatchedPeer {
  readonly target: PeerTarget;
  readonly load: Readonly<PeerLoad>;
}

/** This proxy's own observations of peers, whatever the table says. */
export interface PeerHealth {
  /** False from a failure, or from an answer that it is not ready, until the peer was seen ready. */
  isWell(address: string): boolean;
  /** True if the peer left two probes in a row unanswered. Any request to it would hang, too. */
  isHung(address: string): boolean;
  /** When the peer was last seen ready, by the clock's `now()`. */
  readyAt(address: string): number | undefined;
  /** Takes the peer out of use at once, and probes it until it is well again. */
  markDown(target: PeerTarget, why: string): void;
  /**
   * A connection to the peer broke, but a backend of the peer may have caused that. The peer stays in use and is probed
   * now.
   */
  probeNow(address: string): void;
  /** The table calls the peer ready: if it is out of use here, it is probed now, and a refusal counts as health. */
  noteReadyInTable(address: string): void;
  /** Probes exactly these peers from now on. */
  watch(peers: readonly WatchedPeer[]): void;
  /** Addresses that are out of use. */
  down(): readonly string[];
}

interface Watching extends WatchedPeer {
  readonly stop: AbortController;
  /** Ends the wait before the next probe. */
  wake: AbortController;
  isWell: boolean;
  /** Probes in a row that found it hung. */
  hungFor: number;
  /** When it was first found hung, until it is back in service or its process has ended. */
  hungSince: number | undefined;
  /** When it has been ready for long enough after that. */
  recoversAt: number | undefined;
  readyAt: number | undefined;
  /** The peer has answered `/readyz` to anonymous requests, so a refusal means that it has just started. */
  answersAnonymous: boolean;
  refusingSince: number | undefined;
  /** The table has called the peer ready since it was last away. */
  isReadyInTable: boolean;
  /** True if `probeNow` asked for its next probe. */
  isProbedSoon: boolean;
  /** Failures so far. A probe that was running during one proves nothing. */
  failures: number;
}

/** An idle peer is probed once in this many intervals. */
const idleIntervals = 5;
const hungAfter = 2;
/**
 * The longest time for which a peer stays out of use after it was hung and is ready again, while another peer is well.
 *
 * kube-apiserver has a connection to etcd for each kind of object. If etcd was away, each is tried again with a
 * back-off that grows by 1.6 (google.golang.org/grpc, `backoff.DefaultConfig`). So after etcd's return, the last try
 * comes within three quarters of the time for which it was away, whatever `/readyz` says until then.
 */
const maxRecoveryMs = 60_000;
/** Number of peers probed at once that have neither been ready nor been asked anything yet. */
const maxStrangers = 16;
/** The shortest time between two probes that `probeNow` asks for. */
const soonMs = 200;

/**
 * Probes every peer: every second while it has work or is out of use, else every five seconds.
 *
 * A peer that leaves two probes in a row unanswered is hung. `onHung` is called then, and repeatedly while it stays so.
 */
export function createPeerHealth({
  transport,
  clock,
  log,
  signal,
  onHung,
  onHead,
  intervalMs = 1_000,
  random = Math.random,
}: {
  readonly transport: Pick<PeerTransport, 'probe'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onHung: (target: PeerTarget) => void;
  /** Receives the header fields of each answer. */
  readonly onHead?: (target: PeerTarget, rawHeaders: readonly string[]) => void;
  readonly intervalMs?: number;
  readonly random?: () => number;
}): PeerHealth {
  const watched = new Map<string, Watching>();
  const strangers = createStrangerQueue(maxStrangers);
  const takeOut = (entry: Watching, why: string) => {
    if (!entry.isWell) return;
    entry.isWell = false;
    log.warn('peer taken out of service', { peer: entry.target.id, address: entry.target.address, why });
  };
  /** True if a peer that was hung needs more time, and there is another one. */
  const isRecovering = (entry: Watching) =>
    entry.recoversAt !== undefined &&
    clock.now() < entry.recoversAt &&
    [...watched.values()].some((other) => other !== entry && other.isWell);
  const endHang = (entry: Watching) => {
    entry.hungSince = undefined;
    entry.recoversAt = undefined;
  };
  const putBack = (entry: Watching) => {
    entry.hungFor = 0;
    entry.refusingSince = undefined;
    if (entry.hungSince !== undefined)
      entry.recoversAt ??= clock.now() + Math.min(clock.now() - entry.hungSince, maxRecoveryMs);
    if (isRecovering(entry)) return;
    endHang(entry);
    if (entry.isWell) return;
    entry.isWell = true;
    log.info('peer is back in service', { peer: entry.target.id, address: entry.target.address });
  };
  const takeRefusal = (entry: Watching) => {
    entry.hungFor = 0;
    if (entry.answersAnonymous) takeOut(entry, 'it refuses requests that it answered before');
    if (entry.isWell) return;
    // If anonymous requests are not allowed, a refusal is the only answer.
    entry.refusingSince ??= clock.now();
    if (!entry.isReadyInTable && clock.now() - entry.refusingSince < startingForMs) return;
    entry.answersAnonymous = false;
    putBack(entry);
  };
  const judge = (entry: Watching, found: Readiness) => {
    if (found === 'refused') return takeRefusal(entry);
    if (found === 'ready') {
      entry.readyAt = clock.now();
      entry.answersAnonymous = true;
      return putBack(entry);
    }
    entry.refusingSince = undefined;
    entry.isReadyInTable = false;
    entry.hungFor = found === 'hung' ? entry.hungFor + 1 : 0;
    if (found === 'away') {
      endHang(entry);
      return takeOut(entry, 'it is not ready');
    }
    entry.recoversAt = undefined;
    if (entry.hungFor < hungAfter) return;
    entry.hungSince ??= clock.now();
    takeOut(entry, 'it does not answer in time, or has lost its etcd');
    onHung(entry.target);
  };
  const wait = async (entry: Watching, askedAt: number, ended: AbortSignal) => {
    const { load } = entry;
    const { asked } = load;
    const either = AbortSignal.any([ended, entry.wake.signal]);
    if (entry.hungFor > 0 && entry.hungFor < hungAfter) {
      // A peer that did not answer is probed again at once. One that said it is not ready gets a moment.
      await clock.sleep(Math.max(0, askedAt + intervalMs - clock.now()), either);
      return;
    }
    for (let interval = 0; interval < idleIntervals && !either.aborted; interval++) {
      await clock.sleep(intervalMs * (0.75 + random() / 2), either);
      if (!entry.isWell || load.inFlight > 0 || load.asked !== asked) break;
    }
    if (!entry.isProbedSoon) return;
    // A client that breaks connections again and again causes no more probes than this.
    await clock.sleep(Math.max(0, askedAt + soonMs - clock.now()), ended);
    entry.isProbedSoon = false;
  };
  const follow = async (entry: Watching) => {
    const ended = AbortSignal.any([signal, entry.stop.signal]);
    while (!ended.aborted) {
      entry.wake = new AbortController();
      const { failures } = entry;
      let askedAt = clock.now();
      const ask = async () => {
        askedAt = clock.now();
        return await transport.probe(entry.target, (rawHeaders) => onHead?.(entry.target, rawHeaders));
      };
      const isStranger = entry.readyAt === undefined && entry.load.asked === 0;
      const found = isStranger ? await strangers.probe(ask, { signal: ended }) : await ask();
      if (found === undefined || ended.aborted) return;
      if (entry.failures === failures) judge(entry, found);
      await wait(entry, askedAt, ended);
    }
  };
  const start = ({ target, load }: WatchedPeer): Watching => {
    const entry: Watching = {
      target,
      load,
      stop: new AbortController(),
      wake: new AbortController(),
      isWell: true,
      hungFor: 0,
      hungSince: undefined,
      recoversAt: undefined,
      readyAt: undefined,
      answersAnonymous: false,
      refusingSince: undefined,
      isReadyInTable: false,
      isProbedSoon: false,
      failures: 0,
    };
    watched.set(target.address, entry);
    follow(entry).catch((error: unknown) => {
      log.error('watching a peer failed', { peer: target.id, error: String(error) });
      if (watched.get(target.address) === entry) watched.delete(target.address);
    });
    return entry;
  };
  return {
    isWell: (address) => watched.get(address)?.isWell !== false,
    isHung: (address) => (watched.get(address)?.hungFor ?? 0) >= hungAfter,
    readyAt: (address) => watched.get(address)?.readyAt,
    markDown: ({ address }, why) => {
      const entry = watched.get(address);
      if (entry === undefined || !entry.isWell) return;
      entry.failures++;
      takeOut(entry, why);
      entry.wake.abort();
    },
    probeNow: (address) => {
      const entry = watched.get(address);
      if (entry === undefined || !entry.isWell) return;
      entry.isProbedSoon = true;
      entry.wake.abort();
    },
    noteReadyInTable: (address) => {
      const entry = watched.get(address);
      if (entry === undefined || entry.isWell) return;
      entry.isReadyInTable = true;
      entry.wake.abort();
    },
    watch: (peers) => {
      if (signal.aborted) return;
      const addresses = new Set(peers.map(({ target }) => target.address));
      for (const [address, { stop }] of watched) {
        if (addresses.has(address)) continue;
        watched.delete(address);
        stop.abort();
      }
      for (const peer of peers) if (!watched.has(peer.target.address)) start(peer);
    },
    down: () => [...watched.values()].filter(({ isWell }) => !isWell).map(({ target }) => target.address),
  };
}
