import type { ProbeResult } from '../domain/assess-peer.ts';
import { isVerified, type MonitorContext, probeStranger } from './peer-monitor.ts';

/** Probes an address that may be a peer's, again and again until stopped. */
export interface AddressScout {
  /** The last result; undefined before the first. */
  found(): ProbeResult | undefined;
  stop(): void;
}

/** Starts at once. A failure is a result, never an exception. */
export function scoutAddress(
  address: string,
  context: Pick<MonitorContext, 'client' | 'strangers' | 'clock' | 'timing' | 'log' | 'onChange'>,
): AddressScout {
  const { client, clock, timing, log, onChange } = context;
  const stopping = new AbortController();
  let found: ProbeResult | undefined;
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const before = found;
      const known = before !== undefined && isVerified(before);
      found = known
        ? await client.probe(address, stopping.signal)
        : await probeStranger(address, context, stopping.signal);
      if (stopping.signal.aborted) return;
      if (found?.kind !== before?.kind) onChange();
      await clock.sleep(timing.probeIntervalMs, stopping.signal);
    }
  }
  void run().catch((error: unknown) => {
    if (!stopping.signal.aborted) log.error('the scout of an address ended', { address, error });
  });
  return { found: () => found, stop: () => stopping.abort() };
}
