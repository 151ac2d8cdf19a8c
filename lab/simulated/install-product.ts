import { createServer } from 'node:net';
import { customResourceDefinition } from '../../src/api/custom-resource-definition.ts';
import type { SimulatedControlPlane } from './simulated-control-plane.ts';

/** Where operator and proxy look for the routing table. */
export const productNamespace = 'peerdiscovery-system';

/** Puts the definition, the namespace and a PeerDiscovery in place, as `kubectl apply -k config` and a sample do. */
export function installProduct({ store, servers }: SimulatedControlPlane, spec: object = {}): void {
  const definition = customResourceDefinition();
  const { name } = definition.metadata;
  store.put({ resource: 'apiextensions.k8s.io/customresourcedefinitions', namespace: '', name }, definition);
  const namespace = { metadata: { name: productNamespace }, spec: {} };
  store.put({ resource: '/namespaces', namespace: '', name: productNamespace }, namespace);
  // Loopback is refused unless it is named, and all servers have the port that the first one chose.
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

/** A port of 127.0.0.1 on which nobody listens just now. */
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
