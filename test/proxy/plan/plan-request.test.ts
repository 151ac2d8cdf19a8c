import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import { parseRequestInfo, type RequestInfo } from '../../../src/domain/request-info.ts';
import { indexTable } from '../../../src/domain/table-index.ts';
import {
  homesFor,
  isAnsweredByBackend,
  isLongRunning,
  type PlanFacts,
  type PlanView,
  planPass,
  planRequest,
  stickyKey,
  warnOfFields,
} from '../../../src/proxy/plan/plan-request.ts';
import type { FleetPeer } from '../../../src/proxy/servers/fleet.ts';
import { groupVersion } from '../../support/proxy-under-test.ts';
import { sampleBundle } from '../../support/sample-bundle.ts';

const listed = ['a', 'b', 'c'].map((id, at) => ({ id, address: `10.0.0.${at + 1}:6443`, state: 'Ready' as const }));
const table = routingTable({
  peers: listed,
  groupVersions: [groupVersion('v1', { pods: [0, 1, 2] }), groupVersion('new.io/v1', { things: [1, 2] })],
});
const peers = listed.map(
  ({ id, address, state }): FleetPeer => ({
    target: { id, address, serverName: 'kubernetes.default.svc', pinned: false },
    state,
    load: { inFlight: 0, asked: 0 },
  }),
);
const [a, b, c] = peers;
const all: PlanView = {
  usable: (peer): peer is FleetPeer => peer !== undefined,
  lastResort: (peer): peer is FleetPeer => peer === undefined,
  tableTooOld: () => false,
};
const pods = '/api/v1/namespaces/d/pods';
const things = '/apis/new.io/v1/namespaces/d/things';

function infoOf(target: string, method = 'GET'): RequestInfo {
  const parsed = parseRequestInfo(method, target);
  if (parsed.kind !== 'ok') throw new Error(parsed.message);
  return parsed.info;
}

function plan(target: string, facts: Partial<PlanFacts> = {}, turn = 0, view: PlanView = all) {
  const snapshot = { bundle: undefined, index: indexTable(table), peers };
  const usual = { alreadyRouted: false, isDiscovery: false, needsTable: false, sticky: new Map<string, string>() };
  return planRequest({ info: infoOf(target), snapshot, home: a, ...usual, ...facts }, view, () => turn);
}

/** What the plan does with a 404 of each server, and whether it marks the request as routed. */
function rules(planned: ReturnType<typeof plan>): (string | undefined)[] {
  if (planned.kind !== 'forward') return [planned.kind];
  return [planned.first, ...planned.others()].map(
    (target) => target && `${target.notFound.kind}${target.peerProxied ? ', marked' : ''}`,
  );
}

/** The same peers with this many requests in flight. */
const busy = (...inFlight: readonly number[]): FleetPeer[] =>
  peers.map((peer, at) => ({ ...peer, load: { inFlight: inFlight[at] ?? 0, asked: 0 } }));

/** The servers of a plan, in the order in which they are tried. */
function order(planned: ReturnType<typeof plan>): (string | undefined)[] {
  if (planned.kind !== 'forward') return [planned.kind];
  return [planned.first, ...planned.others()].map((target) => target?.peer.target.id);
}

describe('planRequest', () => {
  it('sends a request home if home serves it, binds the client to home, and keeps the others as stand-ins', () => {
    const planned = plan(pods);
    expect(planned).to.deep.include({ kind: 'forward', route: 'home', binds: 'home' });
    expect(order(planned)).to.deep.equal(['a', 'b', 'c']);
  });

  it('sends a request that home lacks to its servers in turn, but first to the one used before', () => {
    expect(plan(things)).to.deep.include({ kind: 'forward', route: 'peer', binds: 'resource' });
    expect(order(plan(things))).to.deep.equal(['b', 'c']);
    expect(order(plan(things, {}, 1))).to.deep.equal(['c', 'b']);
    const sticky = new Map([['new.io/v1/things', c?.target.address ?? '']]);
    expect(order(plan(things, { sticky }))).to.deep.equal(['c', 'b']);
  });

  it('takes no turn until home fails', () => {
    const snapshot = { bundle: undefined, index: indexTable(table), peers };
    const facts = { alreadyRouted: false, isDiscovery: false, needsTable: false, sticky: new Map<string, string>() };
    let turns = 0;
    const planned = planRequest({ info: infoOf(pods), snapshot, home: a, ...facts }, all, () => turns++);
    expect(turns).to.equal(0);
    order(planned);
    expect(turns).to.equal(1);
  });

  it('does not route a request again that another proxy has routed here', () => {
    expect(order(plan(pods, { alreadyRouted: true }))).to.deep.equal(['a']);
    expect(plan(things, { alreadyRouted: true })).to.include({ kind: 'refuse', why: 'doubt' });
  });

  it('refuses a request with 503 if there is no table, or no home', () => {
    for (const [facts, why] of [
      [{ needsTable: true }, 'no_table'],
      [{ home: undefined }, 'no_table'],
    ] as const) {
      const planned = plan(pods, facts);
      expect(planned).to.include({ kind: 'refuse', why });
      expect(planned.kind === 'refuse' && planned.status.code).to.equal(503);
    }
  });

  it('marks a request to another server with the resource, but not one to a stand-in for home in general', () => {
    expect(rules(plan(pods))).to.deep.equal(['listed', 'listed, marked', 'listed, marked']);
    expect(rules(plan(things))).to.deep.equal(['listed, marked', 'listed, marked']);
    expect(rules(plan('/version'))).to.deep.equal(['trust', 'trust', 'trust']);
    expect(order(plan('/version'))).to.deep.equal(['a', 'b', 'c']);
  });

  it('trusts the 404 of a home that another proxy has chosen only for what home serves', () => {
    expect(rules(plan(pods, { alreadyRouted: true }))).to.deep.equal(['listed, marked']);
    const elsewhere = plan('/apis/old.io/v1/namespaces/d/gadgets', { alreadyRouted: true });
    expect(rules(elsewhere)).to.deep.equal(['doubt, marked']);
    expect(plan('/version', { alreadyRouted: true })).to.include({ binds: 'home', route: 'home' });
  });

  it('sends requests to the server with the fewest in flight first, but to the one used before', () => {
    const snapshot = { bundle: undefined, index: indexTable(table), peers: busy(0, 5, 2) };
    expect(order(plan(things, { snapshot }))).to.deep.equal(['c', 'b']);
    expect(order(plan('/version', { snapshot }))).to.deep.equal(['a', 'c', 'b']);
    const sticky = new Map([['new.io/v1/things', b?.target.address ?? '']]);
    expect(order(plan(things, { snapshot, sticky }))).to.deep.equal(['b', 'c']);
    expect(order(plan(things, { snapshot, sticky: new Map([['new.io/v1/things', 'gone']]) }))).to.deep.equal([
      'c',
      'b',
    ]);
  });

  it('sends nothing to a server that is not usable, except as a last resort', () => {
    const usable = (peer: FleetPeer | undefined): peer is FleetPeer => peer === a;
    const none: PlanView = { ...all, usable, lastResort: (peer): peer is FleetPeer => peer === undefined };
    const refusal = plan(things, {}, 0, none);
    expect(refusal).to.include({ kind: 'refuse', why: 'no_capable_server' });
    expect(refusal).to.have.nested.include({
      'status.code': 503,
      'status.reason': 'ServiceUnavailable',
      'status.details.retryAfterSeconds': 1,
    });
    const last: PlanView = { ...none, lastResort: (peer): peer is FleetPeer => peer === c };
    expect(order(plan(things, {}, 0, last))).to.deep.equal(['c']);
    expect(order(plan('/version', {}, 0, last))).to.deep.equal(['a']);
  });

  it('doubts the absence of an unlisted resource while the table is too old', () => {
    const old: PlanView = { ...all, tableTooOld: () => true };
    expect(rules(plan('/apis/old.io/v1/gadgets'))).to.deep.equal(['trust', 'trust', 'trust']);
    expect(rules(plan('/apis/old.io/v1/gadgets', {}, 0, old))).to.deep.equal(['doubt', 'doubt', 'doubt']);
  });

  it('logs why the request goes to its server', () => {
    const reasonOf = (planned: ReturnType<typeof plan>) => (planned.kind === 'forward' ? planned.reason : undefined);
    const incomplete = { ...table, complete: false, doubts: [{ peer: '', reason: 'Settling', message: 'm' }] };
    const inDoubt = { bundle: undefined, index: indexTable(incomplete), peers };
    expect(reasonOf(plan(pods))).to.equal('home serves it');
    expect(reasonOf(plan(things))).to.equal('home does not serve it');
    expect(reasonOf(plan('/version'))).to.equal('for home, whatever it answers');
    expect(reasonOf(plan('/apis/old.io/v1/gadgets', { snapshot: inDoubt }))).to.equal('for home, but not its 404');
    expect(reasonOf(plan(pods, { alreadyRouted: true }))).to.equal('another proxy has routed it here');
    const [row] = groupVersion('new.io/v1', { things: [0, 1, 2] }).resources;
    const skewed = routingTable({
      fieldSkew: 'Preserve',
      peers: listed,
      groupVersions: [
        { ...groupVersion('new.io/v1', {}), resources: row ? [{ ...row, writers: [2], standIns: [] }] : [] },
      ],
    });
    const planned = plan(`${things}/x`, { snapshot: { bundle: undefined, index: indexTable(skewed), peers } });
    expect(planned).to.include({ route: 'peer', fields: 'writer', reason: 'home does not know all of its fields' });
  });

  it('distinguishes a proxy without a table from one without a server', () => {
    const withTable = { bundle: sampleBundle(1), index: indexTable(table), peers };
    const refusals = [plan(pods, { home: undefined, snapshot: withTable }), plan(pods, { home: undefined })];
    expect(refusals.map((refusal) => refusal.kind === 'refuse' && [refusal.why, refusal.status.message])).to.deep.equal(
      [
        ['no_ready_server', 'no kube-apiserver is ready'],
        ['no_table', 'this proxy has no routing table yet, and no --home is set'],
      ],
    );
    expect(plan(pods, { needsTable: true })).to.have.nested.property('status.details.retryAfterSeconds', 1);
    expect(order(plan(things, { home: undefined }))).to.deep.equal(['b', 'c']);
  });

  it('sends a request home while there is no table, and doubts its 404', () => {
    const snapshot = { bundle: undefined, index: undefined, peers: [] };
    expect(order(plan(pods, { snapshot }))).to.deep.equal(['a']);
    expect(rules(plan(pods, { snapshot }))).to.deep.equal(['doubt']);
  });

  it('leaves a document about all servers to discovery', () => {
    expect(plan('/apis', { isDiscovery: true }).kind).to.equal('discovery');
  });
});

describe('planPass', () => {
  it('tries the servers in their order, marks those that are not home, and binds the client to none', () => {
    const planned = planPass(b === undefined || a === undefined ? [] : [b, a], a);
    expect(order(planned)).to.deep.equal(['b', 'a']);
    expect([planned.first, ...planned.others()].map((target) => target?.peerProxied)).to.deep.equal([true, false]);
    expect(planned).to.include({
      kind: 'forward',
      route: 'discovery',
      binds: undefined,
      fields: undefined,
      reason: '',
    });
    expect(rules(planned)).to.deep.equal(['trust, marked', 'trust']);
  });
});

describe('homesFor', () => {
  it('puts home first, then the other usable servers by their load', () => {
    const [home, ...others] = busy(9, 5, 2);
    const snapshot = { bundle: undefined, index: undefined, peers: [home, undefined, ...others] };
    expect(homesFor(all, snapshot, home).map(({ target }) => target.id)).to.deep.equal(['a', 'c', 'b']);
    expect(homesFor(all, snapshot, undefined)).to.deep.equal([]);
  });
});

describe('isAnsweredByBackend', () => {
  it('is true for proxy requests and aggregated APIs, by any path', () => {
    const aggregated = { ...groupVersion('metrics.k8s.io/v1beta1', { nodes: [0] }), origin: 'Aggregated' as const };
    const index = indexTable(
      routingTable({ peers: listed, groupVersions: [groupVersion('v1', { pods: [0] }), aggregated] }),
    );
    const snapshot = { bundle: undefined, index, peers };
    for (const [target, expected] of [
      ['/api/v1/namespaces/d/pods/x/proxy', true],
      ['/api/v1/namespaces/d/pods', false],
      ['/apis/metrics.k8s.io/v1beta1/nodes', true],
      ['/apis/metrics.k8s.io/v1beta1', true],
      ['/apis/metrics.k8s.io/v1beta1/', true],
      ['/openapi/v3/apis/metrics.k8s.io/v1beta1', true],
      ['/x/apis/metrics.k8s.io/v1beta1', false],
      ['/openapi/v3/apis/metrics.k8s.io/v1beta1/more', false],
      ['/apis/metrics.k8s.io', false],
      ['/apis/apps/v1', false],
      ['/version', false],
    ] as const)
      expect(isAnsweredByBackend(infoOf(target), snapshot), target).to.equal(expected);
    for (const target of ['/apis/metrics.k8s.io/v1beta1', '/apis/metrics.k8s.io/v1beta1/nodes'])
      expect(isAnsweredByBackend(infoOf(target), { ...snapshot, index: undefined }), target).to.equal(false);
  });
});

describe('isLongRunning', () => {
  it('is true for watches, streaming subresources and profiles, as at kube-apiserver', () => {
    const object = '/api/v1/namespaces/d/pods/x';
    const streaming = ['attach', 'exec', 'log', 'proxy', 'portforward'].map(
      (subresource) => `${object}/${subresource}`,
    );
    for (const target of [...streaming, `${pods}?watch=1`, '/api/v1/proxy/nodes/x', '/debug/pprof/profile'])
      expect(isLongRunning(infoOf(target)), target).to.equal(true);
    for (const target of [object, `${object}/status`, pods, '/debug/api', '/version', '/x/debug/pprof/'])
      expect(isLongRunning(infoOf(target)), target).to.equal(false);
  });
});

describe('warnOfFields', () => {
  it('warns only if a field may be lost, and names the resource as the table does', () => {
    expect(warnOfFields(undefined, infoOf(pods))).to.equal(undefined);
    expect(warnOfFields('writer', infoOf(pods))).to.equal(undefined);
    expect(warnOfFields('standIn', infoOf(pods))).to.match(
      /^299 - "no .*accepts every field of pods of v1 .*dropped"$/,
    );
    expect(warnOfFields('lossy', infoOf(things))).to.match(/^299 - "no .*serves things of new.io\/v1 .*dropped.*"$/);
  });
});

describe('stickyKey', () => {
  it('is the same for all objects of a resource, whatever their namespace', () => {
    expect(stickyKey(infoOf(things))).to.equal('new.io/v1/things');
    expect(stickyKey(infoOf('/apis/new.io/v1/namespaces/e/things/x'))).to.equal('new.io/v1/things');
  });
});
