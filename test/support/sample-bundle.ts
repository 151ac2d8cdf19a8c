import { createHash } from 'node:crypto';
import { routingTable } from '../../lab/routing-table.ts';
import type { RoutingBundle } from '../../src/domain/routing-table.ts';

/** A small valid bundle of two peers. */
export function sampleBundle(revision = 1, padding = ''): RoutingBundle {
  const apis = `{"kind":"APIGroupDiscoveryList","items":[],"padding":"${padding}"}\n`;
  const api = '{"kind":"APIGroupDiscoveryList","items":[]}\n';
  const etagOf = (text: string) => createHash('sha512').update(text).digest('hex').toUpperCase();
  return {
    table: routingTable({
      revision,
      complete: false,
      doubts: [{ peer: 'b', reason: 'Stale', message: 'document is old' }],
      peers: [
        { id: 'a', hostname: 'host-a', address: '192.0.2.1:6443', version: 'v1.36.3', state: 'Ready' },
        { id: 'b', state: 'Unresolved' },
      ],
      groupVersions: [
        {
          group: '',
          version: 'v1',
          origin: 'BuiltIn',
          resources: [
            { resource: 'nodes', peers: [0, 1], subresources: {} },
            { resource: 'pods', scope: 'Namespaced', peers: [0, 1], subresources: { resize: [0], status: [0, 1] } },
          ],
        },
      ],
    }),
    apis,
    apisEtag: etagOf(apis),
    api,
    apiEtag: etagOf(api),
  };
}
