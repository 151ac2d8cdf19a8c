import { expect } from 'chai';
import fc from 'fast-check';
import { routingTable } from '../../lab/routing-table.ts';
import type { PeerDocuments } from '../../src/domain/assess-peer.ts';
import { compareFields } from '../../src/domain/compare-fields.ts';
import { createTableMemo, deriveTable } from '../../src/domain/derive-table.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { type ComparedPeer, judgeFields, type RememberedVerdicts } from '../../src/domain/judge-fields.ts';
import { rememberVerdicts } from '../../src/domain/remember-verdicts.ts';
import { withWriters } from '../../src/domain/with-writers.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';
import { buildOpenApi, type Definitions, knowledgeOf } from '../support/openapi-builders.ts';

const things = (kind: string, verbs = ['get', 'list', 'create']) =>
  buildResource('things', { verbs, responseKind: { group: 'a', version: 'v1', kind } });
const groupA = (...versions: string[]) => [
  buildGroup('a', ...versions.map((version) => buildVersion(version, things('Thing')))),
];
const documentOf = (apis: readonly GroupDiscovery[]): PeerDocuments => ({
  form: 'v2',
  api: [],
  apis,
  etags: {},
  hash: '',
});
const serve = (lists: readonly (readonly GroupDiscovery[])[]) =>
  deriveTable(
    lists.map(documentOf),
    { custom: new Set(), aggregated: new Set(), deletedAt: new Map() },
    createTableMemo(),
  );
const peer = (id: string, version: string, hash?: string, emulatedVersion?: string): ComparedPeer => ({
  id,
  version,
  emulatedVersion,
  hashes: hash === undefined ? undefined : new Map([['a/v1', hash]]),
  hashesDigest: hash,
});
const thing = (fields: Record<string, string>): object => buildOpenApi('a/v1', ['Thing'], { Thing: fields });
const old = thing({ name: 'a name' });
const young = thing({ name: 'a name', colour: 'a colour' });
const known = knowledgeOf({
  'a/v1': {
    old,
    young,
    graduated: thing({ name: 'a name, and beta' }),
    replaced: thing({ colour: 'a colour' }),
    reworded: thing({ name: 'an odd name', colour: 'a colour' }),
  },
});

function judge(peers: readonly ComparedPeer[], remembered?: RememberedVerdicts, knowledge = known) {
  return judgeFields(serve(peers.map(() => groupA('v1'))), peers, knowledge, remembered)[0];
}

describe('judgeFields', () => {
  it('finds nothing if all servers have one version and schema', () => {
    expect(judge([peer('a', 'v1.36.3', 'old'), peer('b', 'v1.36.3', 'old')])).to.equal(undefined);
  });

  it('compares servers of one version whose schemas differ', () => {
    expect(judge([peer('a', 'v1.36.3', 'old'), peer('b', 'v1.36.3', 'young')])).to.deep.include({ writers: [1] });
    expect(judge([peer('a', 'v1.36.3', 'young'), peer('b', 'v1.36.3', 'old')])).to.deep.include({ writers: [0] });
  });

  it('keeps a kind at home if its text is the same in both versions', () => {
    const same = knowledgeOf({ 'a/v1': { one: old, two: old } });
    expect(judge([peer('a', 'v1.35.4', 'one'), peer('b', 'v1.36.3', 'two')], undefined, same)).to.equal(undefined);
  });

  it('does not keep a kind at home if its equal text names a feature gate, and permits any stand-in', () => {
    const gated = thing({ name: 'a name. Requires the Naming feature gate to be enabled.' });
    const same = knowledgeOf({ 'a/v1': { one: gated, two: gated } });
    const verdict = judge([peer('a', 'v1.35.4', 'one'), peer('b', 'v1.36.3', 'two')], undefined, same);
    expect(verdict).to.deep.include({ writers: [1], standIns: [0] });
    expect(judge([peer('a', 'v1.36.1', 'one'), peer('b', 'v1.36.3', 'two')], undefined, same)).to.equal(undefined);
  });

  it('chooses the servers that know all fields, and permits no stand-in that lacks one', () => {
    expect(
      judge([peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young'), peer('c', 'v1.36.3', 'young')]),
    ).to.deep.include({
      basis: 'Schemas',
      writers: [1, 2],
      standIns: [],
      appearing: { paths: ['colour'], count: 1 },
      disappearing: { paths: [], count: 0 },
    });
  });

  it('chooses the newest if a field only graduates, and permits the others as stand-ins', () => {
    expect(judge([peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'graduated')])).to.deep.include({
      writers: [1],
      standIns: [0],
      described: { paths: ['name'], count: 1 },
    });
  });

  it('chooses the newest if no version knows all fields, and names the missing ones', () => {
    expect(judge([peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'replaced')])).to.deep.include({
      writers: [1],
      standIns: [],
      appearing: { paths: ['colour'], count: 1 },
      disappearing: { paths: ['name'], count: 1 },
    });
  });

  it('chooses an older version only if it is proved to know more and to contradict nothing', () => {
    expect(judge([peer('a', 'v1.35.4', 'young'), peer('b', 'v1.36.3', 'old')])).to.deep.include({ writers: [0] });
    expect(judge([peer('a', 'v1.35.4', 'reworded'), peer('b', 'v1.36.3', 'old')])).to.deep.include({ writers: [1] });
  });

  it('ignores the schema of a server that emulates an older version', () => {
    expect(judge([peer('a', 'v1.36.3', 'young', '1.33'), peer('b', 'v1.36.3', 'young')])).to.deep.include({
      writers: [1],
      standIns: [0],
    });
    // If two programs serve the same version, the newer program knows more types.
    expect(judge([peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young', '1.35')])).to.deep.include({
      writers: [1],
    });
  });

  it('uses the version while a schema is unknown', () => {
    expect(judge([peer('a', 'v1.35.4'), peer('b', 'v1.36.3', 'young'), peer('c', 'v1.36.3')])).to.deep.include({
      basis: 'Versions',
      writers: [1, 2],
      standIns: [],
    });
    expect(judge([peer('a', 'v1.36.3'), peer('b', 'v1.36.3')])).to.equal(undefined);
  });

  it('permits any stand-in for a kind that is never stored', () => {
    const lists = [buildGroup('a', buildVersion('v1', things('Thing', ['create'])))];
    const peers = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young')];
    const [verdict] = judgeFields(serve([lists, lists]), peers, known, undefined);
    expect(verdict).to.deep.include({ writers: [1], standIns: [0] });
  });

  it('permits any stand-in for a Lease, even before its schema has been read', () => {
    const lists = [buildGroup('coordination.k8s.io', buildVersion('v1', 'leases', 'others'))];
    const peers = [peer('a', 'v1.35.4'), peer('b', 'v1.36.3')];
    const [leases, others] = judgeFields(serve([lists, lists]), peers, known, undefined);
    expect(leases).to.deep.include({ resource: 'leases', writers: [1], standIns: [0] });
    expect(others).to.deep.include({ resource: 'others', writers: [1], standIns: [] });
  });

  it('judges all versions of a group together, because they are one object', () => {
    const both = knowledgeOf({
      'a/v1': { x: buildOpenApi('a/v1', ['Thing'], { Thing: { name: 'n', colour: 'c' } }) },
      'a/v1beta1': {
        x: buildOpenApi('a/v1beta1', ['Thing'], { Thing: { name: 'n' } }),
        y: buildOpenApi('a/v1beta1', ['Thing'], { Thing: { name: 'n' } }),
      },
    });
    const peers = [
      { id: 'a', version: 'v1.35.4', hashes: new Map([['a/v1beta1', 'y']]), hashesDigest: 'y' },
      {
        id: 'b',
        version: 'v1.36.3',
        hashes: new Map([
          ['a/v1', 'x'],
          ['a/v1beta1', 'x'],
        ]),
        hashesDigest: 'x',
      },
    ];
    const [verdict] = judgeFields(serve([groupA('v1beta1'), groupA('v1', 'v1beta1')]), peers, both, undefined);
    expect(verdict).to.deep.include({ writers: [1], standIns: [], appearing: { paths: ['colour'], count: 1 } });
  });

  describe('with several versions of a group', () => {
    const definedAs = (version: string, fields: Record<string, string>) =>
      buildOpenApi(`a/${version}`, ['Thing'], { Thing: fields });
    const server = (id: string, version: string, hashes: Readonly<Record<string, string>>): ComparedPeer => ({
      ...{ id, version, emulatedVersion: undefined },
      hashes: new Map(Object.entries(hashes)),
      hashesDigest: JSON.stringify(hashes),
    });
    const judgeLists = (
      lists: readonly (readonly GroupDiscovery[])[],
      peers: readonly ComparedPeer[],
      documents: Parameters<typeof knowledgeOf>[0],
    ) => judgeFields(serve(lists), peers, knowledgeOf(documents), undefined)[0];

    it('takes no servers for alike of which only one version is the same', () => {
      const both = groupA('v1', 'v1beta1');
      const peers = [
        server('a', 'v1.35.4', { 'a/v1': 'x', 'a/v1beta1': 'x' }),
        server('b', 'v1.36.3', { 'a/v1': 'x', 'a/v1beta1': 'y' }),
      ];
      const verdict = judgeLists([both, both], peers, {
        'a/v1': { x: definedAs('v1', { name: 'n' }) },
        'a/v1beta1': { x: definedAs('v1beta1', { name: 'n' }), y: definedAs('v1beta1', { name: 'n', colour: 'c' }) },
      });
      expect(verdict).to.deep.include({ writers: [1], standIns: [], appearing: { paths: ['colour'], count: 1 } });
    });

    it('counts the fields of a version that only the other server has', () => {
      const peers = [server('a', 'v1.35.4', { 'a/v1beta1': 'x' }), server('b', 'v1.36.3', { 'a/v1': 'x' })];
      const lists = [groupA('v1beta1'), groupA('v1')];
      const v1 = { x: definedAs('v1', { name: 'n' }) };
      const more = { x: definedAs('v1beta1', { name: 'n', colour: 'c' }) };
      expect(judgeLists(lists, peers, { 'a/v1': v1, 'a/v1beta1': more })).to.deep.include({
        ...{ writers: [0], standIns: [] },
        appearing: { paths: ['colour'], count: 1 },
      });
      const odd = { x: definedAs('v1', { name: 'n', size: 's' }) };
      expect(judgeLists(lists, peers, { 'a/v1': odd, 'a/v1beta1': more })).to.deep.include({
        ...{ writers: [1], standIns: [] },
        appearing: { paths: ['size'], count: 1 },
        disappearing: { paths: ['colour'], count: 1 },
      });
    });

    it('does not compare the descriptions of two different versions', () => {
      const peers = [
        server('a', 'v1.35.4', { 'a/v1beta1': 'x' }),
        server('b', 'v1.36.3', { 'a/v1': 'x', 'a/v1beta1': 'x' }),
      ];
      const verdict = judgeLists([groupA('v1beta1'), groupA('v1', 'v1beta1')], peers, {
        'a/v1': { x: definedAs('v1', { name: 'a stable name', colour: 'c' }) },
        'a/v1beta1': { x: definedAs('v1beta1', { name: 'n', old: 'o' }) },
      });
      expect(verdict).to.deep.include({
        ...{ writers: [1], standIns: [] },
        appearing: { paths: ['colour'], count: 1 },
        disappearing: { paths: [], count: 0 },
        described: { paths: [], count: 0 },
      });
    });
  });

  it('judges a subresource with a body of its own that can be written, and no other', () => {
    const kindOf = (kind: string) => ({ group: '', version: '', kind });
    const subresource = (name: string, kind: string, ...verbs: string[]) => ({
      ...{ subresource: name, responseKind: kindOf(kind), verbs },
    });
    const withSubresources = buildResource('things', {
      ...{ verbs: ['get', 'create'], responseKind: { group: 'a', version: 'v1', kind: 'Thing' } },
      subresources: [
        subresource('scale', 'Scale', 'get', 'update'),
        subresource('view', 'Scale', 'get'),
        subresource('exec', 'Scale', 'get', 'create'),
        {
          ...subresource('status', 'Thing', 'get', 'update'),
          responseKind: { group: 'a', version: 'v1', kind: 'Thing' },
        },
      ],
    });
    const lists = [buildGroup('a', buildVersion('v1', withSubresources))];
    const documentWith = (fields: Record<string, string>) =>
      buildOpenApi('a/v1', ['Thing', 'Scale'], { Thing: { name: 'n' }, Scale: fields });
    const knowledge = knowledgeOf({
      'a/v1': { old: documentWith({ x: 'x' }), young: documentWith({ x: 'x', y: 'y' }) },
    });
    const verdicts = judgeFields(
      serve([lists, lists]),
      [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young')],
      knowledge,
      undefined,
    );
    expect(
      verdicts.map(({ resource, basis, writers, standIns }) => [resource, basis, writers, standIns]),
    ).to.deep.equal([['things/scale', 'Schemas', [1], [0]]]);
  });

  it('lists servers in the order of the table, whatever their versions', () => {
    const peers = [
      peer('a', 'v1.36.1', 'graduated'),
      peer('b', 'v1.35.4', 'old'),
      peer('c', 'v1.36.3', 'graduated'),
      peer('d', 'v1.35.5', 'old'),
    ];
    expect(judge(peers)).to.deep.include({ writers: [0, 2], standIns: [1, 3] });
  });

  it('counts all missing fields, also those that it does not list', () => {
    const names = Array.from({ length: 80 }, (_, at) => `f${at}`);
    const fieldsOf = (count: number) => Object.fromEntries(names.slice(0, count).map((name) => [name, 'x']));
    const knowledge = knowledgeOf({
      'a/v1': { none: thing(fieldsOf(0)), most: thing(fieldsOf(77)), all: thing(fieldsOf(80)) },
    });
    const peers = [peer('a', 'v1.34.1', 'none'), peer('b', 'v1.35.4', 'most'), peer('c', 'v1.36.3', 'all')];
    const verdict = judge(peers, undefined, knowledge);
    expect(verdict?.writers).to.deep.equal([2]);
    expect(verdict?.appearing.count).to.equal(new Set([...names.slice(0, 50), ...names.slice(77)]).size + 30);
  });

  it('ignores custom and aggregated resources', () => {
    const peers = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young')];
    const documents = peers.map(() => documentOf(groupA('v1')));
    for (const defined of [
      { custom: new Set(['a/v1/things']), aggregated: new Set<string>() },
      { custom: new Set<string>(), aggregated: new Set(['a/v1']) },
    ]) {
      const served = deriveTable(documents, { ...defined, deletedAt: new Map() }, createTableMemo());
      expect(judgeFields(served, peers, known, undefined)).to.deep.equal([]);
    }
  });

  it('keeps the verdict of an earlier leader while the servers have the same versions', () => {
    const before = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young')];
    const served = serve(before.map(() => groupA('v1')));
    const table = (peers: readonly ComparedPeer[], knowledge = known) =>
      routingTable({
        peers: peers.map(({ id, version = '' }) => ({ id, version, state: 'Ready' as const })),
        fieldSkew: 'Preserve',
        groupVersions: withWriters(
          served.map(({ row }) => row),
          judgeFields(served, peers, knowledge, undefined),
        ),
      });
    const unread = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3')];
    expect(judge(unread, rememberVerdicts(table(before)))).to.deep.include({
      basis: 'Remembered',
      writers: [1],
      standIns: [],
    });
    const graduated = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'graduated')];
    expect(judge(unread, rememberVerdicts(table(graduated)))).to.deep.include({
      basis: 'Remembered',
      writers: [1],
      standIns: [0],
    });
    const same = knowledgeOf({ 'a/v1': { old, young: old } });
    expect(judge(unread, rememberVerdicts(table(before, same)))).to.equal(undefined);
    const upgraded = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.37.0')];
    expect(judge(upgraded, rememberVerdicts(table(before)))).to.deep.include({ basis: 'Versions', writers: [1] });
    expect(rememberVerdicts(routingTable({}))).to.equal(undefined);
  });

  it('never permits a write at a server that lacks a field of the writers, for any schemas and versions', () => {
    const field = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const said = fc.oneof(
      fc.constantFrom('alpha', 'beta'),
      fc.constantFrom('X', 'Y').map((ref) => ({ ref })),
    );
    const definition = fc.dictionary(field, said, { maxKeys: 5 });
    const schema: fc.Arbitrary<Definitions> = fc.record({ Thing: definition, X: definition, Y: definition });
    const server = fc.record({
      minor: fc.integer({ min: 33, max: 36 }),
      schema: fc.nat({ max: 3 }),
      emulates: fc.option(fc.integer({ min: 31, max: 35 }), { nil: undefined, freq: 4 }),
    });
    fc.assert(
      fc.property(
        fc.array(schema, { minLength: 4, maxLength: 4 }),
        fc.array(server, { minLength: 2, maxLength: 6 }),
        (schemas, servers) => {
          const documents = schemas.map((definitions) => buildOpenApi('a/v1', ['Thing'], definitions));
          const knowledge = knowledgeOf({
            'a/v1': Object.fromEntries(documents.map((document, at) => [String(at), document])),
          });
          const peers = servers.map(({ minor, schema, emulates }, at) =>
            peer(`p${at}`, `v1.${minor}.0`, String(schema), emulates === undefined ? undefined : `1.${emulates}`),
          );
          const verdict = judge(peers, undefined, knowledge);
          const kindOf = (at: number) => {
            const found = knowledge.find('a/v1', peers[at]?.hashes?.get('a/v1') ?? '');
            if (found === undefined) throw new Error('every schema is known');
            return { outline: found.outline, definition: 'Thing' };
          };
          const all = peers.map((_, at) => at);
          if (verdict === undefined) {
            for (const at of all) expect(compareFields(kindOf(0), kindOf(at)).onlyRight.count).to.equal(0);
            return;
          }
          const { writers, standIns, disappearing } = verdict;
          expect(writers).not.to.have.length(0);
          expect(standIns.filter((at) => writers.includes(at))).to.deep.equal([]);
          for (const writer of writers) {
            for (const at of [...writers, ...standIns])
              expect(compareFields(kindOf(writer), kindOf(at)).onlyLeft.count).to.equal(0);
            if (disappearing.count > 0) continue;
            for (const at of all) expect(compareFields(kindOf(writer), kindOf(at)).onlyRight.count).to.equal(0);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
