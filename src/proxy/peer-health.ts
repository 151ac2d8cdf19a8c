import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { PeerTarget, PeerTransport } from './ports.ts';

/** What this proxy has seen of peers itself, whatever the table says. */
export interface PeerHealth {
  /** False from a failure until a probe succeeds. */
  isWell(address: string): boolean;
  /** Takes the peer out at once and probes it until it is well again. */
  markDown(target: PeerTarget, why: string): void;
  /** Stops probing peers that are in no table any more. */
  forgetAllBut(addresses: ReadonlySet<string>): void;
  /** Addresses that are out. */
  down(): readonly string[];
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
  const probing = new Map<string, AbortController>();
  const probeBack = async (target: PeerTarget, stop: AbortController) => {
    const either = AbortSignal.any([signal, stop.signal]);
    while (!either.aborted) {
      if (await transport.probe(target)) break;
      await clock.sleep(intervalMs, either);
    }
    if (probing.get(target.address) !== stop) return;
    probing.delete(target.address);
    if (!either.aborted) log.info('peer is well again', { peer: target.id, address: target.address });
  };
  return {
    isWell: (address) => !probing.has(address),
    markDown: (target, why) => {
      if (probing.has(target.address) || signal.aborted) return;
      log.warn('peer taken out', { peer: target.id, address: target.address, why });
      const stop = new AbortController();
      probing.set(target.address, stop);
      probeBack(target, stop).catch((error: unknown) => {
        log.error('probing a peer failed', { peer: target.id, error: String(error) });
        probing.delete(target.address);
      });
    },
    forgetAllBut: (addresses) => {
      for (const [address, stop] of probing) {
        if (addresses.has(address)) continue;
        probing.delete(address);
        stop.abort();
      }
    },
    down: () => [...probing.keys()],
  };
}
