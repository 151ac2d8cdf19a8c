import { expect } from 'chai';
import { type LegacyResources, legacyToGroup, parseLegacyGroups } from '../../src/domain/legacy-to-groups.ts';

const groupOf = (name: unknown, ...versions: readonly unknown[]) => ({
  name,
  versions: versions.map((version) => ({ groupVersion: `${name}/${version}`, version })),
});
const groupsOf = (...groups: readonly unknown[]) => ({ kind: 'APIGroupList', groups });
const listOf = (...resources: readonly unknown[]): LegacyResources => ({
  kind: 'list',
  list: { kind: 'APIResourceList', resources },
});

describe('parseLegacyGroups', () => {
  it('reads the versions of the core group, and of all others in order', () => {
    expect(parseLegacyGroups({ kind: 'APIVersions', versions: ['v1', 'v2'] })).to.deep.equal([
      { name: '', versions: ['v1', 'v2'] },
    ]);
    expect(
      parseLegacyGroups(groupsOf(groupOf('apps', 'v1', 'v1beta1'), groupOf('a-b.example.io', 'v2'))),
    ).to.deep.equal([
      { name: 'apps', versions: ['v1', 'v1beta1'] },
      { name: 'a-b.example.io', versions: ['v2'] },
    ]);
  });

  it('reads null, as Go writes an empty list', () => {
    expect(parseLegacyGroups({ kind: 'APIGroupList', groups: null })).to.deep.equal([]);
    expect(parseLegacyGroups({ kind: 'APIVersions', versions: null })).to.deep.equal([{ name: '', versions: [] }]);
    expect(parseLegacyGroups(groupsOf({ name: 'apps', versions: null }))).to.deep.equal([
      { name: 'apps', versions: [] },
    ]);
  });

  const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;

  it('takes names up to the length of a DNS name', () => {
    expect(longest).to.have.length(253);
    expect(parseLegacyGroups(groupsOf(groupOf(longest, 'v1')))[0]?.name).to.equal(longest);
  });

  for (const [what, document, message] of [
    ['no object', 1, 'document is not an object'],
    ['null', null, 'document is not an object'],
    ['a list', [], 'document is not an object'],
    ['another kind', { kind: 'Status' }, 'not a discovery document'],
    ['no groups', { kind: 'APIGroupList' }, 'groups is not a list'],
    ['no versions of the core group', { kind: 'APIVersions' }, 'versions is not a list'],
    ['a group that is no object', groupsOf('apps'), 'group is not an object'],
    ['a group without a name', groupsOf(groupOf(undefined, 'v1')), 'group name is not text'],
    ['a group without versions', groupsOf({ name: 'apps' }), 'versions is not a list'],
    ['a version that is no object', groupsOf({ name: 'apps', versions: ['v1'] }), 'version is not an object'],
    ['a version that is no text', { kind: 'APIVersions', versions: [1] }, 'version is not text'],
    ...['', '..', 'a..b', 'a/b', 'A', 'a_b', '-a', 'a-', `${longest}x`, 'a'.repeat(64)].map(
      (name) =>
        [`the group ${name.slice(0, 9)}`, groupsOf(groupOf(name, 'v1')), 'a group name is not a DNS name'] as const,
    ),
    ...['', '..', 'v1/x', 'v.1', 'V1', '-v', 'v-', 'v'.repeat(64), 'v1?'].flatMap((version) => [
      [
        `the version ${version.slice(0, 9)}`,
        groupsOf(groupOf('apps', version)),
        'a version is not a DNS label',
      ] as const,
      [
        `the core version ${version.slice(0, 9)}`,
        { kind: 'APIVersions', versions: [version] },
        'a version is not a DNS label',
      ] as const,
    ]),
  ] as const)
    it(`refuses ${what}`, () => {
      expect(() => parseLegacyGroups(document))
        .to.throw(message)
        .with.property('name', 'InvalidLegacyDiscoveryError');
    });

  it('refuses more group-versions than a server has, counted over all groups', () => {
    const versions = (count: number) => Array.from({ length: count }, (_, at) => `v${at}`);
    const ofCounts = (...counts: readonly number[]) =>
      groupsOf(...counts.map((count, at) => groupOf(`g${at}`, ...versions(count))));
    expect(parseLegacyGroups(ofCounts(1_000, 1_000))).to.have.length(2);
    expect(() => parseLegacyGroups(ofCounts(1_000, 1_001))).to.throw('lists 2001 group-versions');
  });
});

describe('legacyToGroup', () => {
  const convert = (resources: LegacyResources) => legacyToGroup({ name: 'g', versions: ['v1'] }, () => resources);
  const none = { group: '', version: '', kind: '' };

  it('asks for each version, and calls one without a list Stale', () => {
    const asked: string[] = [];
    const group = legacyToGroup({ name: 'g', versions: ['v1', 'v2'] }, (version) => {
      asked.push(version);
      return version === 'v1' ? listOf() : { kind: 'missing' };
    });
    expect(asked).to.deep.equal(['v1', 'v2']);
    expect(group).to.deep.equal({
      name: 'g',
      versions: [
        { version: 'v1', resources: [], freshness: 'Current' },
        { version: 'v2', freshness: 'Stale' },
      ],
    });
  });

  it('converts every field of a resource and of its subresources, wherever they stand', () => {
    const group = convert(
      listOf(
        { name: 'pods/exec', kind: 'PodExecOptions', namespaced: true, verbs: ['create'] },
        { name: 'pods/a/b', namespaced: true, kind: 'X', group: 'h', version: 'v9', verbs: [] },
        {
          ...{ name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', group: 'h', version: 'v9' },
          ...{ verbs: ['get'], shortNames: ['po'], categories: ['all'] },
        },
        { name: 'nodes', namespaced: false, verbs: null },
      ),
    );
    expect(group.versions?.[0]?.resources).to.deep.equal([
      {
        resource: 'pods',
        responseKind: { group: 'h', version: 'v9', kind: 'Pod' },
        scope: 'Namespaced',
        singularResource: 'pod',
        verbs: ['get'],
        shortNames: ['po'],
        categories: ['all'],
        subresources: [
          { subresource: 'exec', responseKind: { ...none, kind: 'PodExecOptions' }, verbs: ['create'] },
          { subresource: 'a/b', responseKind: { group: 'h', version: 'v9', kind: 'X' }, verbs: [] },
        ],
      },
      { resource: 'nodes', responseKind: none, scope: 'Cluster', singularResource: '', verbs: null },
    ]);
  });

  it('invents a parent for subresources without one, of the scope of the first', () => {
    const group = convert(
      listOf(
        { name: 'pods/exec', namespaced: true, verbs: ['create'] },
        { name: 'pods/log', namespaced: false, verbs: ['get'] },
      ),
    );
    expect(group.versions?.[0]?.resources).to.deep.equal([
      {
        ...{ resource: 'pods', responseKind: none, scope: 'Namespaced', singularResource: '', verbs: null },
        subresources: [
          { subresource: 'exec', responseKind: none, verbs: ['create'] },
          { subresource: 'log', responseKind: none, verbs: ['get'] },
        ],
      },
    ]);
  });

  it('reads missing and null fields alike', () => {
    const bare = convert(listOf({ name: 'pods' }));
    const nulls = { singularName: null, verbs: null, shortNames: null, categories: null, group: null, kind: null };
    expect(convert(listOf({ name: 'pods', ...nulls }))).to.deep.equal(bare);
    expect(bare.versions?.[0]?.resources).to.deep.equal([
      { resource: 'pods', responseKind: none, scope: 'Cluster', singularResource: '', verbs: null },
    ]);
    expect(
      convert({ kind: 'list', list: { kind: 'APIResourceList', resources: null } }).versions?.[0]?.resources,
    ).to.deep.equal([]);
  });

  for (const [what, list, message] of [
    ['no object', 'x', 'document is not an object'],
    ['another kind', { kind: 'APIGroupList', resources: [] }, 'not an APIResourceList'],
    ['no list', { kind: 'APIResourceList' }, 'resources is not a list'],
    ['a resource that is no object', { kind: 'APIResourceList', resources: [null] }, 'resource is not an object'],
    ['a resource without a name', { kind: 'APIResourceList', resources: [{}] }, 'resource name is not text'],
    [
      'verbs that are no list',
      { kind: 'APIResourceList', resources: [{ name: 'a', verbs: 'get' }] },
      'verbs is not a list',
    ],
    [
      'a verb that is no text',
      { kind: 'APIResourceList', resources: [{ name: 'a', verbs: [1] }] },
      'verbs is not text',
    ],
    [
      'a short name that is no text',
      { kind: 'APIResourceList', resources: [{ name: 'a', shortNames: [1] }] },
      'shortNames is not text',
    ],
    ['a kind that is no text', { kind: 'APIResourceList', resources: [{ name: 'a', kind: 1 }] }, 'kind is not text'],
  ] as const)
    it(`refuses ${what}`, () => {
      expect(() => convert({ kind: 'list', list })).to.throw(message);
    });
});
