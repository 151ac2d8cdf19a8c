import { apiVersion, type Condition, kind, type PeerDiscovery, plural } from '../../api/peer-discovery.ts';
import { rfc3339 } from '../../api/rfc3339.ts';
import type { Standstill } from '../../operator/ports.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';

/** Path of the collection. */
export const peerDiscoveriesPath = `/apis/${apiVersion}/${plural}`;

/** The field manager of every status field, whichever replica writes it. */
export const fieldManager = 'peerdiscovery-operator';

/** Writes the whole status by server-side apply. An object that was deleted meanwhile is not an error. */
export async function writePeerDiscoveryStatus(
  client: Pick<ApiClient, 'apply'>,
  name: string,
  status: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
): Promise<void> {
  const object = { apiVersion, kind, metadata: { name }, status };
  try {
    const path = `${peerDiscoveriesPath}/${name}`;
    await client.apply(path, object, { fieldManager, force: true, subresource: 'status', signal });
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return;
    throw error;
  }
}

/**
 * Sets `Stalled` for the newest generation, and sets `Ready` to false. Keeps everything else in the status. Only for an
 * object that no controller follows.
 * Resolves to false if the status already said the same.
 *
 * @param now Milliseconds since the epoch.
 */
export async function writeStandstill(
  client: Pick<ApiClient, 'apply'>,
  object: PeerDiscovery,
  { reason, message }: Standstill,
  now: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const observedGeneration = object.metadata.generation ?? 0;
  const before = object.status?.conditions ?? [];
  const condition = (type: string, status: Condition['status']): Condition => {
    const last = before.find((candidate) => candidate.type === type);
    const lastTransitionTime = last?.status === status ? last.lastTransitionTime : rfc3339(now);
    return {
      type,
      status,
      reason,
      message,
      observedGeneration,
      lastTransitionTime,
    };
  };
  const changed = [condition('Ready', 'False'), condition('Stalled', 'True')];
  if (
    object.status?.observedGeneration === observedGeneration &&
    changed.every(({ type, ...fields }) => {
      const last = before.find((candidate) => candidate.type === type);
      return last?.status === fields.status && last.reason === reason && last.message === message;
    })
  )
    return false;
  const kept = before.filter(({ type }) => !changed.some((candidate) => candidate.type === type));
  // Tools that read kstatus wait for a status of an older generation, and see no condition of it.
  const status = { ...object.status, observedGeneration, conditions: [...kept, ...changed] };
  await writePeerDiscoveryStatus(client, object.metadata.name, status, signal);
  return true;
}
