import { createServer } from 'node:net';
import { customResourceDefinition } from '../../src/api/custom-resource-definition.ts';
import type { SimulatedControlPlane } from './simulated-control-plane.ts';

/** The place of the routing table, for operator and proxy. */
export const productNamespace = 'peerdiscovery-system';

/** Creates the definition, the namespace and a PeerDiscovery, as `kubectl apply -k config` and a sample do. */
export function installProduct({ store, servers }: SimulatedControlPlane, spec: object = {}): void {
  const definition = customResourceDefinition();
  const { name } = definition.metadata;
  store.put({ resource: 'apiextensions.k8s.io/customresourcedefinitions', namespace: '', name }, definition);
  const namespace = { metadata: { name: productNamespace }, spec: {} };
  store.put({ resource: '/namespaces', namespace: '', name: productNamespace }, namespace);
  // The operator refuses loopback addresses unless the object permits them. All servers use the port of the first one.
  const addresses = { allowedCIDRs: ['127.0.0.0/8'], port: Number(servers[0]?.address.split(':')[1]) };
  store.put(
    { resource: 'peerdiscovery.dev/peerdiscoveries', namespace: '', name: 'cluster' },
    {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name: 'cluster', generation: 1 },
      spec: { mode: 'Route', addresses, ...spec },
    },
  );
}

/** A free port of 127.0.0.1. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { readonly port: number };
      server.close(() => resolve(port));
    });
  });
}
