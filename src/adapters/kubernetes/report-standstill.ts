import type { PeerDiscovery } from '../../api/peer-discovery.ts';
import type { Standstill } from '../../operator/ports.ts';
import type { ApiClient } from './api-client.ts';
import type { EventRecorder } from './events.ts';
import { referenceTo } from './owner-reference.ts';
import { peerDiscoveriesPath, writeStandstill } from './peer-discovery-status.ts';

/** Where a standstill is reported. */
export interface StandstillOutlets {
  readonly client: Pick<ApiClient, 'apply' | 'list'>;
  readonly recorder: Pick<EventRecorder, 'record'>;
  /** Milliseconds since the epoch. */
  readonly date: () => number;
  readonly signal: AbortSignal;
}

/** Writes a standstill into the status of an object that no controller follows; an Event tells of it once. */
export async function reportStandstill(
  { client, recorder, date, signal }: StandstillOutlets,
  object: PeerDiscovery,
  standstill: Standstill,
  action: string,
): Promise<void> {
  if (await writeStandstill(client, object, standstill, date(), signal))
    recorder.record(referenceTo(object), 'Warning', standstill.reason, standstill.message, action);
}

/** Reports a standstill on every PeerDiscovery, for trouble that keeps all controllers from starting. */
export async function reportStandstillOnAll(
  outlets: StandstillOutlets,
  standstill: Standstill,
  action: string,
): Promise<void> {
  const { client, signal } = outlets;
  const { items } = await client.list<PeerDiscovery>(peerDiscoveriesPath, { signal });
  for (const object of items) await reportStandstill(outlets, object, standstill, action);
}
