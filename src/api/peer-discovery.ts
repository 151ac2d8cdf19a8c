// biome-ignore-all lint/style/noExcessiveLinesPerFile: one declaration of one object reads best whole.
import Type, { type Static, type TObjectOptions, type TProperties } from 'typebox';
import type { Difference } from '../domain/find-divergences.ts';
import type { VerdictBasis } from '../domain/judge-fields.ts';
import { type AddressSource, addressSources, type Trust } from '../domain/resolve-peers.ts';
import type { FieldSkew, Mode, PeerState } from '../domain/routing-table.ts';
import { durationPattern } from './duration.ts';
import { reservedTableNameMessage, reservedTableNames } from './table-name.ts';

/** API group of PeerDiscovery. */
export const group = 'peerdiscovery.dev';
/** The version in `apiVersion`. */
export const versionName = 'v1alpha1';
/** Value of `apiVersion` in every PeerDiscovery. */
export const apiVersion = 'peerdiscovery.dev/v1alpha1';
/** Value of `kind` in every PeerDiscovery. */
export const kind = 'PeerDiscovery';
/** Name of the resource in URLs. */
export const plural = 'peerdiscoveries';

/** A string schema with exactly the values of the union `Values` and their meanings. */
function oneOf<Values extends string>(description: string, meanings: Record<Values, string>, options: object = {}) {
  const values = Object.keys(meanings) as Values[];
  const list = values.map((value) => `${value}: ${meanings[value]}.`).join(' ');
  return Type.Unsafe<Values>({ type: 'string', description: `${description} ${list}`, enum: values, ...options });
}

function duration(description: string, byDefault: string) {
  const message =
    'must be a duration: numbers with the units h, m, s or ms and nothing else, at most 32 characters; for example ' +
    `${byDefault} or 1m30s`;
  return Type.Optional(
    Type.String({ description, default: byDefault, maxLength: 32, ...matching(durationPattern, message) }),
  );
}

function count(description: string) {
  return Type.Integer({ description, minimum: 0, format: 'int64' });
}

function time(description: string) {
  return Type.String({ description, format: 'date-time' });
}

/** Without `fieldPath`, which API servers know only since 1.28. */
const rule = (rule: string, message: string) => ({ rule, message });

/** A rule instead of a `pattern`: for a failed pattern, API servers report only the expression. */
const matching = (pattern: string, message: string) => ({
  'x-kubernetes-validations': [rule(`self.matches('${pattern}')`, message)],
});

/** Part of a rule: `compare` must hold if all fields are durations. Each field has its own rule for being one. */
const ofDurations = (fields: readonly string[], compare: string) =>
  [...fields.map((field) => `!self.${field}.matches('${durationPattern}')`), compare].join(' || ');

const namespaceName = matching(
  '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
  'must be the name of a namespace: lower-case letters, digits and "-", with a letter or digit at both ends; for example ' +
    'kube-system',
);

/**
 * An optional object with a default that contains all its fields' defaults.
 *
 * The default is spelt out, because an API server checks rules against it without filling in nested defaults.
 */
function section<Properties extends TProperties>(properties: Properties, options: TObjectOptions) {
  const schema = Type.Object(properties, options);
  return Type.Optional(Type.Object(properties, { ...options, default: applyDefaults(schema, {}) }));
}

const addressSource = oneOf<AddressSource>('A source of addresses.', {
  Static: 'the list in this object',
  MirrorPod: 'kube-apiserver Pods that are provably mirror Pods of their Node',
  Node: 'addresses of control-plane Nodes',
  EndpointSlice: 'the endpoints of the Service default/kubernetes, which have no identity',
  LeaseAnnotation:
    'the annotation kubernetes.io/peer-advertise-address of the identity Lease, which servers since 1.36 write',
});

const portPattern = '(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})';

const dnsLabel = '[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?';
const octetPattern = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';

const ipv4Pattern = `${octetPattern}([.]${octetPattern}){3}`;

/**
 * Every IPv6 address, by where its `::` stands and whether it ends in an IPv4 address (RFC 4291, section 2.2).
 *
 * A regular expression, as kube-apiserver has functions for addresses from 1.31 on only.
 */
const ipv6Pattern = (() => {
  const word = '[0-9a-fA-F]{1,4}';
  const begun = [1, 2, 3, 4, 5, 6].map((words) => `(${word}:){${words}}(:${word}){1,${7 - words}}`);
  const mixed = [1, 2, 3, 4, 5].map((words) => `(${word}:){${words}}:(${word}:){0,${5 - words}}${ipv4Pattern}`);
  return [
    `(${word}:){7}${word}`,
    `(${word}:){1,7}:`,
    `:(:${word}){1,7}`,
    '::',
    ...begun,
    `((${word}:){6}|::(${word}:){0,5})${ipv4Pattern}`,
    ...mixed,
  ].join('|');
})();

const staticAddress = Type.Object(
  {
    peer: Type.String({
      description: 'Hostname or Lease name of the peer, or a name of your choice for a server without a Lease.',
      minLength: 1,
      maxLength: 253,
    }),
    address: Type.String({
      description:
        'Where the peer listens, as IP:port, with an IPv6 address in brackets. A DNS name is refused, because ' +
        'its address could change after the check.',
      maxLength: 64,
      ...matching(
        `^([[](${ipv6Pattern})[]]|${ipv4Pattern}):${portPattern}$`,
        'must be an IP address and a port from 1 to 65535, an IPv6 address in brackets, and no name or URL; for example ' +
          '10.0.0.11:6443 or [fd00::11]:6443',
      ),
    }),
  },
  { description: 'One peer and its address.' },
);

/** Source: `staging/src/k8s.io/apimachinery/pkg/labels/selector.go` and `pkg/util/validation/validation.go`. */
const labelValue = '([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)';
const labelKey = `([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?${labelValue}`;
const labelValues = `[(] *${labelValue}? *(, *${labelValue}? *)*[)]`;
const selectorTerm = `(! *${labelKey}|${labelKey}( *(=|==|!=) *${labelValue}?| *[<>] *[0-9]+| +(in|notin) *${labelValues})?)`;

/** True if no bit is set beyond the prefix of an IPv4 range. Another rule rejects text that is not a range. */
const withoutHostBits = [
  `!self.matches('^${ipv4Pattern}/([0-9]|[12][0-9]|3[0-2])$')`,
  "[0, 1, 2, 3].all(i, int(self.split('/')[0].split('.')[i]) % [1, 2, 4, 8, 16, 32, 64, 128, " +
    "256][int(self.split('/')[1]) <= 8 * i ? 8 : int(self.split('/')[1]) >= 8 * i + 8 ? 0 : 8 * i + 8 - " +
    "int(self.split('/')[1])] == 0)",
].join(' || ');

/** A regular expression for the numbers from 0 to `limit`. */
function numbersUpTo(limit: number): string {
  const [tens, ones] = [Math.floor(limit / 10), limit % 10];
  const below = Array.from({ length: Math.max(0, tens - 1) }, (_, at) => at + 1);
  return [
    ...(tens > 0 ? ['[0-9]'] : []),
    ...below.map((ten) => `${ten}[0-9]`),
    `${tens === 0 ? '' : tens}[0-${ones}]`,
  ].join('|');
}

/**
 * The same for an IPv6 range, as far as a regular expression can tell: every whole group beyond the prefix is 0.
 *
 * The operator checks the rest. CEL functions for addresses could do all of it, but kube-apiserver has them only since
 * 1.31.
 */
const withoutHostBits6 = `!self.matches('^(${[
  `[0-9a-fA-F:]*:0{0,3}[1-9a-fA-F][0-9a-fA-F]{0,3}/(${numbersUpTo(112)})`,
  ...[0, 1, 2, 3, 4, 5, 6].map(
    (groups) =>
      `([0-9a-fA-F]{1,4}:){${groups}}0{0,3}[1-9a-fA-F][0-9a-fA-F]{0,3}::/(${groups === 0 ? '0' : numbersUpTo(16 * groups)})`,
  ),
].join('|')})$')`;

const specSchema = section(
  {
    mode: Type.Optional(
      oneOf<Mode>(
        'What proxies do with the routing table.',
        {
          Observe: 'every request goes to its home server, and nothing changes for clients',
          Route: 'a request for something that the home server does not serve goes to a peer that does',
        },
        { default: 'Observe' },
      ),
    ),
    routing: section(
      {
        fieldSkew: Type.Optional(
          oneOf<FieldSkew>(
            'What proxies do in mode Route with a request that writes an object, or reads a single one, of a ' +
              'built-in kind if some servers do not know all of its fields.',
            {
              Preserve:
                'the request goes to a server that knows all fields, or gets 503 while no such server can take it',
              Ignore: 'the request goes home, and a server of an older version drops the fields that it does not know',
            },
            { default: 'Preserve' },
          ),
        ),
      },
      { description: 'How requests are routed.' },
    ),
    leases: section(
      {
        namespace: Type.Optional(
          Type.String({
            description: 'Namespace of the Leases.',
            default: 'kube-system',
            maxLength: 63,
            ...namespaceName,
          }),
        ),
        labelSelector: Type.Optional(
          Type.String({
            description: 'Label selector of the Leases, as kubectl takes it.',
            default: 'apiserver.kubernetes.io/identity=kube-apiserver',
            minLength: 1,
            maxLength: 1024,
            ...matching(
              `^ *${selectorTerm} *(, *${selectorTerm} *)*$`,
              'must be a label selector: terms such as key=value, key!=value, key in (a,b), key or !key, ' +
                'separated by commas; for example apiserver.kubernetes.io/identity=kube-apiserver',
            ),
          }),
        ),
      },
      { description: 'Which Leases identify the peers.' },
    ),
    addresses: section(
      {
        sources: Type.Optional(
          Type.Array(addressSource, {
            description: 'Sources that the operator may use. List the most trusted first.',
            default: [...addressSources],
            minItems: 1,
            maxItems: addressSources.length,
            'x-kubernetes-list-type': 'atomic',
            'x-kubernetes-validations': [
              rule('self.all(s, self.exists_one(t, t == s))', 'a source may be listed only once'),
            ],
          }),
        ),
        static: Type.Optional(
          Type.Array(staticAddress, {
            description: 'Addresses that you state yourself.',
            default: [],
            maxItems: 256,
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['peer'],
          }),
        ),
        port: Type.Optional(
          Type.Integer({
            description: 'Port of the peers whose address comes from a source without ports (Node, MirrorPod).',
            default: 6443,
            minimum: 1,
            maximum: 65_535,
            format: 'int32',
          }),
        ),
        allowedCIDRs: Type.Optional(
          Type.Array(
            Type.String({
              description: 'One range, for example 10.0.0.0/24.',
              maxLength: 64,
              'x-kubernetes-validations': [
                rule(
                  `self.matches('^(${ipv4Pattern}/([0-9]|[12][0-9]|3[0-2])|` +
                    `(${ipv6Pattern})/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$')`,
                  'must be a range of IP addresses with a prefix length; for example 10.0.0.0/24 or fd00::/64',
                ),
                rule(
                  withoutHostBits,
                  'has bits set beyond its prefix: give the first address of the range, for example 10.0.0.0/8 for ' +
                    '10.0.0.1/8, or /32 for a single address',
                ),
                rule(
                  withoutHostBits6,
                  'has bits set beyond its prefix: give the first address of the range, for example fd00::/64 for ' +
                    'fd00::1/64, or /128 for a single address',
                ),
              ],
            }),
            {
              description:
                'Ranges in which peers may have addresses. A peer elsewhere is refused and never contacted. ' +
                'Empty: all addresses but loopback, link-local, multicast and unspecified ones.',
              default: [],
              maxItems: 64,
              'x-kubernetes-list-type': 'set',
            },
          ),
        ),
      },
      { description: 'How the addresses of peers are found.' },
    ),
    tls: section(
      {
        caBundle: Type.Optional(
          Type.String({
            description:
              "PEM certificates, in base64, that peers' certificates must chain to. Default: the CA with " +
              'which the operator verifies its own API server.',
            format: 'byte',
            maxLength: 524_288,
            'x-kubernetes-validations': [
              rule(
                "string(self).contains('-----BEGIN CERTIFICATE-----')",
                'must be PEM certificates, encoded in base64 once: give the output of "base64 -w0 ca.crt", ' +
                  'where ca.crt begins with -----BEGIN CERTIFICATE-----',
              ),
            ],
          }),
        ),
        serverName: Type.Optional(
          Type.String({
            description: "DNS name that every peer's certificate must have.",
            default: 'kubernetes.default.svc',
            minLength: 1,
            maxLength: 253,
            'x-kubernetes-validations': [
              rule(
                `self.matches('^${dnsLabel}([.]${dnsLabel})*$') && !self.matches('^[0-9.]+$')`,
                'must be one DNS name, without scheme, port or "*", and not an IP address; for example kubernetes.default.svc',
              ),
            ],
          }),
        ),
      },
      { description: 'How peers prove who they are, before any credential is sent to them.' },
    ),
    polling: section(
      {
        interval: duration('Time between two reads of the discovery of one peer.', '10s'),
        timeout: duration('How long the operator waits for the answer of one peer.', '5s'),
        concurrency: Type.Optional(
          Type.Integer({
            description: 'Number of peers that the operator asks at once.',
            default: 8,
            minimum: 1,
            maximum: 64,
            format: 'int32',
          }),
        ),
      },
      {
        description: 'How the operator polls peers. It also follows events.',
        'x-kubernetes-validations': [
          rule(
            ofDurations(['interval'], "duration(self.interval) >= duration('100ms')"),
            'interval must be at least 100ms; for example 10s',
          ),
          rule(
            ofDurations(['timeout'], "duration(self.timeout) >= duration('100ms')"),
            'timeout must be at least 100ms; for example 5s',
          ),
        ],
      },
    ),
    staleAfter: duration(
      'Age at which the discovery of a peer counts as stale. While a live peer is stale, a request that no peer ' +
        'is known to serve gets 503, not 404.',
      '1m',
    ),
    goneAfter: duration(
      'The operator forgets a peer that has not answered, nor renewed its Lease, for this long.',
      '5m',
    ),
    routingTable: section(
      {
        namespace: Type.Optional(
          Type.String({
            description: "Namespace of the ConfigMaps. Default: the operator's own.",
            maxLength: 63,
            ...namespaceName,
          }),
        ),
        name: Type.Optional(
          Type.String({
            description: 'Name of the ConfigMap. Default: peerdiscovery- and the name of this object.',
            maxLength: 63,
            'x-kubernetes-validations': [
              rule(
                "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
                'must be the name of a ConfigMap: lower-case letters, digits, "-" and ".", with a letter or digit at both ' +
                  'ends; for example peerdiscovery-blue',
              ),
              rule(`!self.matches('${reservedTableNames}')`, reservedTableNameMessage),
            ],
          }),
        ),
      },
      { description: 'Where the routing table is written.' },
    ),
  },
  {
    description: 'What you ask for. The operator never writes here.',
    'x-kubernetes-validations': [
      rule(
        ofDurations(['goneAfter', 'staleAfter'], 'duration(self.goneAfter) >= duration(self.staleAfter)'),
        'goneAfter must not be shorter than staleAfter; for example 5m with 1m',
      ),
      rule(
        ofDurations(['staleAfter', 'polling.interval'], 'duration(self.staleAfter) > duration(self.polling.interval)'),
        'staleAfter must be longer than polling.interval, or every peer goes stale between two polls; for example 1m with 10s',
      ),
    ],
  },
);

const conditionSchema = Type.Object(
  {
    type: Type.String({
      description: 'Ready, Stale, Converged or Stalled.',
      maxLength: 316,
      pattern:
        '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$',
    }),
    status: Type.Unsafe<'True' | 'False' | 'Unknown'>({
      type: 'string',
      description: 'Whether the condition holds.',
      enum: ['True', 'False', 'Unknown'],
    }),
    observedGeneration: Type.Optional(count('The generation of the spec that the condition is about.')),
    lastTransitionTime: time('When the status last changed.'),
    reason: Type.String({
      description: 'Why, in one CamelCase word.',
      minLength: 1,
      maxLength: 1024,
      pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
    }),
    message: Type.String({ description: 'Why, for people; may be empty.', maxLength: 32_768 }),
  },
  { description: 'One aspect of the state, in the standard form of Kubernetes.' },
);

const peerStatusSchema = Type.Object(
  {
    id: Type.String({ description: 'Name of its identity Lease, or its address if its identity could not be proved.' }),
    hostname: Type.Optional(Type.String({ description: 'Its hostname, from the Lease.' })),
    version: Type.Optional(Type.String({ description: 'Its version, as it reports it.' })),
    emulatedVersion: Type.Optional(
      Type.String({
        description:
          'The version that it emulates (--emulated-version), such as 1.33. Absent if that is its own version.',
      }),
    ),
    address: Type.Optional(Type.String({ description: 'Where it listens, as host:port. Absent while unresolved.' })),
    addressSource: Type.Optional(addressSource),
    trust: Type.Optional(
      oneOf<Trust>('How far the address can be trusted before the certificate of its server is verified.', {
        High: 'stated by you, or by the kubelet of the node',
        Medium: 'stated by the control plane',
        Low: 'stated by the Lease alone, which anyone who may write Leases can forge',
      }),
    ),
    state: oneOf<PeerState>('What the operator knows of it.', {
      Ready: 'serves, and its discovery is fresh',
      NotReady: 'alive, but starting or draining, so it gets no new work',
      Stale: 'alive, but its discovery is older than staleAfter',
      Unreachable: 'does not answer; its last discovery is kept until goneAfter',
      Unresolved: 'its Lease is renewed, but no address is known',
      Refused: 'its address is forbidden, or its certificate does not verify; no credential was sent',
      Gone: 'dead for longer than goneAfter',
    }),
    reason: Type.String({ description: 'Why, in one CamelCase word.', minLength: 1 }),
    message: Type.Optional(Type.String({ description: 'Why, for people.' })),
    documentForm: Type.Optional(
      oneOf<'v2' | 'v2beta1' | 'legacy'>('The form of its discovery.', {
        v2: 'aggregated discovery of 1.30 and later',
        v2beta1: 'aggregated discovery of 1.26 to 1.29',
        legacy: 'one document per group and version',
      }),
    ),
    lastSuccessTime: Type.Optional(
      time('When its discovery last changed or became readable again. A poll without a change does not count.'),
    ),
    documentHash: Type.Optional(Type.String({ description: 'Short hash of its discovery, for comparing peers.' })),
    groups: Type.Optional(count('Number of API groups that it serves, including the core group.')),
    resources: Type.Optional(count('Number of resources that it serves, without subresources.')),
    peerAggregated: Type.Optional(
      Type.Boolean({
        description: "True if it runs Kubernetes' own peer proxy (--peer-ca-file) and merges discovery itself.",
      }),
    ),
  },
  { description: 'One kube-apiserver.' },
);

const differenceSchema = Type.Object(
  {
    field: oneOf<Difference['field']>('What differs.', {
      scope: 'Namespaced or Cluster',
      kind: 'the kind that the endpoint returns',
      singularName: 'the singular name',
      verbs: 'what can be done with it',
      shortNames: 'short names, as kubectl takes them',
      categories: 'categories, such as all',
      acceptedTypes: 'the kinds that a subresource accepts',
    }),
    values: Type.Array(
      Type.Object(
        {
          value: Type.String({ description: 'What these peers say. Lists are sorted, and long texts are cut.' }),
          peers: Type.Array(Type.String({ description: 'Id of a peer.' }), {
            description: 'Peers that say so, at most 20.',
            'x-kubernetes-list-type': 'atomic',
          }),
          count: count('How many peers say so.'),
        },
        { description: 'One value and who says it.' },
      ),
      { description: 'What the peers say, at most 5 values.', 'x-kubernetes-list-type': 'atomic' },
    ),
    omittedValues: Type.Optional(count('Number of further values.')),
  },
  { description: 'One field that peers describe differently.' },
);

const divergentResourceSchema = Type.Object(
  {
    group: Type.String({ description: 'API group; empty for the core group.' }),
    version: Type.String({ description: 'API version.' }),
    resource: Type.String({ description: 'Plural name of the resource.' }),
    subresource: Type.Optional(Type.String({ description: 'Name of the subresource, if it is one.' })),
    servedBy: Type.Array(Type.String({ description: 'Id of a peer.' }), {
      description: 'Peers that serve it, at most 20.',
      'x-kubernetes-list-type': 'atomic',
    }),
    missingFrom: Type.Array(Type.String({ description: 'Id of a peer.' }), {
      description: 'Peers that do not serve it, at most 20.',
      'x-kubernetes-list-type': 'atomic',
    }),
    omittedPeers: Type.Optional(count('Number of ids left out of the two lists above.')),
    differences: Type.Optional(
      Type.Array(differenceSchema, {
        description: 'What the peers that serve it describe differently.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
  },
  { description: 'One resource that some peers serve and others do not, or that they describe differently.' },
);

const schemaDifferenceSchema = Type.Object(
  {
    group: Type.String({ description: 'API group; empty for the core group.' }),
    version: Type.String({ description: 'API version.' }),
    schemas: Type.Array(
      Type.Object(
        {
          hash: Type.String({ description: 'Start of the hash that /openapi/v3 gives the schemas.' }),
          peers: Type.Array(Type.String({ description: 'Id of a peer.' }), {
            description: 'Peers that give this hash, at most 20.',
            'x-kubernetes-list-type': 'atomic',
          }),
          count: count('How many peers give this hash.'),
        },
        { description: 'One hash and who gives it.' },
      ),
      { description: 'The hashes, at most 5.', 'x-kubernetes-list-type': 'atomic' },
    ),
  },
  { description: 'One group-version whose OpenAPI schemas are not the same everywhere.' },
);

const fieldList = (description: string) =>
  Type.Optional(
    Type.Object(
      {
        paths: Type.Array(
          Type.String({ description: 'Path such as spec.template.spec.hostUsers. A long path is cut.' }),
          {
            description: 'The fields, at most 10, the shallowest first.',
            'x-kubernetes-list-type': 'atomic',
          },
        ),
        count: count('How many fields there are.'),
      },
      { description },
    ),
  );

const fieldDifferenceSchema = Type.Object(
  {
    group: Type.String({ description: 'API group; empty for the core group.' }),
    resource: Type.String({
      description:
        'Plural name of the resource, with /subresource if the body of the subresource is of another kind, such ' +
        'as serviceaccounts/token.',
    }),
    basis: oneOf<VerdictBasis>('How the operator knows which servers know all fields.', {
      Schemas: 'it has compared the OpenAPI schemas of all servers',
      Versions: 'it lacks some schema, so it assumes that the newest version knows all fields',
      Remembered: 'it lacks some schema, but an earlier leader has compared the same versions',
    }),
    writers: Type.Array(Type.String({ description: 'Id of a peer.' }), {
      description: 'Peers that know all fields, or the most, at most 20. Proxies send writes to these.',
      'x-kubernetes-list-type': 'atomic',
    }),
    standIns: Type.Optional(
      Type.Array(Type.String({ description: 'Id of a peer.' }), {
        description:
          'Peers that keep every stored field but may not accept every new one, at most 20. While no writer can ' +
          'take a write, proxies send it to these, and add a Warning to the answer.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
    omittedPeers: Type.Optional(count('Number of ids left out of the two lists above.')),
    appearing: fieldList('Fields that the writers know and another peer does not. That peer would drop them.'),
    disappearing: fieldList('Fields that another peer knows and no writer does. Every write loses them.'),
    described: fieldList(
      'Fields that peers describe differently, for example because one has graduated. A peer may not accept ' +
        'them. An empty path is the kind itself.',
    ),
  },
  { description: 'One built-in resource with fields that some peers do not know or describe differently.' },
);

const leaseProblemSchema = Type.Object(
  {
    lease: Type.String({ description: 'Name of the Lease.' }),
    reason: Type.String({ description: 'Why it identifies no peer, in one CamelCase word.' }),
    message: Type.String({ description: 'Why, for people.' }),
  },
  { description: 'A Lease that identifies no peer.' },
);

const statusSchema = Type.Object(
  {
    observedGeneration: Type.Optional(count('The generation of the spec that this status is about.')),
    mode: Type.Optional(
      oneOf<Mode>('What proxies do now.', {
        Observe: 'nothing changes for clients',
        Route: 'requests are routed',
      }),
    ),
    revision: Type.Optional(count('Revision of the published routing table; grows by one with every change.')),
    hash: Type.Optional(Type.String({ description: 'Short hash of the unified discovery document.' })),
    peerCounts: Type.Optional(
      Type.Object(
        {
          total: count('All peers that are listed.'),
          ready: count('Peers in state Ready.'),
          stale: count('Peers whose discovery is not fresh, including those that are away.'),
          unreachable: count('Peers that cannot be read: in state Unreachable, Unresolved or Refused.'),
        },
        { description: 'How many peers there are.' },
      ),
    ),
    groups: Type.Optional(count('Number of API groups in the unified document, including the core group.')),
    resources: Type.Optional(count('Number of resources in the unified document, without subresources.')),
    divergentResources: Type.Optional(
      count('Number of resources and subresources that some live peers do not serve or describe differently.'),
    ),
    converged: Type.Optional(
      Type.Unsafe<'True' | 'False' | 'Unknown'>({
        type: 'string',
        description: 'Status of the condition Converged.',
        enum: ['True', 'False', 'Unknown'],
      }),
    ),
    conditions: Type.Optional(
      Type.Array(conditionSchema, {
        description:
          'Ready: the routing table is published and current. Stale: the discovery of some peer is not fresh. ' +
          'Converged: all peers are ready and serve the same APIs. Stalled: nothing more will happen until you change something.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
      }),
    ),
    peers: Type.Optional(
      Type.Array(peerStatusSchema, {
        description: 'The peers, by id.',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['id'],
      }),
    ),
    divergent: Type.Optional(
      Type.Array(divergentResourceSchema, {
        description: 'What the peers disagree about: resources by group, version and name, then subresources.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
    schemaDifferences: Type.Optional(
      Type.Array(schemaDifferenceSchema, {
        description:
          'Group-versions whose OpenAPI schemas differ between live peers. Some peers may not know a field. ' +
          'Normal during an upgrade; Converged does not depend on it.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
    fieldDifferentResources: Type.Optional(
      count('Number of built-in resources with fields that some live peers do not know or describe differently.'),
    ),
    fieldDifferences: Type.Optional(
      Type.Array(fieldDifferenceSchema, {
        description:
          'The built-in resources whose fields differ between peers. Normal during an upgrade: proxies send writes ' +
          'to the peers that know all fields (spec.routing.fieldSkew). Converged does not depend on it.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
    omitted: Type.Optional(
      Type.Object(
        {
          fieldDifferences: Type.Optional(count('Number of field differences left out of the list.')),
          schemaDifferences: Type.Optional(count('Number of schema differences left out of the list.')),
          peers: count('Number of peers left out of the list.'),
          divergent: count('Number of divergent resources left out of the list.'),
        },
        { description: 'What was left out of the lists above to keep this object small. The counts include it.' },
      ),
    ),
    leaseProblems: Type.Optional(
      Type.Array(leaseProblemSchema, {
        description: 'Leases that match the selector but identify no peer.',
        'x-kubernetes-list-type': 'atomic',
      }),
    ),
    routingTable: Type.Optional(
      Type.Object(
        {
          namespace: Type.String({ description: 'Its namespace.' }),
          name: Type.String({ description: 'Its name.' }),
        },
        { description: 'The ConfigMap that the routing table is published in.' },
      ),
    ),
  },
  { description: 'What the operator found. Only the operator writes here.' },
);

/** The part of the standard metadata that is used here. */
export interface PeerDiscoveryMetadata {
  readonly name: string;
  readonly generation?: number;
  readonly resourceVersion?: string;
  readonly uid?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The single definition of PeerDiscovery. The types below and the CustomResourceDefinition are derived from it. */
export const peerDiscoverySchema = Type.Object(
  {
    apiVersion: Type.Unsafe<typeof apiVersion>({
      type: 'string',
      description: 'Version of the API that this object is written in: peerdiscovery.dev/v1alpha1.',
    }),
    kind: Type.Unsafe<typeof kind>({ type: 'string', description: 'PeerDiscovery.' }),
    metadata: Type.Unsafe<PeerDiscoveryMetadata>({ type: 'object' }),
    spec: specSchema,
    status: Type.Optional(statusSchema),
  },
  {
    description:
      'PeerDiscovery asks for one unified view of what the kube-apiservers of a control plane serve, and shows it. ' +
      'The usual one is named cluster.',
    'x-kubernetes-validations': [
      rule('size(self.metadata.name) <= 49', 'the name must have at most 49 characters'),
      // Applies only to new objects, which have no status: an older object can still be written.
      rule(
        'has(self.status) || (has(self.spec) && has(self.spec.routingTable) && has(self.spec.routingTable.name)) || ' +
          `!('peerdiscovery-' + self.metadata.name).matches('${reservedTableNames}')`,
        `metadata.name: the default name of its routing table, peerdiscovery- and this name, ${reservedTableNameMessage}`,
      ),
    ],
  },
);

type Immutable<T> = T extends readonly (infer Item)[]
  ? readonly Immutable<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Immutable<T[Key]> }
    : T;

/** A PeerDiscovery, as the API server stores it. */
export type PeerDiscovery = Immutable<Static<typeof peerDiscoverySchema>>;
/** The spec that the administrator writes. Every field is optional. */
export type PeerDiscoverySpec = Immutable<Static<typeof specSchema>>;
/** The status that the operator writes. */
export type PeerDiscoveryStatus = Immutable<Static<typeof statusSchema>>;
/** One peer in the status. */
export type PeerStatus = Immutable<Static<typeof peerStatusSchema>>;
/** One group-version whose schemas differ, in the status. */
export type SchemaDifferenceStatus = Immutable<Static<typeof schemaDifferenceSchema>>;
/** One resource whose fields differ between peers, in the status. */
export type FieldDifferenceStatus = Immutable<Static<typeof fieldDifferenceSchema>>;
/** One resource on which peers differ, in the status. */
export type DivergentResource = Immutable<Static<typeof divergentResourceSchema>>;
/** One condition in the status, in the standard form of Kubernetes. */
export type Condition = Immutable<Static<typeof conditionSchema>>;

type Leaf = string | number | boolean | readonly unknown[];
type Completed<T> = T extends Leaf
  ? T
  : {
      readonly [Key in keyof T]-?: Key extends KeyWithoutDefault ? T[Key] | undefined : Completed<NonNullable<T[Key]>>;
    };
type KeyWithoutDefault = 'caBundle';

/** A spec with every default filled in. */
export type CompleteSpec = Completed<Omit<PeerDiscoverySpec, 'routingTable' | 'tls'>> & {
  readonly tls: { readonly caBundle?: string; readonly serverName: string };
  /** The defaults of these two depend on the operator's namespace and the object's name. */
  readonly routingTable: { readonly namespace?: string; readonly name?: string };
};

/** Fills in every default exactly as the API server does, for a spec that never passed through it. */
export function withDefaults(spec: PeerDiscoverySpec | undefined): CompleteSpec {
  return applyDefaults(specSchema, spec ?? {}) as CompleteSpec;
}

/** Source: structural defaulting, `pkg/apiserver/schema/defaulting/algorithm.go` of k8s.io/apiextensions-apiserver. */
function applyDefaults(schema: object, value: unknown): unknown {
  if (!('properties' in schema) || typeof value !== 'object' || value === null) return value;
  const complete: Record<string, unknown> = { ...value };
  for (const [name, property] of Object.entries(schema.properties as Record<string, { default?: unknown }>)) {
    if ((complete[name] ?? undefined) === undefined && property.default !== undefined)
      complete[name] = structuredClone(property.default);
    if (complete[name] !== undefined) complete[name] = applyDefaults(property, complete[name]);
  }
  return complete;
}
