import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import type { BundleLocation } from './config-map-bundle.ts';
import { microTime } from './leader-election.ts';
import { startReflector, type Watchable } from './reflector.ts';

/** How long proxies believe a table that is not confirmed; operators confirm three times as often. */
const believedForMs = 30_000;

interface LeaseObject extends Watchable {
  readonly spec?: { readonly renewTime?: string };
}

/**
 * Says that what is published is what the operator would publish now, by renewing a Lease of the table's name.
 *
 * A table itself does not change while nothing does, so its age says nothing; without this, a proxy could not tell a
 * quiet control plane from an operator that is gone.
 */
export async function confirmTable(
  client: ApiClient,
  location: BundleLocation & { readonly fieldManager: string; readonly holder: string; readonly signal?: AbortSignal },
  now: number,
): Promise<void> {
  const { namespace, name, fieldManager, holder, signal } = location;
  const object = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace },
    spec: { holderIdentity: holder, leaseDurationSeconds: believedForMs / 1_000, renewTime: microTime(now) },
  };
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
  await client.apply(path, object, { fieldManager, force: true, signal });
}

/** Follows the confirmations of a table; the result says why the table is in doubt, or undefined if it is not. */
export function watchConfirmations(
  options: BundleLocation & {
    readonly client: ApiClient;
    readonly clock: Clock;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly random: () => number;
  },
): () => string | undefined {
  const { namespace, name, clock } = options;
  let renewTime: string | undefined;
  // Judged by when this process saw it change, never by comparing clocks of machines.
  let changedAt = clock.now();
  startReflector<LeaseObject>({
    ...options,
    path: `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`,
    fieldSelector: `metadata.name=${name}`,
    onChange: (event) => {
      if (event.type !== 'Added' && event.type !== 'Modified') return;
      if (event.object.spec?.renewTime === renewTime) return;
      renewTime = event.object.spec?.renewTime;
      changedAt = clock.now();
    },
  });
  return () => {
    const silentMs = clock.now() - changedAt;
    return silentMs < believedForMs
      ? undefined
      : `the operator has not confirmed the table for ${Math.round(silentMs / 1_000)} s (Lease ${namespace}/${name})`;
  };
}
