import { expect } from 'chai';
import fc from 'fast-check';
import type { GroupDiscovery, ResourceDiscovery } from '../../src/domain/discovery-document.ts';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { createMergeMemo, mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import {
  buildGroup,
  buildResource,
  buildVersion,
  type DocumentSet,
  nastyDocumentSets,
} from '../support/discovery-builders.ts';

const merge = (local: string, servers: Record<string, readonly GroupDiscovery[]>) =>
  mergeDiscovery(local, new Map(Object.entries(servers)));
const mergeResources = (a: ResourceDiscovery, b: ResourceDiscovery) =>
  merge('a', {
    a: [buildGroup('g', buildVersion('v1', a))],
    b: [buildGroup('g', buildVersion('v1', b))],
  })[0]?.versions?.[0]?.resources;
const groupNames = (groups: readonly GroupDiscovery[]) => groups.map(({ name }) => name);
const readServers = (set: DocumentSet) =>
  new Map(Object.entries(set.servers).map(([id, list]) => [id, parseDiscoveryList(list)]));

describe('mergeDiscovery', () => {
  it('returns the local list itself if there is no other server, or none with different content', () => {
    const local = [
      buildGroup('apps', buildVersion('v1', 'deployments')),
      buildGroup('batch', buildVersion('v1', 'jobs')),
    ];
    expect(merge('a', { a: local })).to.equal(local);
    expect(merge('a', { a: local, b: structuredClone(local) })).to.equal(local);
  });

  it('returns the local list even though a peer differs in freshness only', () => {
    const local = [buildGroup('g', { version: 'v1', freshness: 'Stale' })];
    expect(merge('b', { b: local, a: [buildGroup('g', { version: 'v1', freshness: 'Current' })] })).to.equal(local);
  });

  it('adds a resource to one of two groups that all servers have', () => {
    const same = buildGroup('batch', buildVersion('v1', 'jobs'));
    const older = [buildGroup('apps', buildVersion('v1', 'deployments')), same];
    const newer = [buildGroup('apps', buildVersion('v1', 'deployments', 'replicasets')), same];
    for (const local of ['a', 'b']) {
      const merged = merge(local, { a: older, b: newer });
      expect(merged[0]?.versions?.[0]?.resources?.map(({ resource }) => resource)).to.deep.equal([
        'deployments',
        'replicasets',
      ]);
      expect(merged[1]).to.equal(same);
    }
  });

  it('sorts the verbs of a resource whose kind only one server states, like those of any other difference', () => {
    const bare = buildResource('r', { verbs: ['list', 'get'] });
    const stated = { ...bare, responseKind: { group: '', version: '', kind: 'R' } };
    expect(mergeResources(bare, { ...bare })?.[0]?.verbs).to.deep.equal(['list', 'get']);
    for (const [one, other] of [
      [bare, stated],
      [stated, bare],
    ] as const)
      expect(mergeResources(one, other)?.[0]?.verbs).to.deep.equal(['get', 'list']);
  });

  it('adds groups, versions and resources of peers at their positions', () => {
    const merged = merge('a', {
      a: [
        buildGroup('apps', buildVersion('v1', 'daemonsets', 'statefulsets')),
        buildGroup('policy', buildVersion('v1')),
      ],
      b: [
        buildGroup('apps', buildVersion('v2'), buildVersion('v1', 'daemonsets', 'deployments', 'statefulsets')),
        buildGroup('batch', buildVersion('v1', 'jobs')),
        buildGroup('policy', buildVersion('v1')),
      ],
    });
    expect(groupNames(merged)).to.deep.equal(['apps', 'batch', 'policy']);
    expect(merged[0]?.versions?.map(({ version }) => version)).to.deep.equal(['v2', 'v1']);
    expect(merged[0]?.versions?.[1]?.resources?.map(({ resource }) => resource)).to.deep.equal([
      'daemonsets',
      'deployments',
      'statefulsets',
    ]);
  });

  it('unites and sorts verbs and subresources; the later server wins a subresource', () => {
    const status = (verbs: string[]) => ({ subresource: 'status', verbs });
    const a = buildResource('r', { verbs: ['watch', 'get'], subresources: [status(['get'])], shortNames: ['a'] });
    const b = buildResource('r', {
      verbs: ['list', 'get'],
      subresources: [status(['patch']), { subresource: 'scale', verbs: null }],
      shortNames: ['b'],
    });
    expect(mergeResources(a, b)).to.deep.equal([
      {
        ...a,
        verbs: ['get', 'list', 'watch'],
        subresources: [{ subresource: 'scale', verbs: null }, status(['patch'])],
      },
    ]);
  });

  it('distinguishes an empty list from an absent one, and then sorts the verbs', () => {
    const verbs = ['watch', 'get'];
    const merged = mergeResources(buildResource('r', { verbs }), buildResource('r', { verbs, shortNames: [] }));
    expect(merged).to.deep.equal([buildResource('r', { verbs: ['get', 'watch'] })]);
    const [none] = mergeResources(buildResource('r', { verbs: [] }), buildResource('r', { verbs: null })) ?? [];
    expect(none?.verbs).to.equal(null);
  });

  it('notices a difference in any single field of a resource or subresource', () => {
    const kind = { group: 'g', version: 'v', kind: 'K' };
    const status = { subresource: 'status', responseKind: kind, acceptedTypes: [kind], verbs: ['get'] };
    const original = buildResource('r', {
      responseKind: kind,
      verbs: ['watch', 'get'],
      shortNames: ['s'],
      categories: ['c'],
      subresources: [status],
    });
    const others: Partial<ResourceDiscovery>[] = [
      { scope: 'x' },
      { singularResource: 'x' },
      { verbs: ['get', 'watch'] },
      { shortNames: [] },
      { categories: ['x'] },
      ...['group', 'version', 'kind'].map((word) => ({ responseKind: { ...kind, [word]: 'x' } })),
      { subresources: [] },
      { subresources: [{ ...status, subresource: 'x' }] },
      { subresources: [{ ...status, responseKind: { ...kind, kind: 'x' } }] },
      { subresources: [{ ...status, acceptedTypes: [] }] },
      { subresources: [{ ...status, verbs: [] }] },
    ];
    // The merge sorts verbs only where something differs, which makes a noticed difference visible.
    expect(mergeResources(original, structuredClone(original))?.[0]?.verbs).to.deep.equal(['watch', 'get']);
    for (const other of others)
      expect(mergeResources(original, { ...original, ...other })?.[0]?.verbs, JSON.stringify(other)).to.deep.equal([
        'get',
        'watch',
      ]);
  });

  it('prefers the later of two resources without a name, as upstream does', () => {
    const of = (scope: string) => buildResource('', { scope });
    expect(mergeResources(of('first'), of('second'))).to.deep.equal([of('second')]);
  });

  it('returns a lone document unchanged, including duplicate names', () => {
    const twice = [buildGroup('g', buildVersion('v1', 'a', 'a')), buildGroup('g', buildVersion('v2'))];
    expect(merge('a', { a: twice })).to.equal(twice);
  });

  it('keeps one of two versions with the same name if there is something to merge', () => {
    const twice = [buildGroup('g', buildVersion('v1', 'a'), buildVersion('v1', 'b'))];
    expect(merge('a', { a: twice, b: twice })).to.deep.equal([buildGroup('g', buildVersion('v1', 'a', 'b'))]);
  });

  it('takes the other fields from the server with the smallest id, by bytes, local or not', () => {
    const of = (scope: string) => [buildGroup('g', buildVersion('v1', buildResource('r', { scope })))];
    const scopeOf = (merged: readonly GroupDiscovery[]) => merged[0]?.versions?.[0]?.resources?.[0]?.scope;
    expect(scopeOf(merge('b', { b: of('B'), a: of('A') }))).to.equal('A');
    expect(scopeOf(merge('apiserver-9', { 'apiserver-9': of('nine'), 'apiserver-10': of('ten') }))).to.equal('ten');
    expect(scopeOf(merge('\u{1f600}', { '\u{1f600}': of('face'), '\ufffd': of('mark') }))).to.equal('mark');
  });

  it('sorts the groups if servers contradict each other in their order', () => {
    const groups = (...names: string[]) => names.map((name) => buildGroup(name, buildVersion('v1')));
    expect(groupNames(merge('a', { a: groups('z', 'x', 'y'), b: groups('y', 'z', 'w') }))).to.deep.equal([
      'w',
      'x',
      'y',
      'z',
    ]);
    // A list that is complete wins over one that contradicts it.
    expect(groupNames(merge('b', { a: groups('z', 'y'), b: groups('y', 'z') }))).to.deep.equal(['z', 'y']);
  });

  it('keeps a duplicate group of the local list as long as the names are the same everywhere', () => {
    const twice = [buildGroup('g', buildVersion('v1', 'a')), buildGroup('g', buildVersion('v1', 'b'))];
    expect(groupNames(merge('a', { a: twice, b: twice }))).to.deep.equal(['g', 'g']);
    expect(groupNames(merge('a', { a: twice, b: [] }))).to.deep.equal(['g']);
  });

  it('treats a local server without a document as one that serves nothing', () => {
    const peer = [buildGroup('g', buildVersion('v1'))];
    expect(merge('a', {})).to.deep.equal([]);
    expect(merge('a', { b: peer })).to.deep.equal(peer);
  });

  it('is not confused by names with a meaning in JavaScript', () => {
    const names = ['__proto__', 'constructor', 'toString'];
    const groups = names.map((name) => buildGroup(name, buildVersion('__proto__', ...names)));
    expect(groupNames(merge('a', { a: [], b: groups }))).to.deep.equal(names);
  });

  it('has exactly the groups, versions and resources of all servers', () => {
    const listed = (groups: Iterable<GroupDiscovery>) => {
      const keys = new Set<string>();
      for (const { name, versions } of groups)
        for (const { version, resources } of versions ?? [])
          for (const { resource } of [{ resource: undefined }, ...(resources ?? [])])
            keys.add(JSON.stringify([name, version, resource]));
      return [...keys].sort();
    };
    assertForAll((set) => {
      const servers = readServers(set);
      if ([...servers.values()].some(hasDoubles)) return;
      expect(listed(mergeDiscovery(set.local, servers))).to.deep.equal(listed([...servers.values()].flat()));
    });
  });

  it('has exactly the verbs that some server gives a resource', () => {
    const verbsOf = (groups: readonly GroupDiscovery[]) => {
      const verbs = new Set<string>();
      for (const group of groups)
        for (const version of group.versions ?? [])
          for (const { resource, verbs: own } of version.resources ?? [])
            for (const verb of own ?? []) verbs.add(JSON.stringify([group.name, version.version, resource, verb]));
      return verbs;
    };
    assertForAll((set) => {
      const servers = readServers(set);
      if ([...servers.values()].some(hasDoubles)) return;
      expect(verbsOf(mergeDiscovery(set.local, servers))).to.deep.equal(verbsOf([...servers.values()].flat()));
    });
  });

  it('does not depend on the order in which the servers are given', () => {
    assertForAll((set) => {
      const servers = readServers(set);
      const reversed = new Map([...servers].reverse());
      expect(encode(mergeDiscovery(set.local, reversed))).to.equal(encode(mergeDiscovery(set.local, servers)));
    });
  });

  it('gives the same document whether or not equal parts are the same objects', () => {
    assertForAll((set) => {
      // fast-check shares the base objects between servers. A parsed copy of the text shares none.
      const apart = JSON.parse(JSON.stringify(set)) as DocumentSet;
      const one = parseDiscoveryList(set.servers[set.local]);
      const shared = mergeDiscovery(
        'a',
        new Map([
          ['a', one],
          ['b', one],
          ['c', one],
        ]),
      );
      const copies = mergeDiscovery(
        'a',
        new Map(['a', 'b', 'c'].map((id) => [id, parseDiscoveryList(apart.servers[apart.local])])),
      );
      expect(encode(shared)).to.equal(encode(copies));
    });
  });

  it('never changes its arguments', () => {
    assertForAll((set) => {
      const servers = readServers(set);
      const before = structuredClone(servers);
      mergeDiscovery(set.local, deepFreeze(servers));
      expect(servers).to.deep.equal(before);
    });
  });
});

function assertForAll(check: (set: DocumentSet) => void): void {
  fc.assert(fc.property(nastyDocumentSets(), check), { numRuns: 200 });
}

function encode(groups: readonly GroupDiscovery[]): string {
  return encodeDiscoveryList(groups, { typeMeta: false });
}

/** If one list contains a name twice, upstream may keep only one of them. */
function hasDoubles(groups: readonly GroupDiscovery[]): boolean {
  const doubled = (names: readonly string[]) => new Set(names).size < names.length;
  return (
    doubled(groupNames(groups)) ||
    groups.some(
      ({ versions = [] }) =>
        doubled(versions.map(({ version }) => version)) ||
        versions.some(({ resources = [] }) => doubled(resources.map(({ resource }) => resource))),
    )
  );
}

function deepFreeze(servers: Map<string, GroupDiscovery[]>): Map<string, GroupDiscovery[]> {
  const freeze = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  };
  for (const groups of servers.values()) freeze(groups);
  return servers;
}

describe('mergeDiscovery with a memo', () => {
  it('gives the result of a full merge, after any sequence of changes', () => {
    const share = (sets: readonly DocumentSet[]) => {
      const read = new Map<string, GroupDiscovery>();
      const shared = (group: GroupDiscovery) => {
        const key = JSON.stringify(group);
        const known = read.get(key) ?? group;
        read.set(key, known);
        return known;
      };
      return sets.map((set) => new Map([...readServers(set)].map(([id, groups]) => [id, groups.map(shared)])));
    };
    fc.assert(
      fc.property(
        fc.array(nastyDocumentSets(), { minLength: 2, maxLength: 4 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { maxLength: 12 }),
        (sets, changes) => {
          const documents = share(sets).flatMap((servers) => [...servers.values()]);
          const servers = new Map(share(sets)[0]);
          const memo = createMergeMemo();
          const ids = ['a', 'b', 'c', 'apiserver-9', 'apiserver-10'];
          for (const [who, which, leaves] of changes) {
            const id = ids[who % ids.length] ?? '';
            if (leaves) servers.delete(id);
            else servers.set(id, documents[which % documents.length] ?? []);
            expect(encode(mergeDiscovery('a', servers, memo))).to.equal(encode(mergeDiscovery('a', servers)));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('does no work for unchanged groups, and returns the same list if all are unchanged', () => {
    const [stays, goes] = [buildGroup('stays', buildVersion('v1', 'r')), buildGroup('goes', buildVersion('v1', 'r'))];
    const other = buildGroup('stays', buildVersion('v1', 's'));
    const memo = createMergeMemo();
    const of = (...groups: GroupDiscovery[]) =>
      mergeDiscovery(
        'a',
        new Map([
          ['a', groups],
          ['b', [other]],
        ]),
        memo,
      );
    const before = of(stays, goes);
    expect(of(stays, goes)).to.equal(before);
    const after = of(stays);
    expect(groupNames(after)).to.deep.equal(['stays']);
    expect(after[0]).to.equal(before.find(({ name }) => name === 'stays'));
  });
});
