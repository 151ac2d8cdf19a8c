import { expect } from 'chai';
import type { PeerAssessment, PeerObservation } from '../../src/domain/assess-peer.ts';
import type { DefinedResources } from '../../src/domain/custom-resources.ts';
import { createDeriveMemo, deriveUnifiedView, type PeerView } from '../../src/domain/derive-bundle.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';
import { buildOpenApi, knowledgeOf } from '../support/openapi-builders.ts';

const now = 1_000_000;
const nothingDefined: DefinedResources = { custom: new Set(), aggregated: new Set(), deletedAt: new Map() };
const settings = { mode: 'Route', fieldSkew: 'Ignore', serverName: 'kubernetes.default.svc' } as const;
const ready = { state: 'Ready', reason: 'Ready', message: 'ready', live: true, fresh: true, retained: true } as const;
const core = [buildGroup('', buildVersion('v1', 'pods'))];

/** A server with these groups, and what is known about it. */
function view(
  id: string,
  apis: readonly GroupDiscovery[] | undefined,
  { seen = {}, ...assessment }: Partial<PeerAssessment> & { readonly seen?: Partial<PeerObservation> } = {},
): PeerView {
  const documents =
    apis === undefined ? {} : { documents: { form: 'v2' as const, api: core, apis, etags: {}, hash: '' } };
  return {
    seen: { peer: { id, source: 'Static' }, documentsAt: now, ...documents, ...seen },
    assessment: { ...ready, ...assessment },
  };
}

const derive = (views: readonly PeerView[], defined: Partial<DefinedResources> = {}, memo = createDeriveMemo()) =>
  deriveUnifiedView(views, { ...nothingDefined, ...defined }, settings, memo);
const resourcesOf = (groups: readonly GroupDiscovery[]) =>
  groups.flatMap(({ name, versions = [] }) =>
    versions.flatMap(({ version, resources = [] }) =>
      resources.map(({ resource }) => `${name}/${version}/${resource}`),
    ),
  );
const doubtsOf = ({ doubts }: ReturnType<typeof derive>) => doubts.map(({ peer, reason }) => `${peer} ${reason}`);

describe('deriveUnifiedView', () => {
  const apps = buildGroup('apps', buildVersion('v1', 'deployments'));
  const batch = buildGroup('batch', buildVersion('v1', 'jobs'));

  it('lists the servers by id, with what is known about each, and without those that are gone', () => {
    const known = { id: 'b', source: 'Static', hostname: 'host-b', address: '10.0.0.2:6443' } as const;
    const { peers } = derive([
      view('c', [apps], { state: 'Gone', live: false }),
      view('b', [apps], { seen: { peer: known, version: 'v1.36.3', emulatedVersion: 'v1.35.0' } }),
      view('a', undefined, { state: 'Unresolved', fresh: false }),
    ]);
    expect(peers).to.deep.equal([
      { id: 'a', state: 'Unresolved' },
      {
        id: 'b',
        hostname: 'host-b',
        address: '10.0.0.2:6443',
        version: 'v1.36.3',
        emulatedVersion: 'v1.35.0',
        state: 'Ready',
      },
    ]);
  });

  it('says which server may have come back as another version', () => {
    const inDoubt = (apis: readonly GroupDiscovery[] | undefined, seen: Partial<PeerObservation>) =>
      derive([view('a', apis, { seen })]).peers[0]?.inDoubt;
    expect(inDoubt([apps], {})).to.equal(undefined);
    expect(inDoubt([apps], { unreachableSince: now })).to.equal(true);
    expect(inDoubt([apps], { documentsAt: undefined } as never)).to.equal(true);
    expect(inDoubt(undefined, { unreachableSince: now })).to.equal(undefined);
  });

  it('merges the documents of all servers that still count, and counts groups and resources', () => {
    const unified = derive([view('b', [batch]), view('a', [apps])]);
    expect(resourcesOf(unified.apis)).to.have.members(['apps/v1/deployments', 'batch/v1/jobs']);
    expect(resourcesOf(unified.api)).to.deep.equal(['/v1/pods']);
    expect([unified.groups, unified.resources]).to.deep.equal([3, 3]);
    expect(unified).to.include(settings);
    expect([...unified.documentsOf.keys()]).to.deep.equal(['a', 'b']);
    const rows = unified.groupVersions.map(({ group, resources }) => [group, resources[0]?.peers]);
    expect(rows).to.deep.equal([
      ['', [0, 1]],
      ['apps', [0]],
      ['batch', [1]],
    ]);
    expect(doubtsOf(unified)).to.deep.equal([]);
    expect(unified.divergent.map(({ resource, servedBy }) => `${resource} ${servedBy}`)).to.deep.equal([
      'deployments a',
      'jobs b',
    ]);
  });

  it('ignores the documents of a server that no longer counts, and is empty without any', () => {
    const unified = derive([view('a', [apps], { retained: false }), view('b', [batch])]);
    expect(resourcesOf(unified.apis)).to.deep.equal(['batch/v1/jobs']);
    const none = derive([view('a', undefined, { fresh: false, reason: 'NoDocuments' })]);
    expect([none.apis, none.api, none.groups]).to.deep.equal([[], [], 0]);
  });

  it('keeps the documents of a server that is away, but compares only live ones', () => {
    const away = { live: false, fresh: false, state: 'Unreachable' } as Partial<PeerAssessment>;
    const unified = derive([view('a', [apps], away), view('b', [batch])]);
    expect(resourcesOf(unified.apis)).to.have.members(['apps/v1/deployments', 'batch/v1/jobs']);
    expect(unified.divergent).to.deep.equal([]);
    expect(resourcesOf(derive([view('a', [apps], away)]).apis)).to.deep.equal(['apps/v1/deployments']);
  });

  it('takes the freshness of a group-version from live servers', () => {
    const stale = buildGroup('apps', { version: 'v1', freshness: 'Stale' });
    const freshnessOf = (...views: PeerView[]) => derive(views).apis[0]?.versions?.[0]?.freshness;
    expect(freshnessOf(view('a', [stale]), view('b', [apps]))).to.equal('Current');
    expect(freshnessOf(view('a', [stale], { live: false }), view('b', [apps]))).to.equal('Current');
    expect(freshnessOf(view('a', [apps], { live: false }), view('b', [stale]))).to.equal('Stale');
  });

  it('compares the schemas of live servers only', () => {
    const schemas = (hash: string) => ({ hashes: new Map([['apps/v1', hash]]), digest: hash });
    const found = (live: boolean) =>
      derive([
        view('a', [apps], { seen: { schemas: schemas('1') } }),
        view('b', [apps], { live, seen: { schemas: schemas('2') } }),
      ]).schemaDifferences;
    expect(found(false)).to.deep.equal([]);
    expect(found(true).map(({ group, schemas: all }) => [group, all.map(({ peers }) => peers)])).to.deep.equal([
      ['apps', [['a'], ['b']]],
    ]);
  });

  it('returns the same objects for what did not change', () => {
    const memo = createDeriveMemo();
    const views = [view('a', [apps]), view('b', [batch])];
    const [first, second] = [derive(views, {}, memo), derive(views, {}, memo)];
    expect(second.api).to.equal(first.api);
    expect(second.apis).to.equal(first.apis);
    expect(second.groupVersions[0]).to.equal(first.groupVersions[0]);
  });

  describe('is in doubt', () => {
    it('without any server', () => {
      expect(derive([]).doubts).to.deep.equal([
        { peer: '', reason: 'NoPeers', message: 'the operator has found no kube-apiserver yet' },
      ]);
      expect(doubtsOf(derive([view('a', [apps], { state: 'Gone' })]))).to.deep.equal([' NoPeers']);
    });

    it('about each live server that is not known well, for its own reason', () => {
      const old = { fresh: false, reason: 'Stale', message: 'its document is old' };
      const unified = derive([view('a', [apps], old), view('b', [apps]), view('c', [apps], { ...old, live: false })]);
      expect(unified.doubts).to.deep.equal([{ peer: 'a', reason: 'Stale', message: 'its document is old' }]);
    });

    it('about a server that announces a group-version without its resources, except an aggregated one', () => {
      const unlisted = [apps, buildGroup('new.io', { version: 'v1', freshness: 'Stale' })];
      const message = 'it lists new.io/v1, but not its resources';
      expect(derive([view('a', unlisted), view('b', [apps])]).doubts).to.deep.equal([
        { peer: 'a', reason: 'NotListed', message },
      ]);
      const asked = { aggregated: new Set(['new.io/v1']) };
      expect(doubtsOf(derive([view('a', unlisted)], asked))).to.deep.equal([]);
      expect(doubtsOf(derive([view('a', unlisted), view('b', unlisted)]))).to.deep.equal([
        'a NotListed',
        'b NotListed',
      ]);
      for (const less of [{ live: false }, { fresh: false, reason: 'Stale' }])
        expect(doubtsOf(derive([view('a', unlisted, less)]))).not.to.include('a NotListed');
      for (const version of [
        { version: 'v1', freshness: 'Current' },
        { ...buildVersion('v1', 'things'), freshness: 'Stale' },
      ])
        expect(doubtsOf(derive([view('a', [buildGroup('new.io', version)])]))).to.deep.equal([]);
    });
  });

  describe('hides a deleted resource', () => {
    const things = buildGroup('new.io', buildVersion('v1', 'things', 'others'), buildVersion('v2', 'things'));
    const deletedAt = (...keys: readonly string[]) => ({ deletedAt: new Map(keys.map((key) => [key, now])) });

    it('and is in doubt, until the server has been asked five seconds after the deletion', () => {
      const at = (documentsAt: number) =>
        derive([view('a', [apps, things], { seen: { documentsAt } })], deletedAt('new.io/v1/things'));
      for (const early of [now - 1, now, now + 4_999]) {
        expect(resourcesOf(at(early).apis)).to.deep.equal([
          'apps/v1/deployments',
          'new.io/v1/others',
          'new.io/v2/things',
        ]);
        expect(doubtsOf(at(early))).to.deep.equal(['a Settling']);
      }
      expect(resourcesOf(at(now + 5_000).apis)).to.include('new.io/v1/things');
      expect(doubtsOf(at(now + 5_000))).to.deep.equal([]);
    });

    it('if an earlier leader read the documents, at no known time', () => {
      const unknown = view('a', [things], { seen: { documentsAt: undefined } as never });
      expect(resourcesOf(derive([unknown], deletedAt('new.io/v2/things')).apis)).not.to.include('new.io/v2/things');
    });

    it('with its version and group if nothing is left of them', () => {
      const left = (...keys: readonly string[]) => derive([view('a', [apps, things])], deletedAt(...keys)).apis;
      expect(left('new.io/v2/things')[1]?.versions?.map(({ version }) => version)).to.deep.equal(['v1']);
      expect(left('new.io/v1')[1]?.versions?.map(({ version }) => version)).to.deep.equal(['v2']);
      expect(left('new.io/v1', 'new.io/v2').map(({ name }) => name)).to.deep.equal(['apps']);
      expect(left('new.io/v1/things', 'new.io/v1/others', 'new.io/v2').map(({ name }) => name)).to.deep.equal(['apps']);
    });

    it('from each of two servers with one document by the time at which that server was asked', () => {
      const shared = [things];
      const deletions = new Map([
        ['new.io/v1/things', now],
        ['new.io/v2/things', now + 10_000],
      ]);
      const asked = (id: string, documentsAt: number) => view(id, shared, { seen: { documentsAt } });
      const { documentsOf } = derive([asked('a', now), asked('b', now + 6_000)], { deletedAt: deletions });
      const listedBy = (id: string) => resourcesOf(documentsOf.get(id)?.apis ?? []);
      expect(listedBy('a')).to.deep.equal(['new.io/v1/others']);
      expect(listedBy('b')).to.deep.equal(['new.io/v1/things', 'new.io/v1/others']);
    });

    it('and is not in doubt about a server that does not list it, or that is away', () => {
      for (const [apis, assessment] of [
        [[apps], {}],
        [[things], { live: false }],
      ] as const)
        expect(doubtsOf(derive([view('a', apis, assessment)], deletedAt('new.io/v1/things')))).to.deep.equal([]);
    });

    it('but keeps a group-version without resources, for servers with the same document as well', () => {
      const empty = buildGroup('new.io', { version: 'v1' });
      const shared = [empty, things];
      const unified = derive([view('a', shared), view('b', shared)], deletedAt('new.io/v2/things'));
      expect(unified.documentsOf.get('a')?.apis).to.equal(unified.documentsOf.get('b')?.apis);
      expect(unified.documentsOf.get('a')?.apis[0]).to.equal(empty);
    });
  });

  it('finds the writers of a resource, and puts them into the table only if routing preserves fields', () => {
    const responseKind = { group: 'a', version: 'v1', kind: 'Thing' };
    const things = [buildGroup('a', buildVersion('v1', buildResource('things', { verbs: ['create'], responseKind })))];
    const schema = (fields: Record<string, string>) => buildOpenApi('a/v1', ['Thing'], { Thing: fields });
    const knowledge = knowledgeOf({
      'a/v1': { old: schema({ name: 'a name' }), young: schema({ name: 'a name', colour: 'a colour' }) },
    });
    const serverOf = (id: string, version: string, hash: string) =>
      view(id, things, { seen: { version, schemas: { hashes: new Map([['a/v1', hash]]), digest: hash } } });
    const views = [serverOf('a', 'v1.35.0', 'old'), serverOf('b', 'v1.36.0', 'young')];
    const writersIn = (fieldSkew: 'Preserve' | 'Ignore') => {
      const unified = deriveUnifiedView(views, nothingDefined, { ...settings, fieldSkew }, createDeriveMemo(), {
        knowledge,
      });
      expect(unified.fieldVerdicts.find(({ resource }) => resource === 'things')).to.deep.include({
        basis: 'Schemas',
        writers: [1],
      });
      return unified.groupVersions.find(({ group }) => group === 'a')?.resources[0]?.writers;
    };
    expect([writersIn('Preserve'), writersIn('Ignore')]).to.deep.equal([[1], undefined]);
    const [unread] = deriveUnifiedView(views, nothingDefined, settings).fieldVerdicts;
    expect(unread?.basis).to.equal('Versions');
  });
});
