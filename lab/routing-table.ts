import type { RoutingTable } from '../src/domain/routing-table.ts';

/** A complete table of no server, in Route mode, with these changes. */
export function routingTable(changes: Partial<RoutingTable>): RoutingTable {
  return {
    apiVersion: 'peerdiscovery.dev/v1alpha1',
    kind: 'RoutingTable',
    owner: 'cluster',
    mode: 'Route',
    revision: 1,
    serverName: 'kubernetes.default.svc',
    complete: true,
    doubts: [],
    peers: [],
    groupVersions: [],
    ...changes,
  };
}
