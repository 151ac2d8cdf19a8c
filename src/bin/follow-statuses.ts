import type { ApiClient } from '../adapters/kubernetes/api-client.ts';
import { peerDiscoveriesPath } from '../adapters/kubernetes/peer-discovery-status.ts';
import { startReflector, type Watchable } from '../adapters/kubernetes/reflector.ts';
import type { KnownServers } from '../adapters/kubernetes/remember-servers.ts';
import { createAddressPolicy } from '../adapters/peers/address-policy.ts';
import type { PeerDiscovery } from '../api/peer-discovery.ts';
import { listStatusServers } from '../operator/list-status-servers.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

/** The options for learning from the PeerDiscovery objects. */
export interface FollowStatusesOptions {
  readonly client: ApiClient;
  readonly servers: KnownServers;
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
}

/**
 * Learns the servers from the status of every PeerDiscovery, even as a standby, which needs them most when the leader's
 * machine fails.
 */
export function followStatuses({ servers, namespace, ...options }: FollowStatusesOptions): void {
  startReflector<PeerDiscovery & Watchable>({
    ...options,
    path: peerDiscoveriesPath,
    onChange: (event) => {
      if (event.type === 'Synced') return;
      const { name } = event.object.metadata;
      if (event.type === 'Deleted') servers.forget(name);
      else servers.learn(name, listStatusServers(event.object, { namespace, createAddressPolicy }));
    },
  });
}
