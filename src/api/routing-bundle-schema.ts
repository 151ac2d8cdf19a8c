import Type from 'typebox';
import { Compile } from 'typebox/schema';

const PeerSetSchema = Type.Array(Type.Integer({ minimum: 0 }), {
  description: 'Indexes into peers, ascending.',
});

const PeerSetIndexSchema = Type.Integer({ minimum: 0, description: 'Who serves it: index into peerSets.' });

const PeerSchema = Type.Object({
  id: Type.String({ minLength: 1, description: 'Name of its identity Lease, or its address.' }),
  hostname: Type.Optional(Type.String()),
  address: Type.Optional(
    Type.String({ minLength: 1, description: 'host:port, IPv6 hosts in brackets; absent while unresolved.' }),
  ),
  version: Type.Optional(Type.String()),
  emulatedVersion: Type.Optional(
    Type.String({ description: 'The version that it emulates, such as 1.33. Absent if that is its own version.' }),
  ),
  inDoubt: Type.Optional(
    Type.Boolean({
      description: 'True if its version may have changed since it reported it. Such a peer is no writer.',
    }),
  ),
  state: Type.Enum(['Ready', 'NotReady', 'Stale', 'Unreachable', 'Unresolved', 'Refused', 'Gone']),
});

const ResourceSchema = Type.Object({
  resource: Type.String({ minLength: 1 }),
  scope: Type.Optional(
    Type.Enum(['Namespaced', 'Cluster'], { description: 'Absent if servers disagree, or report something else.' }),
  ),
  peers: PeerSetIndexSchema,
  writers: Type.Optional(
    Type.Integer({
      minimum: 0,
      description:
        'Which of them know all fields: index into peerSets. Absent if all do, or if the operator has not ' +
        'compared them. An empty set if none does.',
    }),
  ),
  standIns: Type.Optional(
    Type.Integer({
      minimum: 0,
      description:
        'Which of them keep every stored field, but may drop one that a request brings: index into peerSets. ' +
        'Only with writers.',
    }),
  ),
  subresources: Type.Record(Type.String(), PeerSetIndexSchema),
  subresourceWriters: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({ writers: Type.Integer({ minimum: 0 }), standIns: Type.Integer({ minimum: 0 }) }),
      {
        description:
          'Writers and standIns of a subresource, as indexes into peerSets, if they differ from those of the ' +
          'resource. A reader that does not know this field uses those of the resource.',
      },
    ),
  ),
});

const GroupVersionSchema = Type.Object({
  group: Type.String({ description: 'Empty for the core group.' }),
  version: Type.String({ minLength: 1 }),
  origin: Type.Enum(['BuiltIn', 'CustomResource', 'Aggregated']),
  resources: Type.Array(ResourceSchema),
});

const RoutingTableSchema = Type.Object({
  apiVersion: Type.Literal('peerdiscovery.dev/v1alpha1'),
  kind: Type.Literal('RoutingTable'),
  owner: Type.String({ minLength: 1, description: 'Name of the PeerDiscovery that it was made from.' }),
  location: Type.Optional(
    Type.Object(
      { namespace: Type.String({ minLength: 1 }), name: Type.String({ minLength: 1 }) },
      {
        description:
          'The ConfigMap that holds it. The names of its shards begin with the same name and a hyphen. Any ' +
          'server may write these: otherwise, nobody could replace a table that names the wrong writers.',
      },
    ),
  ),
  mode: Type.Enum(['Observe', 'Route']),
  fieldSkew: Type.Optional(
    Type.Enum(['Preserve', 'Ignore'], {
      description:
        'Whether writes go to the writers of a resource. Absent in tables of operators that compare no fields.',
    }),
  ),
  revision: Type.Integer({ minimum: 0, description: 'Grows by one with every published change.' }),
  serverName: Type.String({ minLength: 1, description: "Name that every peer's certificate must have." }),
  complete: Type.Boolean({
    description: "True if every live peer's discovery is fresh: only then does absence mean that no server serves it.",
  }),
  doubts: Type.Array(Type.Object({ peer: Type.String(), reason: Type.String(), message: Type.String() }), {
    description: 'Empty if and only if complete.',
  }),
  peers: Type.Array(PeerSchema),
  peerSets: Type.Array(PeerSetSchema, { description: 'Each set of peers that serve something, once.' }),
  groupVersions: Type.Array(GroupVersionSchema),
});

const EtagSchema = Type.String({
  pattern: '^[0-9A-F]{128}$',
  description: 'Upper-case hexadecimal SHA-512 of the document, without quotes.',
});

/**
 * The published format of a RoutingBundle, as JSON Schema 2020-12. `docs/schemas/routing-bundle.schema.json` is
 * generated from it. It allows unknown fields, so that an older reader understands a newer writer.
 */
export const RoutingBundleSchema = Type.Object(
  {
    table: RoutingTableSchema,
    apis: Type.String({
      description: 'Unified /apis: APIGroupDiscoveryList of apidiscovery.k8s.io/v2 as compact JSON.',
    }),
    apisEtag: EtagSchema,
    api: Type.String({ description: 'Unified /api, the core group, the same way.' }),
    apiEtag: EtagSchema,
  },
  {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:peerdiscovery:schemas:routing-bundle.v1',
    title: 'RoutingBundle',
    description:
      'The routing table of a PeerDiscovery and the unified discovery documents of the same moment. It is data, not ' +
      "authority: a proxy verifies every server's certificate and address itself.",
  },
);

const validator = Compile(RoutingBundleSchema);

/** Undefined if `value` has the published structure, else the first bad field and the fault. */
export function describeStructureFault(value: unknown): string | undefined {
  if (validator.Check(value)) return undefined;
  const first = validator.Errors(value)[1][0];
  if (!first) return 'it does not have the structure of a RoutingBundle';
  const field = first.instancePath.slice(1).replaceAll('/', '.') || 'the bundle';
  return `${field} ${first.message}`;
}
