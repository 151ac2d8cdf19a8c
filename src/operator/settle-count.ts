import { leaseAbandonedAfterMs } from '../domain/assess-peer.ts';
import { countServers, type ServerCount, withoutCounted } from '../domain/count-servers.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import type { Doubt } from '../domain/routing-table.ts';
import type { Clock } from '../runtime/clock.ts';

/** The servers of a control plane, each once, and what is not certain about their number. */
export interface Survey {
  readonly views: readonly PeerView[];
  readonly doubt?: Doubt;
}

/** Decides whether a count of Leases against addresses can be believed. */
export interface CountSettler {
  /** Leaves out each Lease that is counted as the server at an address. */
  survey(views: readonly PeerView[]): Survey;
}

/** Counts that were believed and are remembered; a control plane alternates between few. */
const maxRemembered = 16;

/**
 * Doubts a count until it has stood unchanged for as long as a server takes to write its Lease, and its address, anew.
 *
 * The address of a server may be listed before its Lease is there, while another server's Lease is there before its
 * address: one and one, and yet two servers. Both are written within one interval of renewal, so such a count does not
 * last. One that lasted is believed at once when it comes back, as after a server's restart.
 *
 * Source: `pkg/controlplane/apiserver/server.go` (IdentityLeaseRenewIntervalPeriod) and
 * `pkg/controlplane/controller/kubernetesservice/controller.go` (EndpointInterval) of Kubernetes, both 10 s.
 */
export function createCountSettler(clock: Clock): CountSettler {
  const believed = new Set<string>();
  let current = '';
  let since = clock.now();

  function isSettled(key: string): boolean {
    if (key !== current) {
      current = key;
      since = clock.now();
    }
    const settled = believed.has(key) || clock.now() - since >= leaseAbandonedAfterMs;
    if (settled) remember(key);
    return settled;
  }

  function remember(key: string): void {
    believed.delete(key);
    believed.add(key);
    for (const oldest of believed) {
      if (believed.size <= maxRemembered) return;
      believed.delete(oldest);
    }
  }

  return {
    survey(views) {
      const count = countServers(views);
      if (count === undefined) {
        current = '';
        return { views };
      }
      const counted = withoutCounted(views, count);
      return isSettled(JSON.stringify(count)) ? { views: counted } : { views: counted, doubt: countDoubt(count) };
    },
  };
}

function countDoubt({ leases, addresses }: ServerCount): Doubt {
  return {
    peer: '',
    reason: 'CountUnsettled',
    message:
      `no source says at which of ${addresses.join(', ')} the server of ${leases.join(', ')} is; they are taken for ` +
      `the same servers once both lists have been as they are for ${leaseAbandonedAfterMs / 1_000} s`,
  };
}
