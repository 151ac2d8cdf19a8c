import { expect } from 'chai';
import fc from 'fast-check';
import { generateGroups, laggingServer, olderRelease, withNewResource } from '../../lab/generated-discovery.ts';
import { seededRandom } from '../../lab/seeded-random.ts';
import type { PeerDocuments } from '../../src/domain/assess-peer.ts';
import type { DefinedResources } from '../../src/domain/custom-resources.ts';
import { createTableMemo, deriveTable } from '../../src/domain/derive-table.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { createDivergenceMemo, findDivergences } from '../../src/domain/find-divergences.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';

const documentOf = (apis: readonly GroupDiscovery[]): PeerDocuments => ({
  form: 'v2',
  api: [],
  apis,
  etags: {},
  hash: '',
});
const defined: DefinedResources = { custom: new Set(), aggregated: new Set(), deletedAt: new Map() };
const derive = (lists: readonly (readonly GroupDiscovery[] | undefined)[], memo = createTableMemo()) =>
  deriveTable(
    lists.map((list) => (list === undefined ? undefined : documentOf(list))),
    defined,
    memo,
  );

/** Computes which peer serves which resource in the slow and obvious way. */
function servedOneByOne(lists: readonly (readonly GroupDiscovery[] | undefined)[]): Record<string, number[]> {
  const served: Record<string, number[]> = {};
  lists.forEach((groups, peer) => {
    const keys = new Set<string>();
    for (const { name, versions } of groups ?? [])
      for (const { version, resources } of versions ?? [])
        for (const { resource, subresources } of resources ?? [])
          for (const sub of ['', ...(subresources ?? []).map(({ subresource }) => `/${subresource}`)])
            keys.add(`${name}/${version}/${resource}${sub}`);
    for (const key of keys) served[key] = [...(served[key] ?? []), peer];
  });
  return served;
}

function flatten(served: ReturnType<typeof derive>): Record<string, readonly number[]> {
  const flat: Record<string, readonly number[]> = {};
  for (const { row } of served)
    for (const { resource, peers, subresources } of row.resources) {
      flat[`${row.group}/${row.version}/${resource}`] = peers;
      for (const [name, set] of Object.entries(subresources))
        flat[`${row.group}/${row.version}/${resource}/${name}`] = set;
    }
  return flat;
}

describe('deriveTable', () => {
  it('lists which peer serves which resource, with and without a memo, after any sequence of changes', () => {
    const random = seededRandom(5);
    const newest = generateGroups(60, random);
    const older = olderRelease(newest, random);
    const documents = [newest, older, laggingServer(newest, random), withNewResource(newest, 'widgets'), [], undefined];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(4), fc.nat(documents.length - 1)), { maxLength: 12 }), (changes) => {
        const lists: (readonly GroupDiscovery[] | undefined)[] = [newest, newest, older, undefined, newest];
        const [table, divergences] = [createTableMemo(), createDivergenceMemo()];
        for (const [peer, which] of changes) {
          lists[peer] = documents[which];
          const served = derive(lists, table);
          expect(flatten(served)).to.deep.equal(servedOneByOne(lists));
          expect(served.map(({ row }) => row)).to.deep.equal(derive(lists).map(({ row }) => row));
          const compared = lists.flatMap((list, index) => (list === undefined ? [] : [index]));
          const ids = ['a', 'b', 'c', 'd', 'e'];
          expect(findDivergences(served, ids, compared, divergences)).to.deep.equal(
            findDivergences(derive(lists), ids, compared, createDivergenceMemo()),
          );
        }
      }),
    );
  });

  it('sorts group-versions, resources and subresources by name, in whatever order servers list them', () => {
    const sub = (...names: string[]) => ({ subresources: names.map((subresource) => ({ subresource, verbs: [] })) });
    const rows = derive([
      [
        buildGroup('z.io', buildVersion('v1', 'b')),
        buildGroup(
          'a.io',
          buildVersion('v2', 'z', buildResource('b', sub('status', 'scale')), 'a'),
          buildVersion('v1'),
        ),
      ],
    ]).map(({ row }) => row);
    expect(rows.map(({ group, version }) => `${group}/${version}`)).to.deep.equal(['a.io/v1', 'a.io/v2', 'z.io/v1']);
    expect(rows[1]?.resources.map(({ resource }) => resource)).to.deep.equal(['a', 'b', 'z']);
    expect(Object.keys(rows[1]?.resources[1]?.subresources ?? {})).to.deep.equal(['scale', 'status']);
  });

  it('says where objects are, unless servers disagree', () => {
    const listOf = (scope: string, ...more: string[]) => [
      buildGroup('g', buildVersion('v1', buildResource('r', { scope }), ...more)),
    ];
    const scopesOf = (...lists: (readonly GroupDiscovery[])[]) =>
      derive(lists).flatMap(({ row }) => row.resources.map(({ resource, scope }) => `${resource} ${scope}`));
    expect(scopesOf(listOf('Cluster'), listOf('Cluster', 's'))).to.deep.equal(['r Cluster', 's Namespaced']);
    expect(scopesOf(listOf('Cluster'), listOf('Namespaced', 's'))).to.deep.equal(['r undefined', 's Namespaced']);
    const [namespaced, cluster] = [listOf('Namespaced'), listOf('Cluster')];
    expect(scopesOf(namespaced, cluster, listOf('Namespaced', 's'))).to.deep.equal(['r undefined', 's Namespaced']);
    expect(scopesOf(listOf(''))).to.deep.equal(['r undefined']);
  });

  it('calls a group-version custom only if one of its own resources is', () => {
    const lists = [
      documentOf([buildGroup('g', buildVersion('v1', 'a', 'r')), buildGroup('h', buildVersion('v1', 's'))]),
    ];
    const originsOf = (custom: readonly string[], aggregated: readonly string[] = []) =>
      deriveTable(
        lists,
        { custom: new Set(custom), aggregated: new Set(aggregated), deletedAt: new Map() },
        createTableMemo(),
      ).map(({ row }) => `${row.group} ${row.origin}`);
    expect(originsOf([])).to.deep.equal(['g BuiltIn', 'h BuiltIn']);
    expect(originsOf(['g/v1/r'])).to.deep.equal(['g CustomResource', 'h BuiltIn']);
    // A definition of another resource in the same group-version says nothing about what the servers list.
    expect(originsOf(['g/v1/other'])).to.deep.equal(['g BuiltIn', 'h BuiltIn']);
    expect(originsOf(['g/v2/r'])).to.deep.equal(['g BuiltIn', 'h BuiltIn']);
    expect(originsOf(['g/v1/r'], ['g/v1'])).to.deep.equal(['g Aggregated', 'h BuiltIn']);
  });

  it('keeps the rows of unchanged group-versions, and one object for each set of peers', () => {
    const random = seededRandom(6);
    const newest = generateGroups(200, random);
    const memo = createTableMemo();
    const before = derive([newest, newest, newest], memo);
    const after = derive([newest, withNewResource(newest, 'widgets'), newest], memo);
    const kept = after.filter(({ row }) => before.some((entry) => entry.row === row));
    expect(kept).to.have.length(before.length - 1);
    const sets = new Set(
      after.flatMap(({ row }) =>
        row.resources.flatMap(({ peers, subresources }) => [peers, ...Object.values(subresources)]),
      ),
    );
    expect(sets.size).to.equal(2);
  });
});

describe('findDivergences', () => {
  const compare = (lists: readonly (readonly GroupDiscovery[])[], compared = lists.map((_, index) => index)) =>
    findDivergences(derive(lists), ['a', 'b', 'c'], compared, createDivergenceMemo());
  const one = (more: Parameters<typeof buildResource>[1]) => [
    buildGroup('g', buildVersion('v1', buildResource('r', more))),
  ];

  it('names the field that differs, and the value of each peer', () => {
    const found = compare([one({}), one({ verbs: ['list', 'get', 'watch'], scope: 'Cluster' }), one({})]);
    expect(found).to.deep.equal([
      {
        group: 'g',
        version: 'v1',
        resource: 'r',
        servedBy: ['a', 'b', 'c'],
        missingFrom: [],
        differences: [
          {
            field: 'scope',
            values: [
              { value: 'Cluster', peers: ['b'] },
              { value: 'Namespaced', peers: ['a', 'c'] },
            ],
          },
          {
            field: 'verbs',
            values: [
              { value: 'get,list', peers: ['a', 'c'] },
              { value: 'get,list,watch', peers: ['b'] },
            ],
          },
        ],
      },
    ]);
  });

  it('notices every field, also of a subresource, but not the order of a list or equal values', () => {
    const kind = { group: 'g', version: 'v1', kind: 'K' };
    const status = { subresource: 'status', responseKind: kind, acceptedTypes: [kind], verbs: ['get'] };
    const base = { responseKind: kind, shortNames: ['s', 't'], categories: ['c'], subresources: [status] };
    const fieldsOf = (other: object) =>
      compare([one(base), one({ ...base, ...other })]).map(({ subresource = '', differences }) => [
        subresource,
        ...differences.map(({ field }) => field),
      ]);
    expect(fieldsOf(structuredClone(base))).to.deep.equal([]);
    expect(fieldsOf({ verbs: ['list', 'get'], shortNames: ['t', 's'] })).to.deep.equal([]);
    expect(fieldsOf({ responseKind: { ...kind, kind: 'L' } })).to.deep.equal([['', 'kind']]);
    expect(fieldsOf({ singularResource: 'x' })).to.deep.equal([['', 'singularName']]);
    expect(fieldsOf({ shortNames: ['s'] })).to.deep.equal([['', 'shortNames']]);
    expect(fieldsOf({ categories: [] })).to.deep.equal([['', 'categories']]);
    expect(fieldsOf({ subresources: [{ ...status, verbs: [] }] })).to.deep.equal([['status', 'verbs']]);
    expect(fieldsOf({ subresources: [{ ...status, acceptedTypes: [] }] })).to.deep.equal([['status', 'acceptedTypes']]);
    expect(fieldsOf({ subresources: [{ ...status, responseKind: undefined }] })).to.deep.equal([['status', 'kind']]);
    expect(fieldsOf({ subresources: [] })).to.deep.equal([['status']]);
  });

  it('lists whole resources before subresources, and compares only the given peers', () => {
    const list = (...names: string[]) => [
      buildGroup(
        'g',
        buildVersion(
          'v1',
          buildResource('a', { subresources: names.map((subresource) => ({ subresource, verbs: [] })) }),
          ...(names.length > 1 ? ['z'] : []),
        ),
      ),
    ];
    const lists = [list('status', 'scale'), list('status')];
    expect(compare(lists).map(({ resource, subresource }) => [resource, subresource])).to.deep.equal([
      ['z', undefined],
      ['a', 'scale'],
    ]);
    expect(compare(lists, [0])).to.deep.equal([]);
  });

  it('ignores how a server that is not compared describes a resource', () => {
    expect(compare([one({}), one({ scope: 'Cluster' })], [0])).to.deep.equal([]);
    expect(compare([one({}), one({ scope: 'Cluster' }), one({})], [0, 2])).to.deep.equal([]);
  });

  it('names every peer of a value once, sorted, even if peers share the description in different lists', () => {
    const shared = buildResource('r', {});
    const lists = [
      [buildGroup('g', buildVersion('v1', buildResource('r', { scope: 'Cluster' }), 'x'))],
      [buildGroup('g', buildVersion('v1', shared, 'x', 'y'))],
      [buildGroup('g', buildVersion('v1', shared, 'x'))],
    ];
    const found = compare(lists).find(({ resource }) => resource === 'r');
    expect(found?.differences.map(({ values }) => values)).to.deep.equal([
      [
        { value: 'Cluster', peers: ['a'] },
        { value: 'Namespaced', peers: ['b', 'c'] },
      ],
    ]);
  });

  it('shows kinds with their group and version where they have them, and lists without regard to order', () => {
    const kind = (group: string, version: string) => ({ responseKind: { group, version, kind: 'K' } });
    const valuesIn = (left: object, right: object) =>
      compare([one(left), one(right)]).flatMap(({ differences }) =>
        differences.flatMap(({ field, values }) => values.map(({ value }) => `${field}=${value}`)),
      );
    expect(valuesIn(kind('g', 'v1'), kind('', ''))).to.deep.equal(['kind=K', 'kind=g/v1/K']);
    expect(valuesIn(kind('', 'v1'), {})).to.deep.equal(['kind=', 'kind=v1/K']);
    expect(valuesIn({ verbs: null }, { verbs: ['b', 'a', 'b'] })).to.deep.equal(['verbs=', 'verbs=a,b']);
    expect(valuesIn({ verbs: null }, { verbs: [] })).to.deep.equal([]);
  });

  it('tells the subresources of a resource apart', () => {
    const status = { subresource: 'status', verbs: ['get'] };
    const scaleWith = (...verbs: string[]) => ({ subresources: [status, { subresource: 'scale', verbs }] });
    const found = compare([one(scaleWith('get')), one(scaleWith('get', 'update'))]);
    expect(found.map(({ subresource, differences }) => [subresource, differences.length])).to.deep.equal([
      ['scale', 1],
    ]);
    expect(found[0]?.differences[0]?.values.map(({ value }) => value)).to.deep.equal(['get', 'get,update']);
  });
});
