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
