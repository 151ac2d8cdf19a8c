import { startingForMs } from '../domain/assess-peer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { PeerTarget, PeerTransport } from './ports.ts';

/** What this proxy has seen of peers itself, whatever the table says. */
export interface PeerHealth {
  /** False from a failure until a probe succeeds. */
  isWell(address: string): boolean;
  /** Takes the peer out at once and probes it until it is well again. */
  markDown(target: PeerTarget, why: string): void;
  /** The table says that the peer is ready: if it is out here, it is probed now, and a refusal is taken for health. */
  hurry(address: string): void;
  /** Stops probing peers that are in no table any more. */
  forgetAllBut(addresses: ReadonlySet<string>): void;
  /** Addresses that are out. */
  down(): readonly string[];
}

interface Probing {
  readonly stop: AbortController;
  /** Ends the wait before the next probe. */
  wake: AbortController;
  /** The table has said since the peer was last away that it is ready. */
  isVouchedFor: boolean;
}

/** Keeps the map of peers that failed here; each is probed at once, then every second, until it answers. */
export function createPeerHealth({
  transport,
  clock,
  log,
  signal,
  intervalMs = 1_000,
}: {
  readonly transport: Pick<PeerTransport, 'probe'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly intervalMs?: number;
}): PeerHealth {
  const probing = new Map<string, Probing>();
  const probeBack = async (target: PeerTarget, entry: Probing) => {
    const either = AbortSignal.any([signal, entry.stop.signal]);
    let refusingSince: number | undefined;
    while (!either.aborted) {
      entry.wake = new AbortController();
      const found = await transport.probe(target);
      if (found === 'ready') break;
      if (found === 'away') {
        refusingSince = undefined;
        entry.isVouchedFor = false;
      } else {
        // Where anonymous requests are not allowed, a refusal is all there is.
        refusingSince ??= clock.now();
        if (entry.isVouchedFor || clock.now() - refusingSince >= startingForMs) break;
      }
      await clock.sleep(intervalMs, AbortSignal.any([either, entry.wake.signal]));
    }
    if (probing.get(target.address) !== entry) return;
    probing.delete(target.address);
    if (!either.aborted) log.info('peer is well again', { peer: target.id, address: target.address });
  };
  return {
    isWell: (address) => !probing.has(address),
    markDown: (target, why) => {
      if (probing.has(target.address) || signal.aborted) return;
      log.warn('peer taken out', { peer: target.id, address: target.address, why });
      const entry = { stop: new AbortController(), wake: new AbortController(), isVouchedFor: false };
      probing.set(target.address, entry);
      probeBack(target, entry).catch((error: unknown) => {
        log.error('probing a peer failed', { peer: target.id, error: String(error) });
        probing.delete(target.address);
      });
    },
    hurry: (address) => {
      const entry = probing.get(address);
      if (entry === undefined) return;
      entry.isVouchedFor = true;
      entry.wake.abort();
    },
    forgetAllBut: (addresses) => {
      for (const [address, { stop }] of probing) {
        if (addresses.has(address)) continue;
        probing.delete(address);
        stop.abort();
      }
    },
    down: () => [...probing.keys()],
  };
}
