/** One object, and the verdict of an API server that has the CustomResourceDefinition. */
export interface CrdCase {
  readonly title: string;
  readonly object: object;
  /** The text that the refusal must contain; absent if the object is accepted. */
  readonly error?: RegExp;
}

const withSpec = (name: string, spec: unknown) => ({
  apiVersion: 'peerdiscovery.dev/v1alpha1',
  kind: 'PeerDiscovery',
  metadata: { name },
  ...(spec !== undefined && { spec }),
});
const accepted = (title: string, spec: unknown, name = 'case'): CrdCase => ({ title, object: withSpec(name, spec) });
const refused = (title: string, spec: unknown, error: RegExp, name = 'case'): CrdCase => ({
  title,
  object: withSpec(name, spec),
  error,
});

/** Objects that every API server must accept or refuse. Each is created alone, by a dry run or deleted afterwards. */
export const crdCases: readonly CrdCase[] = [
  accepted('an object without a spec', undefined),
  accepted('an empty spec', {}),
  accepted('a null section, which gets its default', { polling: null }),
  accepted('a complete spec', {
    mode: 'Route',
    leases: { namespace: 'control-planes', labelSelector: 'apiserver.kubernetes.io/identity=my-apiserver' },
    addresses: {
      sources: ['Node', 'Static'],
      static: [
        { peer: 'master-1', address: '10.0.0.1:6443' },
        { peer: 'master-2', address: '[fd00::2]:6443' },
        { peer: 'master-3', address: '192.168.255.1:65535' },
      ],
      port: 443,
      allowedCIDRs: ['10.0.0.0/24', 'fd00::/64'],
    },
    tls: { caBundle: 'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==', serverName: 'kubernetes' },
    polling: { interval: '500ms', timeout: '1.5s', concurrency: 64 },
    staleAfter: '1m30s',
    goneAfter: '1h',
    routingTable: { namespace: 'proxies', name: 'table' },
  }),
  accepted('goneAfter equal to staleAfter', { staleAfter: '2m', goneAfter: '120s' }),
  accepted('a name of 49 characters', {}, 'a'.repeat(49)),
  refused('a name of 50 characters', {}, /at most 49 characters/, 'a'.repeat(50)),
  ...['operator', 'ca', 'x-behind', 'x-0123456789-0'].map((name) =>
    refused(`the name ${name}, whose table would meet other objects`, {}, /metadata\.name: .* is reserved/, name),
  ),
  accepted('such a name with a table of another', { routingTable: { name: 'peerdiscovery-blue' } }, 'operator'),
  ...['peerdiscovery-operator', 'peerdiscovery-ca', 'kube-root-ca.crt', 'x-behind', 'x-0123456789-0'].map((name) =>
    refused(
      `a table named ${name}, which is the name of other objects`,
      { routingTable: { name } },
      /spec\.routingTable\.name: Invalid value: .* is reserved.*for example/,
    ),
  ),
  refused('an unknown mode', { mode: 'Enforce' }, /spec\.mode: Unsupported value: "Enforce"/),
  refused('goneAfter shorter than staleAfter', { staleAfter: '10m' }, /goneAfter must not be shorter than staleAfter/),
  refused(
    'staleAfter no longer than the interval',
    { staleAfter: '10s' },
    /staleAfter must be longer than polling\.interval/,
  ),
  refused(
    'an interval longer than the default of staleAfter',
    { polling: { interval: '2m' } },
    /staleAfter must be longer/,
  ),
  refused('an interval below 100ms', { polling: { interval: '50ms' } }, /interval must be at least 100ms/),
  refused('a timeout of zero', { polling: { timeout: '0s' } }, /timeout must be at least 100ms/),
  refused(
    'a duration without a unit',
    { staleAfter: '60' },
    /spec\.staleAfter: Invalid value: .* must be a duration: .* for example 1m/,
  ),
  refused(
    'a negative duration',
    { staleAfter: '-1m' },
    /spec\.staleAfter: Invalid value: .* must be a duration: .* for example 1m/,
  ),
  refused('a duration that is a number', { staleAfter: 60 }, /spec\.staleAfter.*must be of type string/),
  refused('no concurrency', { polling: { concurrency: 0 } }, /spec\.polling\.concurrency.*greater than or equal to 1/),
  refused(
    'too much concurrency',
    { polling: { concurrency: 65 } },
    /spec\.polling\.concurrency.*less than or equal to 64/,
  ),
  refused('an unknown source', { addresses: { sources: ['Dns'] } }, /Unsupported value: "Dns"/),
  refused('no source at all', { addresses: { sources: [] } }, /spec\.addresses\.sources.*at least 1 item/),
  refused('a source listed twice', { addresses: { sources: ['Node', 'Node'] } }, /a source may be listed only once/),
  refused(
    'a static address without a port',
    staticAddress('10.0.0.1'),
    /static\[0\]\.address: Invalid value: .* must be an IP address and a port .* for example 10/,
  ),
  refused(
    'a static address with port 65536',
    staticAddress('10.0.0.1:65536'),
    /static\[0\]\.address: Invalid value: .* must be an IP address and a port .* for example 10/,
  ),
  refused(
    'a static address that is a URL',
    staticAddress('https://10.0.0.1:6443'),
    /static\[0\]\.address: Invalid value: .* must be an IP address and a port .* for example 10/,
  ),
  refused(
    'a static address that is a name',
    staticAddress('cp-1:6443'),
    /static\[0\]\.address: Invalid value: .* must be an IP address and a port .* for example 10/,
  ),
  refused(
    'an IPv6 address without brackets',
    staticAddress('fd00::2:6443'),
    /static\[0\]\.address: Invalid value: .* must be an IP address and a port .* for example 10/,
  ),
  refused('a static entry without an address', { addresses: { static: [{ peer: 'a' }] } }, /address: Required value/),
  refused(
    'a peer with two static addresses',
    { addresses: { static: ['10.0.0.1:1', '10.0.0.2:1'].map((address) => ({ peer: 'a', address })) } },
    /Duplicate value/,
  ),
  refused(
    '257 static addresses',
    {
      addresses: { static: Array.from({ length: 257 }, (_, i) => ({ peer: `p${i}`, address: `10.0.1.${i % 250}:1` })) },
    },
    /must have at most 256 items/,
  ),
  refused('a port of 0', { addresses: { port: 0 } }, /spec\.addresses\.port.*greater than or equal to 1/),
  refused(
    'a CIDR without a prefix length',
    { addresses: { allowedCIDRs: ['10.0.0.1'] } },
    /allowedCIDRs\[0\]: Invalid value: .* must be a range of IP addresses .* for example/,
  ),
  refused('a CA bundle that is not base64', { tls: { caBundle: '-----BEGIN' } }, /spec\.tls\.caBundle.*byte/),
  refused(
    'a namespace that cannot be one',
    { routingTable: { namespace: 'A_B' } },
    /spec\.routingTable\.namespace: Invalid value: .* must be the name of a namespace.* for example/,
  ),
  refused(
    'a name of the table that cannot be one',
    { routingTable: { name: '-a' } },
    /spec\.routingTable\.name: Invalid value: .* must be the name of a ConfigMap.* for example/,
  ),
  ...['a=b=', '=', 'a in b', ',', 'a,,b', 'a=b c', '-a=b', 'https://x', 'a in (b', `a=${'x'.repeat(64)}`].map(
    (labelSelector) =>
      refused(
        `the label selector ${labelSelector.slice(0, 20)}`,
        { leases: { labelSelector } },
        /spec\.leases\.labelSelector: Invalid value: .* must be a label selector: .* for example/,
      ),
  ),
  ...['a', '!a', 'a=', 'a = b, c != d', 'x.io/a in (b, c),d notin (e)', 'a==b,c>5'].map((labelSelector) =>
    accepted(`the label selector ${labelSelector}`, { leases: { labelSelector } }),
  ),
  ...['https://x', 'x:6443', '10.0.0.1', '*.x', 'x.', 'x y', 'fd00::1'].map((serverName) =>
    refused(
      `the server name ${serverName}`,
      { tls: { serverName } },
      /spec\.tls\.serverName: Invalid value: .* must be one DNS name.* for example/,
    ),
  ),
  ...[
    ...['10.0.0.1/8', '10.0.0.128/24', '1.2.3.4/0', '10.0.0.1/31', '10.1.0.0/15'],
    ...['fd00::1/64', 'fd00::/0', 'fd00:1::/16', '::1/112', '2001:db8:0:8000::/48', '1:2:3:4:5:6:7:8/99', 'FD00::A/9'],
  ].map((cidr) =>
    refused(
      `the range ${cidr}, which has host bits`,
      { addresses: { allowedCIDRs: [cidr] } },
      /allowedCIDRs\[0\]: Invalid value: .* has bits set beyond its prefix: .* for example/,
    ),
  ),
  accepted('ranges of all kinds', {
    addresses: {
      allowedCIDRs: ['0.0.0.0/0', '10.0.0.0/8', '10.2.0.0/15', '10.0.0.128/25', '10.0.0.1/32', '::/0', 'fd00::1/128'],
    },
  }),
  accepted('ranges of IPv6', {
    addresses: {
      allowedCIDRs: [
        ...['fd00::/64', 'fc00::/7', 'FE80::/10', '64:ff9b::/96', '::1/128', '2001:db8:0:8000::/49', '::ffff:0:0:0/96'],
        ...['1:2:3:4:5:6:7:8/128', '1:2:3:4:5:6:7:8/125', 'fd00::c/126', '0:0:0:0:0:0:0:0/0', '1:2:3:4::/64'],
      ],
    },
  }),
  ...[
    ...['10.0.0.0/33', '10.0.0/8', 'x/8', '300.0.0.0/8', 'fd00::/129', '10.0.0.0-10.0.0.9'],
    ...[':::/64', '1::2::3/128', '12345::/16', ':/64', '1:2:3/48', '::ffff:300.1.1.1/128', '1:2:3:4:5:6:7:8:9/128'],
  ].map((cidr) =>
    refused(
      `the range ${cidr}`,
      { addresses: { allowedCIDRs: [cidr] } },
      /allowedCIDRs\[0\]: Invalid value: .* must be a range of IP addresses .* for example/,
    ),
  ),
  refused(
    'a CA bundle that is not PEM',
    { tls: { caBundle: 'aGVsbG8=' } },
    /spec\.tls\.caBundle: Invalid value: .* must be PEM certificates.*base64 -w0 ca\.crt/,
  ),
  ...(['interval', 'timeout'] as const).map((field) =>
    refused(
      `polling.${field} without a unit`,
      { polling: { [field]: '10' } },
      new RegExp(`spec\\.polling\\.${field}: Invalid value: .* must be a duration: .* for example`),
    ),
  ),
  refused('goneAfter in days', { goneAfter: '1d' }, /spec\.goneAfter: Invalid value: .* must be a duration/),
  refused(
    'a namespace of Leases that cannot be one',
    { leases: { namespace: 'A_B' } },
    /spec\.leases\.namespace: Invalid value: .* must be the name of a namespace.* for example/,
  ),
  ...[
    '10.0.300.1',
    '[:::]',
    '[1::2::3]',
    '[12345::1]',
    '[1:2:3]',
    '[fd00::1%eth0]',
    '[10.0.0.1]',
    '[::10.0.0.300]',
  ].map((host) =>
    refused(
      `the static address ${host}`,
      staticAddress(`${host}:6443`),
      /must be an IP address and a port .* for example/,
    ),
  ),
  ...[
    '[::1]',
    '[fd00::11]',
    '[1:2:3:4:5:6:7:8]',
    '[1:2:3:4:5:6:7::]',
    '[::ffff:10.0.0.11]',
    '[64:ff9b::10.0.0.11]',
  ].map((host) => accepted(`the static address ${host}`, staticAddress(`${host}:6443`))),
  refused('an unknown field', { modus: 'Route' }, /unknown field "spec\.modus"/),
];

function staticAddress(address: string) {
  return { addresses: { static: [{ peer: 'a', address }] } };
}
