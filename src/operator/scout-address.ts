import type { ProbeResult } from '../domain/assess-peer.ts';
import type { MonitorContext } from './peer-monitor.ts';
import { type ProbeContext, probeAddress, readAnswer } from './probe-address.ts';

/** Probes an address that may be a peer's, again and again until stopped. */
export interface AddressScout {
  /** The last result; undefined before the first. */
  found(): ProbeResult | undefined;
  stop(): void;
}

/** Starts at once. A failure is a result, never an exception. */
export function scoutAddress(
  address: string,
  context: ProbeContext & Pick<MonitorContext, 'clock' | 'timing' | 'log' | 'onChange'>,
): AddressScout {
  const { clock, timing, log, onChange } = context;
  const stopping = new AbortController();
  let found: ProbeResult | undefined;
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const before = found;
      const isKnown = before !== undefined && readAnswer(before)?.verified === true;
      found = await probeAddress({ address, isKnown }, context, stopping.signal);
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
