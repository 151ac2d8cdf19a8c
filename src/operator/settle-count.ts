import { leaseAbandonedAfterMs } from '../domain/assess-peer.ts';
import { countServers, type ServerCount, withoutCounted } from '../domain/count-servers.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import type { Doubt } from '../domain/routing-table.ts';
import { sameValue } from '../domain/same-value.ts';

/** The servers of a control plane, each once, and the uncertainties about their number. */
export interface Survey {
  readonly views: readonly PeerView[];
  readonly doubt?: Doubt | undefined;
}

/** The counts of earlier passes. */
export interface CountMemory {
  /** Counts that were believed, the latest last. A control plane alternates between few. */
  readonly believed: readonly ServerCount[];
  /** The previous pass's count, and since when it has not changed. */
  readonly standing?: { readonly count: ServerCount; readonly since: number } | undefined;
}

/** An empty memory. */
export const nothingCounted: Readonly<CountMemory> = { believed: [] };

const maxRemembered = 16;

/**
 * Removes each Lease that is counted as the server at an address. Doubts a count until it has not changed for as long
 * as a server takes to renew its Lease and its address.
 *
 * One server's address may be listed before its Lease, and another's Lease before its address: one and one, but two
 * servers. Both are written within one renewal interval, so such a count does not last. A count that once lasted is
 * believed at once when it returns, for example after a server's restart.
 *
 * Source: `pkg/controlplane/apiserver/server.go` (IdentityLeaseRenewIntervalPeriod) and
 * `pkg/controlplane/controller/kubernetesservice/controller.go` (EndpointInterval) of Kubernetes, both 10 s.
 */
export function settleCount(
  views: readonly PeerView[],
  memory: CountMemory,
  now: number,
): { readonly survey: Survey; readonly memory: CountMemory } {
  const count = countServers(views);
  if (count === undefined) return { survey: { views }, memory: { believed: memory.believed } };
  const { believed, standing } = memory;
  const since = standing !== undefined && sameValue(standing.count, count) ? standing.since : now;
  const counted = withoutCounted(views, count);
  const settled = now - since >= leaseAbandonedAfterMs || believed.some((known) => sameValue(known, count));
  return {
    survey: settled ? { views: counted } : { views: counted, doubt: countDoubt(count) },
    memory: { believed: settled ? remember(believed, count) : believed, standing: { count, since } },
  };
}

function remember(believed: readonly ServerCount[], count: ServerCount): readonly ServerCount[] {
  return [...believed.filter((known) => !sameValue(known, count)), count].slice(-maxRemembered);
}

function countDoubt({ leases, addresses }: ServerCount): Doubt {
  return {
    peer: '',
    reason: 'CountUnsettled',
    message:
      `no source says which of ${addresses.join(', ')} the server of ${leases.join(', ')} has; the operator ` +
      `takes them for the same servers once both lists have not changed for ${leaseAbandonedAfterMs / 1_000} s`,
  };
}
