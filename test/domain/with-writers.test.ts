import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import { createTableMemo, deriveTable } from '../../src/domain/derive-table.ts';
import type { GroupDiscovery, ResourceDiscovery } from '../../src/domain/discovery-document.ts';
import { type ComparedPeer, type FieldVerdict, judgeFields } from '../../src/domain/judge-fields.ts';
import { rememberVerdicts } from '../../src/domain/remember-verdicts.ts';
import type { PeerSet, TableResource } from '../../src/domain/routing-table.ts';
import { withWriters } from '../../src/domain/with-writers.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';
import { buildOpenApi, knowledgeOf } from '../support/openapi-builders.ts';

const none = { paths: [], count: 0 };
const verdict = (resource: string, writers: PeerSet, standIns: PeerSet = [], group = ''): FieldVerdict => ({
  ...{ group, resource, basis: 'Schemas', writers, standIns },
  ...{ appearing: none, disappearing: none, described: none },
});
const subresources = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, [0, 1]]));
const rowOf = (resource: TableResource, ...verdicts: FieldVerdict[]): TableResource | undefined =>
  withWriters([{ group: '', version: 'v1', origin: 'BuiltIn', resources: [resource] }], verdicts)[0]?.resources[0];

describe('withWriters', () => {
  const pods: TableResource = {
    ...{ resource: 'pods', peers: [0, 1] },
    subresources: subresources('binding', 'eviction', 'exec', 'status'),
  };

  it('judges a subresource as its resource if its body makes no difference', () => {
    expect(rowOf(pods, verdict('pods', [1]))).to.deep.equal({ ...pods, writers: [1], standIns: [] });
  });

  it('ignores rows that servers do not define', () => {
    const rows = [{ group: '', version: 'v1', origin: 'CustomResource' as const, resources: [pods] }];
    expect(withWriters(rows, [verdict('pods', [1])])).to.deep.equal(rows);
    expect(withWriters(rows, [verdict('pods', [1])])[0]).to.equal(rows[0]);
  });

  it('keeps a row as the same object if none of its resources changes, next to a changed one', () => {
    const services: TableResource = { resource: 'services', peers: [0, 1], subresources: {} };
    const rows = [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources: [pods, services] }];
    expect(withWriters(rows, [verdict('nodes', [1])])[0]).to.equal(rows[0]);
    expect(withWriters(rows, [verdict('pods', [1])])[0]?.resources).to.deep.equal([
      { ...pods, writers: [1], standIns: [] },
      services,
    ]);
  });

  it('adds nothing to a resource that every server of it may write', () => {
    expect(rowOf(pods, verdict('pods', [0, 1]))).to.equal(pods);
    const eviction = [verdict('pods', [0, 1]), verdict('poddisruptionbudgets', [1], [0], 'policy')];
    expect(rowOf(pods, ...eviction)?.subresourceWriters).to.deep.equal({ eviction: { writers: [1], standIns: [0] } });
  });

  it('adds nothing to a subresource that streams, whatever its body', () => {
    expect(rowOf(pods, verdict('pods/exec', [1]))).to.equal(pods);
  });

  it('sends a body of another kind to a server that knows both kinds, and lists writers only if that matters', () => {
    const found = rowOf(pods, verdict('pods', [1], [0]), verdict('pods/binding', [1]));
    expect(found?.subresourceWriters).to.deep.equal({ binding: { writers: [1], standIns: [] } });
    const three = { ...pods, peers: [0, 1, 2], subresources: { binding: [0, 1, 2] } };
    const both = rowOf(three, verdict('pods', [1, 2]), verdict('pods/binding', [0, 1], [2]));
    expect(both?.subresourceWriters).to.deep.equal({ binding: { writers: [1], standIns: [2] } });
  });

  it('permits a stand-in that keeps stored fields if no server knows body and object', () => {
    const found = rowOf(pods, verdict('pods', [1]), verdict('pods/binding', [0], [1]));
    expect(found?.subresourceWriters).to.deep.equal({ binding: { writers: [], standIns: [1] } });
  });

  it('keeps all fields of the Pod that a Binding names, in either form of the request', () => {
    const bindings: TableResource = { resource: 'bindings', peers: [0, 1], subresources: {} };
    expect(rowOf(bindings, verdict('pods', [1]))).to.deep.equal({ ...bindings, writers: [1], standIns: [] });
    expect(rowOf(bindings, verdict('bindings', [1], [0]), verdict('pods', [1]))).to.deep.include({ standIns: [] });
  });

  it('keeps all fields of the PodDisruptionBudget that counts an eviction', () => {
    const found = rowOf(pods, verdict('poddisruptionbudgets', [1], [], 'policy'));
    expect(found).to.deep.equal({ ...pods, subresourceWriters: { eviction: { writers: [1], standIns: [] } } });
  });

  it('treats Events as one object in both of their groups', () => {
    const events: TableResource = { resource: 'events', peers: [0, 1], subresources: {} };
    const rows = ['', 'events.k8s.io'].map((group) => ({
      ...{ group, version: 'v1', origin: 'BuiltIn' as const, resources: [events] },
    }));
    for (const group of ['', 'events.k8s.io'])
      for (const row of withWriters(rows, [verdict('events', [1], [], group)]))
        expect(row.resources, `${group} ${row.group}`).to.deep.equal([{ ...events, writers: [1], standIns: [] }]);
  });

  it('asks any server that knows TokenRequest for a token, because the ServiceAccount is not written', () => {
    const accounts: TableResource = { resource: 'serviceaccounts', peers: [0, 1], subresources: subresources('token') };
    expect(rowOf(accounts, verdict('serviceaccounts', [1]))?.subresourceWriters).to.deep.equal({
      token: { writers: [0, 1], standIns: [] },
    });
    expect(rowOf(accounts, verdict('serviceaccounts/token', [1], [0]))).to.deep.equal({
      ...accounts,
      subresourceWriters: { token: { writers: [1], standIns: [0] } },
    });
  });

  it('has no writers for a version that none of them serves, and permits the servers of the version as stand-ins', () => {
    const old: TableResource = { resource: 'pods', peers: [0], subresources: { status: [0] } };
    expect(rowOf(old, verdict('pods', [1]))).to.deep.equal({ ...old, writers: [], standIns: [0] });
  });

  it('keeps rows without an addition as the same objects', () => {
    const rows = [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources: [pods] }];
    expect(withWriters(rows, [verdict('others', [1])])[0]).to.equal(rows[0]);
  });
});

describe('judgeFields, for subresources whose body has another kind', () => {
  const token = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };
  const account = { group: '', version: 'v1', kind: 'ServiceAccount' };
  const sub = (subresource: string, verbs: readonly string[], responseKind = token) => ({
    ...{ subresource, verbs, responseKind },
  });
  const accounts = (...subs: NonNullable<ResourceDiscovery['subresources']>): readonly GroupDiscovery[] => [
    buildGroup('', buildVersion('v1', buildResource('serviceaccounts', { responseKind: account, subresources: subs }))),
  ];
  const document = (fields: Record<string, string>): object => {
    const parts = buildOpenApi('/v1', ['ServiceAccount'], { ServiceAccount: { name: 'n' }, TokenRequest: fields });
    const { components } = parts as { components: { schemas: Record<string, object> } };
    Object.assign(components.schemas.TokenRequest ?? {}, { 'x-kubernetes-group-version-kind': [token] });
    return parts;
  };
  const known = knowledgeOf({
    '/v1': { old: document({ audience: 'a' }), young: document({ audience: 'a', bound: 'b' }) },
  });
  const peer = (id: string, version: string, hash?: string): ComparedPeer => ({
    ...{ id, version, emulatedVersion: undefined, hashesDigest: hash },
    hashes: hash === undefined ? undefined : new Map([['/v1', hash]]),
  });
  const peers = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3', 'young')];
  const serve = (lists: readonly GroupDiscovery[]) =>
    deriveTable(
      peers.map(() => ({ form: 'v2' as const, api: lists, apis: [], etags: {}, hash: '' })),
      { custom: new Set(), aggregated: new Set(), deletedAt: new Map() },
      createTableMemo(),
    );

  it('compares that kind, and names its fields', () => {
    const served = serve(accounts(sub('token', ['create'])));
    const verdicts = judgeFields(served, peers, known, undefined);
    expect(verdicts.map(({ resource }) => resource)).to.deep.equal(['serviceaccounts/token']);
    expect(verdicts[0]).to.deep.include({ writers: [1], standIns: [0], appearing: { paths: ['bound'], count: 1 } });
    expect(withWriters([...served.map(({ row }) => row)], verdicts)[0]?.resources[0]).to.deep.include({
      resource: 'serviceaccounts',
      subresourceWriters: { token: { writers: [1], standIns: [0] } },
    });
  });

  it("skips subresources without a body, streams, and bodies of the resource's own kind", () => {
    const served = serve(
      accounts(sub('seen', ['get']), sub('exec', ['create', 'get']), sub('status', ['update'], account)),
    );
    expect(judgeFields(served, peers, known, undefined)).to.deep.equal([]);
  });

  it('keeps the verdict of an earlier leader', () => {
    const served = serve(accounts(sub('token', ['create'])));
    const rows = served.map(({ row }) => row);
    const table = routingTable({
      peers: peers.map(({ id, version = '' }) => ({ id, version, state: 'Ready' as const })),
      fieldSkew: 'Preserve',
      groupVersions: withWriters(rows, judgeFields(served, peers, known, undefined)),
    });
    const unread = [peer('a', 'v1.35.4', 'old'), peer('b', 'v1.36.3')];
    const [account, found] = judgeFields(served, unread, known, rememberVerdicts(table));
    expect(account).to.deep.include({ resource: 'serviceaccounts/token', basis: 'Remembered', writers: [1] });
    expect(found).to.equal(undefined);
  });
});
