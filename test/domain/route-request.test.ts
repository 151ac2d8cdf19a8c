import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import { parseRequestInfo } from '../../src/domain/request-info.ts';
import type { RouteView } from '../../src/domain/route-request.ts';
import { routeRequest } from '../../src/domain/route-request.ts';
import type { RoutingTable } from '../../src/domain/routing-table.ts';
import { indexTable } from '../../src/domain/table-index.ts';
import { groupVersion } from '../support/proxy-under-test.ts';

const peers = ['a', 'b', 'c'].map((id, at) => ({ id, address: `10.0.0.${at + 1}:6443`, state: 'Ready' as const }));
const groupVersions = [groupVersion('v1', { pods: [0, 1, 2] }), groupVersion('new.io/v1', { things: [1, 2] })];

function route(target: string, overrides: Partial<RoutingTable> = {}, view: Partial<RouteView> = {}, method = 'GET') {
  const parsed = parseRequestInfo(method, target);
  if (parsed.kind !== 'ok') throw new Error(parsed.message);
  const index = indexTable(routingTable({ peers, groupVersions, ...overrides }));
  return routeRequest(
    index,
    parsed.info,
    { home: 0, usable: () => true, lastResort: () => false, alreadyRouted: false, tableTooOld: false, ...view },
    { discovery: false },
  );
}

describe('routeRequest', () => {
  it('sends a request home if home serves it, with others as stand-ins', () => {
    expect(route('/api/v1/pods')).to.deep.equal({ kind: 'home', notFound: { kind: 'listed' }, instead: [1, 2] });
  });

  it('sends a request that home lacks to the usable peers that serve it', () => {
    expect(route('/apis/new.io/v1/things')).to.deep.equal({
      kind: 'peer',
      notFound: { kind: 'listed' },
      candidates: [1, 2],
    });
    expect(route('/apis/new.io/v1/things', {}, { usable: (peer) => peer === 2 })).to.deep.equal({
      kind: 'peer',
      notFound: { kind: 'listed' },
      candidates: [2],
    });
  });

  it('answers 503, never 404, if the servers of a resource cannot take requests', () => {
    const decision = route('/apis/new.io/v1/things', {}, { usable: () => false });
    expect(decision).to.include({ kind: 'unavailable' });
    expect(decision).to.have.property('message').that.includes('things of new.io/v1');
  });

  it('before it answers 503, tries only the servers that failed here just now', () => {
    const down = { usable: () => false, lastResort: (peer: number) => peer === 2 };
    expect(route('/apis/new.io/v1/things', {}, down)).to.have.deep.property('candidates', [2]);
    const one = { usable: (peer: number) => peer === 1, lastResort: () => true };
    expect(route('/apis/new.io/v1/things', {}, one)).to.have.deep.property('candidates', [1]);
  });

  it("passes home's 404 for an unlisted resource only if the table is complete and confirmed", () => {
    expect(route('/apis/nope.io/v1/x')).to.have.nested.property('notFound.kind', 'trust');
    expect(route('/apis/nope.io/v1/x', {}, { tableTooOld: true })).to.have.nested.property('notFound.kind', 'doubt');
    const doubts = [{ peer: 'c', reason: 'Unreachable', message: 'no answer' }];
    const decision = route('/apis/nope.io/v1/x', { complete: false, doubts });
    expect(decision).to.have.nested.property('notFound.message').that.includes('c: no answer');
  });

  it("doubts home's 404 for an unlisted resource from when a server is away until it has been read again", () => {
    const away = { peers: peers.map((peer) => (peer.id === 'c' ? { ...peer, inDoubt: true } : peer)) };
    const decision = route('/apis/nope.io/v1/x', away);
    expect(decision).to.have.nested.property('notFound.kind', 'doubt');
    expect(decision).to.have.nested.property('notFound.message').that.includes('c: it has been away');
    expect(route('/api/v1/pods', away)).to.have.nested.property('notFound.kind', 'listed');
  });

  it('treats a path with leading slashes as unserved, as kube-apiserver does, and doubts it in the same way', () => {
    for (const target of ['//api/v1/pods', '///apis/new.io/v1/things', '/%2fapi/v1/pods']) {
      expect(route(target), target).to.include({ kind: 'home' }).and.have.nested.property('notFound.kind', 'trust');
      expect(route(target, { complete: false }), target).to.have.nested.property('notFound.kind', 'doubt');
    }
    expect(route('/api/v1/pods/')).to.have.nested.property('notFound.kind', 'listed');
  });

  describe('with a 404 for a path without the resource', () => {
    const rows = [
      { resource: 'pods', scope: 'Namespaced' as const, peers: [0, 1, 2], subresources: { status: [0, 1, 2] } },
      { resource: 'nodes', scope: 'Cluster' as const, peers: [1, 2], subresources: {} },
      { resource: 'namespaces', scope: 'Cluster' as const, peers: [0, 1, 2], subresources: { status: [0, 1, 2] } },
      { resource: 'unsure', peers: [0, 1, 2], subresources: {} },
    ];
    const core = { group: '', version: 'v1', origin: 'BuiltIn' as const, resources: rows };
    const notFoundOf = (request: string, overrides: Partial<RoutingTable> = {}, view: Partial<RouteView> = {}) => {
      const [method = '', target = ''] = request.split(' ');
      const decision = route(target, { groupVersions: [core], ...overrides }, view, method);
      if (decision.kind !== 'home' && decision.kind !== 'peer') throw new Error(decision.kind);
      return decision.notFound.kind;
    };
    const misplaced = [
      'GET /api/v1/pods/x',
      'PATCH /api/v1/pods/x/status',
      'POST /api/v1/pods',
      'DELETE /api/v1/pods',
      'GET /api/v1/namespaces/a/nodes',
      'GET /api/v1/namespaces/a/nodes/x',
    ];

    for (const request of misplaced)
      it(`trusts it in ${request}, if the table is complete, confirmed, and speaks for kube-apiserver itself`, () => {
        expect(notFoundOf(request)).to.equal('trust');
        expect(notFoundOf(request, { complete: false })).to.equal('doubt');
        expect(notFoundOf(request, {}, { tableTooOld: true })).to.equal('doubt');
        expect(notFoundOf(request, { groupVersions: [{ ...core, origin: 'Aggregated' }] })).to.equal('listed');
      });

    for (const request of [
      'GET /api/v1/pods',
      'GET /api/v1/pods?watch=1',
      'GET /api/v1/pods?fieldSelector=metadata.name%3Dx',
      'GET /api/v1/watch/pods',
      'GET /api/v1/namespaces/a/pods/x',
      'POST /api/v1/namespaces/a/pods',
      'GET /api/v1/nodes/x',
      'GET /api/v1/namespaces/a',
      'PUT /api/v1/namespaces/a/status',
      'DELETE /api/v1/namespaces/a',
      'GET /api/v1/unsure/x',
      'GET /api/v1/namespaces/a/unsure/x',
    ])
      it(`does not trust it in ${request}`, () => {
        expect(notFoundOf(request)).to.equal('listed');
      });
  });

  it('trusts no 404 without a table', () => {
    const parsed = parseRequestInfo('GET', '/apis/new.io/v1/things');
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    const decision = routeRequest(
      undefined,
      parsed.info,
      { home: undefined, usable: () => true, lastResort: () => false, alreadyRouted: false, tableTooOld: false },
      { discovery: false },
    );
    expect(decision).to.have.nested.property('notFound.kind', 'doubt');
  });

  it('sends everything home in Observe mode', () => {
    const decision = route('/apis/new.io/v1/things', { mode: 'Observe' });
    expect(decision).to.deep.equal({ kind: 'home', notFound: { kind: 'trust' }, instead: 'any' });
  });

  it('sends non-resource requests home, and legacy discovery of a group to a server that has the group', () => {
    expect(route('/version')).to.have.property('kind', 'home');
    expect(route('/apis')).to.have.property('kind', 'home');
    expect(route('/apis/new.io/v1')).to.deep.equal({ kind: 'peer', notFound: { kind: 'listed' }, candidates: [1, 2] });
    expect(route('/apis/new.io')).to.deep.equal({ kind: 'peer', notFound: { kind: 'listed' }, candidates: [1, 2] });
  });

  describe('for a path about a group or a version', () => {
    const table = {
      groupVersions: [
        groupVersion('new.io/v1', { things: [1] }),
        groupVersion('new.io/v2', { things: [2] }),
        groupVersion('empty.io/v1', {}),
      ],
    };
    const doubtful = { ...table, complete: false };

    it('sends the request to the servers that have the group, or this version of it', () => {
      for (const [target, candidates] of [
        ['/apis/new.io', [1, 2]],
        ['/apis/new.io/', [1, 2]],
        ['/apis/new.io/v1', [1]],
        ['/apis/new.io/v2/', [2]],
      ] as const)
        expect(route(target, table), target).to.deep.equal({ kind: 'peer', notFound: { kind: 'listed' }, candidates });
    });

    it('trusts a 404 only with a complete table', () => {
      for (const target of ['/apis/nope.io', '/apis/nope.io/v1', '/apis/new.io/v3']) {
        expect(route(target, table), target).to.have.nested.property('notFound.kind', 'trust');
        const decision = route(target, doubtful);
        expect(decision, target).to.deep.include({ kind: 'home', instead: 'any' });
        expect(decision, target).to.have.nested.property('notFound.kind', 'doubt');
      }
    });

    it('answers 503 if no server can tell what the version has', () => {
      expect(route('/apis/empty.io/v1', table))
        .to.have.property('message')
        .that.matches(/can tell now .*empty\.io\/v1/);
    });

    it('sends every other path home, whatever it looks like', () => {
      for (const target of [
        '/',
        '/apis',
        '/apis/',
        '/api',
        '/api/v1',
        '/livez/new.io',
        '/openapi/v3/apis/nope.io/v1',
        '/nope.io',
      ])
        expect(route(target, doubtful), target).to.have.nested.property('notFound.kind', 'trust');
    });
  });

  it('leaves a document about all servers to its caller', () => {
    const parsed = parseRequestInfo('GET', '/apis');
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    const view = { home: 0, usable: () => true, lastResort: () => false, alreadyRouted: false, tableTooOld: false };
    expect(
      routeRequest(indexTable(routingTable({ peers, groupVersions })), parsed.info, view, { discovery: true }),
    ).to.deep.equal({
      kind: 'discovery',
    });
  });

  it('treats a resource without servers like an unlisted one', () => {
    const nobody = { groupVersions: [groupVersion('new.io/v1', { things: [] })] };
    expect(route('/apis/new.io/v1/things', nobody)).to.have.nested.property('notFound.kind', 'trust');
    expect(route('/apis/new.io/v1/things', { ...nobody, complete: false })).to.have.nested.property(
      'notFound.kind',
      'doubt',
    );
  });

  it('says why each capable server cannot answer', () => {
    const later = ['Stale', 'NotReady'] as const;
    const states = peers.map((peer, at) => ({ ...peer, state: later[at - 1] ?? peer.state }));
    const all = { peers: states, groupVersions: [groupVersion('new.io/v1', { things: [0, 1, 2] })] };
    const decision = route('/apis/new.io/v1/things', all, { home: undefined, usable: () => false });
    expect(decision.kind).to.equal('home');
    const some = { peers: states, groupVersions: [groupVersion('new.io/v1', { things: [1, 2] })] };
    expect(route('/apis/new.io/v1/things', some, { usable: () => false }))
      .to.have.property('message')
      .that.includes('b is not answering this proxy, c is NotReady');
  });

  it('takes a home that is not in the table for capable only if every live peer is', () => {
    expect(route('/api/v1/pods', {}, { home: undefined })).to.have.property('kind', 'home');
    expect(route('/apis/new.io/v1/things', {}, { home: undefined })).to.have.property('kind', 'peer');
  });

  for (const [state, kind] of [
    ['Gone', 'home'],
    ['Refused', 'home'],
    ['Unreachable', 'peer'],
    ['Unresolved', 'peer'],
    ['NotReady', 'peer'],
    ['Stale', 'peer'],
  ] as const)
    it(`sends a request to the ${kind} when home is not in the table and the only incapable peer is ${state}`, () => {
      const states = peers.map((peer, at) => (at === 0 ? { ...peer, state } : peer));
      expect(route('/apis/new.io/v1/things', { peers: states }, { home: undefined })).to.have.property('kind', kind);
    });

  describe('for a resource whose fields not all servers know', () => {
    const row = {
      resource: 'pods',
      peers: [0, 1, 2],
      writers: [2],
      standIns: [1],
      subresources: { status: [0, 1, 2], exec: [0, 1, 2], log: [0, 1, 2] },
    };
    const table = { groupVersions: [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources: [row] }] };
    const to = (method: string, target: string, view: Partial<RouteView> = {}, more: Partial<RoutingTable> = {}) =>
      route(target, { ...table, ...more }, view, method);
    const pod = '/api/v1/namespaces/x/pods/p';
    const writer = { kind: 'peer', notFound: { kind: 'listed' }, candidates: [2], fields: 'writer' };

    it('sends writes of every kind, and reads of one object, to a server that knows all fields', () => {
      for (const [method, target] of [
        ['POST', '/api/v1/namespaces/x/pods'],
        ['PUT', pod],
        ['PATCH', pod],
        ['DELETE', pod],
        ['DELETE', '/api/v1/namespaces/x/pods'],
        ['PATCH', `${pod}/status`],
        ['POST', '/api/v1/namespaces/x/pods?dryRun=All'],
        ['GET', pod],
        ['GET', `${pod}/status`],
      ] as const)
        expect(to(method, target), `${method} ${target}`).to.deep.equal(writer);
    });

    it('judges a subresource separately if the table says so', () => {
      const token = { token: { writers: [0, 1, 2], standIns: [] }, resize: { writers: [1], standIns: [] } };
      const subresources = { ...row.subresources, token: [0, 1, 2], resize: [0, 1, 2] };
      const resources = [{ ...row, subresources, subresourceWriters: token }];
      const groupVersions = [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources }];
      expect(to('POST', `${pod}/token`, {}, { groupVersions }))
        .to.include({ kind: 'home' })
        .and.not.property('fields');
      expect(to('PATCH', `${pod}/resize`, {}, { groupVersions })).to.deep.equal({ ...writer, candidates: [1] });
      expect(to('PATCH', `${pod}/status`, {}, { groupVersions })).to.deep.equal(writer);
    });

    it('uses a server of the resource if none knows all fields, and warns of possible loss', () => {
      const resources = [{ resource: 'pods', peers: [0, 1], writers: [], standIns: [0, 1], subresources: {} }];
      const groupVersions = [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources }];
      expect(to('PATCH', pod, {}, { groupVersions })).to.deep.include({ kind: 'home', fields: 'lossy' });
      expect(to('PATCH', pod, { home: 2 }, { groupVersions })).to.deep.include({ candidates: [0, 1], fields: 'lossy' });
      expect(to('PATCH', pod, { home: 2, usable: () => false }, { groupVersions })).to.include({ kind: 'unavailable' });
    });

    it('says even of a server tried as a last resort whether it knows all fields', () => {
      for (const [peer, fields] of [
        [2, 'writer'],
        [1, 'standIn'],
      ] as const)
        expect(to('PUT', pod, { usable: () => false, lastResort: (other) => other === peer })).to.deep.include({
          candidates: [peer],
          fields,
        });
    });

    it('tries another server before a 503 if home itself is a last resort', () => {
      const away = { usable: () => false, lastResort: () => true };
      const leases = { ...row, resource: 'leases', standIns: [] };
      const origin = 'BuiltIn' as const;
      const groupVersions = [{ group: 'coordination.k8s.io', version: 'v1', origin, resources: [leases] }];
      const more = { groupVersions, peers: peers.map((peer) => ({ ...peer, inDoubt: peer.id !== 'a' })) };
      const lease = '/apis/coordination.k8s.io/v1/namespaces/x/leases/l';
      expect(to('PUT', lease, away, more)).to.deep.include({ kind: 'home', instead: [1, 2], fields: 'standIn' });
      const some = { ...away, lastResort: (peer: number) => peer === 2 };
      expect(to('PUT', lease, some, more)).to.deep.include({ kind: 'home', instead: [2] });
      const usable = { ...away, usable: (peer: number) => peer === 1 };
      expect(to('PUT', lease, usable, more)).to.deep.include({ kind: 'home', instead: [1] });
    });

    it('leaves lists, watches and streams at home', () => {
      for (const [method, target] of [
        ['GET', '/api/v1/pods'],
        ['GET', '/api/v1/namespaces/x/pods?watch=1'],
        ['GET', '/api/v1/namespaces/x/pods?fieldSelector=metadata.name%3Dp'],
        ['GET', '/api/v1/watch/namespaces/x/pods/p'],
        ['POST', `${pod}/exec`],
        ['GET', `${pod}/log`],
      ] as const)
        expect(to(method, target), `${method} ${target}`).to.deep.equal({
          kind: 'home',
          notFound: { kind: 'listed' },
          instead: [1, 2],
        });
    });

    it('stays at a home that knows all fields, with its equals as stand-ins', () => {
      expect(to('PUT', pod, { home: 2 })).to.deep.equal({
        kind: 'home',
        notFound: { kind: 'listed' },
        instead: [],
        fields: 'writer',
      });
    });

    it('uses a server that keeps stored fields while no server that knows all can take the request', () => {
      const away = { usable: (peer: number) => peer !== 2 };
      expect(to('PUT', pod, away)).to.deep.equal({ ...writer, candidates: [1], fields: 'standIn' });
      expect(to('PUT', pod, { ...away, home: 1 })).to.deep.include({ kind: 'home', fields: 'standIn' });
    });

    it('answers 503, and never uses a server that would destroy a stored field', () => {
      const decision = to('PUT', pod, { usable: (peer) => peer === 0 });
      expect(decision).to.include({ kind: 'unavailable' });
      expect(decision).to.have.property('message').that.includes('knows all fields of pods of v1').and.includes('c is');
    });

    it('asks clients to wait longer for a server that the operator found away than for one that failed here', () => {
      const only = { usable: (peer: number) => peer === 0 };
      const away = peers.map((peer) => (peer.id === 'c' ? { ...peer, state: 'NotReady' as const } : peer));
      expect(to('PUT', pod, only)).to.have.property('retryAfterSeconds', 1);
      expect(to('PUT', pod, only, { peers: away })).to.have.property('retryAfterSeconds', 5);
    });

    it('does not trust a server that was away until it has reported its version again', () => {
      const inDoubt = { peers: peers.map((peer) => (peer.id === 'a' ? peer : { ...peer, inDoubt: true })) };
      expect(to('PUT', pod, {}, inDoubt)).to.have.property('kind', 'unavailable');
      expect(to('PUT', pod, { home: 2 }, inDoubt)).to.have.property('kind', 'unavailable');
    });

    it('prefers the servers that stayed to one that was away, even if all were alike', () => {
      const doubted = (...ids: string[]) => ({
        fieldSkew: 'Preserve' as const,
        groupVersions,
        peers: peers.map((peer) => (ids.includes(peer.id) ? { ...peer, inDoubt: true } : peer)),
      });
      const elsewhere = { kind: 'peer', notFound: { kind: 'listed' }, candidates: [1, 2], fields: 'writer' };
      expect(to('PUT', pod, {}, doubted('a'))).to.deep.equal(elsewhere);
      expect(to('PUT', pod, {}, { ...doubted('a'), fieldSkew: 'Ignore' })).to.have.property('kind', 'home');
      expect(to('GET', '/api/v1/pods', {}, doubted('a'))).to.have.property('kind', 'home');
      expect(to('PUT', pod, {}, doubted('b'))).to.deep.include({ kind: 'home', instead: [2] });
      const none = to('PUT', pod, {}, doubted('a', 'b', 'c'));
      expect(none).to.have.property('message').that.includes('a is not known well enough since its return');
      const alone = { ...doubted('a'), groupVersions: [groupVersion('v1', { pods: [0] })] };
      expect(to('PUT', pod, {}, alone)).to.have.property('kind', 'home');
    });

    it('sends heartbeats and reviews to a server that was away', () => {
      const again = peers.map((peer) => ({ ...peer, inDoubt: true }));
      for (const [name, resource] of [
        ['coordination.k8s.io/v1', 'leases'],
        ['authorization.k8s.io/v1', 'subjectaccessreviews'],
      ] as const) {
        const more = { peers: again, groupVersions: [groupVersion(name, { [resource]: [0, 1, 2] })] };
        expect(to('POST', `/apis/${name}/${resource}`, {}, { ...more, fieldSkew: 'Preserve' })).to.have.property(
          'kind',
          'home',
        );
      }
    });

    it('sends them there even if servers know different fields of these', () => {
      const again = peers.map((peer) => ({ ...peer, inDoubt: true }));
      for (const [name, resource] of [
        ['coordination.k8s.io/v1', 'leases'],
        ['authentication.k8s.io/v1', 'tokenreviews'],
      ] as const) {
        const [group = '', version = ''] = name.split('/');
        const different = { ...row, resource, subresources: {} };
        const rows = [{ group, version, origin: 'BuiltIn' as const, resources: [different] }];
        const post = (view: Partial<RouteView>, all: RoutingTable['peers']) =>
          to('POST', `/apis/${name}/${resource}`, view, { groupVersions: rows, peers: all });
        expect(post({}, again), resource).to.deep.include({ kind: 'home', instead: [1, 2], fields: 'standIn' });
        const only = post({ home: 1, usable: (peer) => peer === 2 }, again);
        expect(only, resource).to.deep.include({ kind: 'home', instead: [2], fields: 'standIn' });
        expect(post({}, peers), resource).to.deep.include({ candidates: [2], fields: 'writer' });
      }
    });

    describe('whatever writers the present table lists', () => {
      const location = { namespace: 'own', name: 'table' };
      const resources = [{ ...row, resource: 'configmaps', subresources: {} }];
      const different = {
        location,
        groupVersions: [{ group: '', version: 'v1', origin: 'BuiltIn' as const, resources }],
      };
      const doubted = {
        location,
        fieldSkew: 'Preserve' as const,
        groupVersions: [groupVersion('v1', { configmaps: [0, 1, 2] })],
        peers: peers.map((peer) => ({ ...peer, inDoubt: true })),
      };
      const own = '/api/v1/namespaces/own/configmaps';
      const away = { usable: (peer: number) => peer === 0 };

      for (const [method, target] of [
        ['POST', own],
        ['GET', `${own}/table`],
        ['PATCH', `${own}/table`],
        ['GET', `${own}/table-1f`],
        ['DELETE', `${own}/table-1f`],
      ] as const)
        it(`lets the operator replace the table by ${method} ${target}`, () => {
          for (const table of [different, doubted]) {
            const decision = to(method, target, away, table);
            expect(decision).to.include({ kind: 'home' }).and.not.have.property('fields');
            const { location: _, ...older } = table;
            expect(to(method, target, away, older)).to.have.property('kind', 'unavailable');
          }
        });

      for (const [method, target] of [
        ['PATCH', `${own}/tables`],
        ['PATCH', `${own}/other`],
        ['DELETE', own],
        ['POST', '/api/v1/namespaces/a/configmaps'],
        ['PATCH', '/api/v1/namespaces/a/configmaps/table'],
      ] as const)
        it(`permits no other write to ConfigMaps by ${method} ${target}`, () => {
          for (const table of [different, doubted])
            expect(to(method, target, away, table)).to.have.property('kind', 'unavailable');
        });

      for (const [name, resource] of [
        ['own.io/v1', 'configmaps'],
        ['v2', 'configmaps'],
        ['v1', 'secrets'],
      ] as const)
        it(`permits no write to ${resource} of ${name} with the name of the table`, () => {
          const table = { ...doubted, groupVersions: [groupVersion(name, { [resource]: [0, 1, 2] })] };
          const prefix = name.includes('/') ? 'apis' : 'api';
          const target = `/${prefix}/${name}/namespaces/own/${resource}/table`;
          expect(to('PATCH', target, away, table)).to.have.property('kind', 'unavailable');
        });
    });

    it('asks a server that was away for a token, which writes no ServiceAccount', () => {
      const row = { resource: 'serviceaccounts', peers: [0, 1, 2], subresources: { token: [0, 1, 2] } };
      const accounts = { group: '', version: 'v1', origin: 'BuiltIn' as const, resources: [row] };
      const again = { fieldSkew: 'Preserve' as const, peers: peers.map((peer) => ({ ...peer, inDoubt: true })) };
      const account = '/api/v1/namespaces/x/serviceaccounts/robot';
      const more = { ...again, groupVersions: [accounts] };
      expect(to('POST', `${account}/token`, {}, more)).to.have.property('kind', 'home');
      expect(to('PATCH', account, {}, more)).to.have.property('kind', 'unavailable');
      const older = { ...again, groupVersions: [{ ...accounts, resources: [{ ...row, writers: [2] }] }] };
      expect(to('POST', `${account}/token`, {}, { ...older, peers })).to.have.deep.property('candidates', [2]);
    });

    it('chooses no other server in mode Observe, or after another proxy has', () => {
      expect(to('PUT', pod, {}, { mode: 'Observe' })).to.have.property('kind', 'home');
      expect(to('PUT', pod, { alreadyRouted: true })).to.have.property('kind', 'home');
    });

    it('goes to a known writer if home is not in the table', () => {
      expect(to('PUT', pod, { home: undefined })).to.deep.equal(writer);
    });
  });
});
