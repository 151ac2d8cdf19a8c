import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import { rememberPeers } from '../../src/domain/remember-peers.ts';

const resource = (name: string, subresources: string[] = []) => ({
  resource: name,
  scope: 'Namespaced',
  singularResource: '',
  verbs: ['get'],
  ...(subresources.length > 0 && {
    subresources: subresources.map((subresource) => ({ subresource, verbs: ['get'] })),
  }),
});
const apis = [
  { name: 'apps', versions: [{ version: 'v1', resources: [resource('old'), resource('both', ['scale', 'status'])] }] },
  { name: 'new.example', versions: [{ version: 'v1', resources: [resource('things')] }] },
];
const row = (name: string, peers: number[], subresources: Record<string, number[]> = {}) => ({
  resource: name,
  peers,
  subresources,
});
const table = routingTable({
  peers: [
    { id: 'a', address: '10.0.0.1:6443', state: 'Ready', version: 'v1.33.0' },
    { id: 'b', address: '10.0.0.2:6443', state: 'Unreachable', hostname: 'cp-2' },
    { id: 'c', state: 'Unresolved' },
  ],
  groupVersions: [
    {
      group: 'apps',
      version: 'v1',
      origin: 'BuiltIn',
      resources: [row('both', [0, 1], { scale: [0, 1], status: [1] }), row('old', [0])],
    },
    { group: 'new.example', version: 'v1', origin: 'BuiltIn', resources: [row('things', [1])] },
  ],
});

describe('rememberPeers', () => {
  const remembered = rememberPeers({ table, apis, api: [] }, 5_000);
  const listed = (id: string) =>
    (remembered.get(id)?.documents?.apis ?? []).flatMap(({ name, versions }) =>
      (versions ?? []).flatMap(({ version, resources }) =>
        (resources ?? []).map(
          ({ resource: plural, subresources }) =>
            `${name}/${version}/${[plural, ...(subresources ?? []).map(({ subresource }) => subresource)].join('+')}`,
        ),
      ),
    );

  it('gives each peer exactly the resources and subresources that the table lists for it', () => {
    expect(listed('a')).to.deep.equal(['apps/v1/old', 'apps/v1/both+scale']);
    expect(listed('b')).to.deep.equal(['apps/v1/both+scale+status', 'new.example/v1/things']);
  });

  it('remembers peers that are away, takes nothing for fresh, and omits peers without a discovery', () => {
    expect([...remembered.keys()]).to.deep.equal(['a', 'b']);
    expect(remembered.get('b')).to.include({ unreachableSince: 5_000 });
    expect(remembered.get('a')).not.to.have.any.keys('documentsAt', 'probe', 'unreachableSince');
  });
});

describe('a remembered peer', () => {
  const core = [{ name: '', versions: [{ version: 'v1', resources: [resource('pods')] }] }];
  const documents = { form: 'v2', apis: [], api: core, etags: {}, hash: 'remembered' };
  const peers = [
    { id: 'a', address: '10.0.0.1:6443', state: 'Ready', version: 'v1.36.3', emulatedVersion: 'v1.35.0' },
    { id: 'b', address: '10.0.0.2:6443', state: 'Stale', hostname: 'cp-2' },
    { id: 'c', address: '10.0.0.3:6443', state: 'Unreachable', version: 'v1.36.3' },
    { id: 'd', address: '10.0.0.4:6443', state: 'NotReady' },
    { id: 'e', state: 'Unresolved' },
    { id: 'f', address: '10.0.0.6:6443', state: 'Ready' },
  ] as const;
  const groupVersions = [
    { group: '', version: 'v1', origin: 'BuiltIn' as const, resources: [row('pods', [0, 1, 2, 3, 4])] },
  ];

  it('has all that the table says of it, and only if it has an address and serves anything', () => {
    const lists = { apis: [{ name: 'empty.io' }, { name: 'odd.io', versions: [{ version: 'v1' }] }], api: core };
    const found = rememberPeers({ table: { ...table, peers, groupVersions }, ...lists }, 5_000);
    expect(Object.fromEntries(found)).to.deep.equal({
      a: {
        peer: { id: 'a', address: '10.0.0.1:6443' },
        documents,
        version: 'v1.36.3',
        emulatedVersion: 'v1.35.0',
        wasReady: true,
      },
      b: { peer: { id: 'b', address: '10.0.0.2:6443', hostname: 'cp-2' }, documents, wasReady: true },
      c: { peer: { id: 'c', address: '10.0.0.3:6443' }, documents, version: 'v1.36.3', unreachableSince: 5_000 },
      d: { peer: { id: 'd', address: '10.0.0.4:6443' }, documents },
    });
  });

  it('lists neither a version nor a group of which it serves nothing', () => {
    const lists = [
      {
        name: 'apps',
        versions: [
          { version: 'v1', resources: [resource('old')] },
          { version: 'v2', resources: [resource('young'), resource('unlisted')] },
        ],
      },
      { name: 'new.io', versions: [{ version: 'v1', resources: [resource('things')] }] },
    ];
    const rows = [
      { group: 'apps', version: 'v1', origin: 'BuiltIn' as const, resources: [row('old', [0])] },
      { group: 'apps', version: 'v2', origin: 'BuiltIn' as const, resources: [row('young', [1])] },
      { group: 'new.io', version: 'v1', origin: 'BuiltIn' as const, resources: [row('things', [1])] },
    ];
    const found = rememberPeers({ table: { ...table, peers, groupVersions: rows }, apis: lists, api: [] }, 0);
    expect(found.get('a')?.documents?.apis).to.deep.equal([{ name: 'apps', versions: [lists[0]?.versions[0]] }]);
    expect(found.get('b')?.documents?.apis.map(({ name, versions }) => [name, versions?.length])).to.deep.equal([
      ['apps', 1],
      ['new.io', 1],
    ]);
  });
});

describe('rememberPeers at scale', () => {
  it('gives one document to peers that serve the same, whatever objects the sets are', () => {
    const peers = Array.from({ length: 50 }, (_, index) => ({
      id: `p${index}`,
      address: `10.0.0.${index}:6443`,
      state: 'Ready' as const,
    }));
    const everyone = peers.map((_, index) => index);
    const odd = everyone.filter((index) => index % 2 === 1);
    const groupVersions = [
      {
        group: 'apps',
        version: 'v1',
        origin: 'BuiltIn' as const,
        resources: [row('both', [...everyone], { scale: [...odd], status: [...everyone] }), row('old', odd)],
      },
    ];
    const remembered = rememberPeers({ table: { ...table, peers, groupVersions }, apis, api: [] }, 0);
    const documents = [...remembered.values()].map((seen) => seen.documents?.apis);
    expect(new Set(documents).size).to.equal(2);
    expect(documents[1]?.[0]?.versions?.[0]?.resources?.map((entry) => entry.subresources?.length ?? 0)).to.deep.equal([
      0, 2,
    ]);
    expect(documents[0]?.[0]?.versions?.[0]?.resources?.map((entry) => entry.subresources?.length)).to.deep.equal([1]);
    // A resource that keeps everything is the same object that was published.
    expect(documents[1]?.[0]?.versions?.[0]?.resources?.[1]).to.equal(apis[0]?.versions[0]?.resources[1]);
  });
});
