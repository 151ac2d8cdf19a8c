import type { PeerClient } from '../../operator/ports.ts';
import type { Metrics } from './operator-metrics.ts';

/**
 * The same client, which counts the failed requests for discovery of one PeerDiscovery's peers. A request that the
 * operator itself ended did not fail, and an address that it no longer keeps has no certificate to watch.
 */
export function measurePeerClient(
  client: PeerClient,
  metrics: Pick<Metrics, 'countFetchFailure' | 'keepCertificates'>,
  peerdiscovery: string,
): PeerClient {
  return {
    ...client,
    async fetchDiscovery(address, previous, signal) {
      const result = await client.fetchDiscovery(address, previous, signal);
      if (result.kind === 'failed' && !signal.aborted) metrics.countFetchFailure();
      return result;
    },
    keepOnly(addresses) {
      client.keepOnly(addresses);
      metrics.keepCertificates(peerdiscovery, addresses);
    },
  };
}
