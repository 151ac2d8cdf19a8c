import type { ProbeResult } from '../domain/assess-peer.ts';
import type { MonitorContext } from './peer-monitor.ts';

/** Probes an address that may be a peer's, again and again until stopped. */
export interface AddressScout {
  /** The last result; undefined before the first. */
  found(): ProbeResult | undefined;
  stop(): void;
}

/** Starts at once. A failure is a result, never an exception. */
export function scoutAddress(
  address: string,
  { client, clock, timing, log, onChange }: Pick<MonitorContext, 'client' | 'clock' | 'timing' | 'log' | 'onChange'>,
): AddressScout {
  const stopping = new AbortController();
  let found: ProbeResult | undefined;
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const before = found?.kind;
      found = await client.probe(address, stopping.signal);
      if (stopping.signal.aborted) return;
      if (found.kind !== before) onChange();
      await clock.sleep(timing.probeIntervalMs, stopping.signal);
    }
  }
  void run().catch((error: unknown) => {
    if (!stopping.signal.aborted) log.error('the scout of an address ended', { address, error });
  });
  return { found: () => found, stop: () => stopping.abort() };
}
