import { group, kind, peerDiscoverySchema, plural, versionName } from './peer-discovery.ts';

const column = (name: string, type: string, jsonPath: string, description: string, priority?: number) => ({
  name,
  type,
  jsonPath,
  description,
  ...(priority !== undefined && { priority }),
});

/** The CustomResourceDefinition of PeerDiscovery, as in `crds/`: a structural schema without shared references. */
export function customResourceDefinition() {
  const { required: _, ...openAPIV3Schema } = JSON.parse(JSON.stringify(peerDiscoverySchema));
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: {
        plural,
        singular: 'peerdiscovery',
        kind,
        listKind: `${kind}List`,
        shortNames: ['pd'],
      },
      versions: [
        {
          name: versionName,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [
            column('Mode', 'string', '.spec.mode', 'What proxies do with the routing table'),
            column('Peers', 'integer', '.status.peerCounts.total', 'All peers'),
            column('Ready', 'integer', '.status.peerCounts.ready', 'Peers that serve and whose discovery is fresh'),
            column('Stale', 'integer', '.status.peerCounts.stale', 'Peers away or with discovery that is not fresh'),
            column('Groups', 'integer', '.status.groups', 'API groups', 1),
            column('Resources', 'integer', '.status.resources', 'Resources', 1),
            column('Divergent', 'integer', '.status.divergentResources', 'What some peers serve and others do not'),
            column('Converged', 'string', '.status.converged', 'Whether all peers are ready and serve the same APIs'),
            column('Revision', 'integer', '.status.revision', 'Revision of the routing table', 1),
            column('Age', 'date', '.metadata.creationTimestamp', 'Age of this object'),
            column('Unreachable', 'integer', '.status.peerCounts.unreachable', 'Peers that cannot be read', 1),
            column(
              'Skew',
              'integer',
              '.status.fieldDifferentResources',
              'Resources whose fields differ between peers',
              1,
            ),
            column('Hash', 'string', '.status.hash', 'Short hash of the unified document', 1),
            column(
              'Message',
              'string',
              '.status.conditions[?(@.type=="Ready")].message',
              'Why it is, or is not, ready',
              1,
            ),
          ],
          schema: { openAPIV3Schema },
        },
      ],
    },
  };
}
