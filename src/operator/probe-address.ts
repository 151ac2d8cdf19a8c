import type { ProbeResult } from '../domain/assess-peer.ts';
import type { AddressAnswer, Trust } from '../domain/resolve-peers.ts';
import type { StrangerQueue } from '../runtime/stranger-queue.ts';
import type { PeerClient } from './ports.ts';

/** The dependencies of a probe. */
export interface ProbeContext {
  readonly client: Pick<PeerClient, 'probe'>;
  /** For addresses at which no server has been verified yet. */
  readonly strangers: StrangerQueue;
}

const priorities: Readonly<Record<Trust, number>> = { High: 2, Medium: 1, Low: 0 };

/**
 * Probes an address: at once if a server there has proved its identity, else in its turn, the more trusted first.
 * Undefined if the signal aborted before its turn.
 */
export async function probeAddress(
  place: { readonly address: string; readonly trust?: Trust | undefined; readonly isKnown: boolean },
  { client, strangers }: ProbeContext,
  signal: AbortSignal,
): Promise<ProbeResult | undefined> {
  const { address, trust = 'Low', isKnown } = place;
  if (isKnown) return await client.probe(address, signal);
  return await strangers.probe(() => client.probe(address, signal), { signal, priority: priorities[trust] });
}

/** The verdict of a probe on the server at its address. Undefined if there was no useful answer. */
export function readAnswer(probe: ProbeResult): AddressAnswer | undefined {
  switch (probe.kind) {
    case 'ready':
    case 'notReady':
      return { verified: true, names: probe.names ?? [] };
    case 'unauthorized':
      // Perhaps the operator's own credential could not be read.
      return probe.names === undefined ? undefined : { verified: true, names: probe.names };
    case 'unreachable':
    case 'refused':
      return { verified: false };
  }
}
