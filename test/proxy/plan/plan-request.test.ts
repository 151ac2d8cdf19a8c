import { expect } from 'chai';
import { parseRequestInfo } from '../../../src/domain/request-info.ts';
import { indexTable } from '../../../src/domain/table-index.ts';
import { type PlanFacts, type PlanView, planPass, planRequest } from '../../../src/proxy/plan/plan-request.ts';
import type { FleetPeer } from '../../../src/proxy/servers/fleet.ts';
import { groupVersion, routingTable } from '../../support/proxy-under-test.ts';

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

function plan(target: string, facts: Partial<PlanFacts> = {}, turn = 0) {
  const parsed = parseRequestInfo('GET', target);
  if (parsed.kind !== 'ok') throw new Error(parsed.message);
  const snapshot = { bundle: undefined, index: indexTable(table), peers };
  const usual = { alreadyRouted: false, isDiscovery: false, needsTable: false, sticky: new Map<string, string>() };
  return planRequest({ info: parsed.info, snapshot, home: a, ...usual, ...facts }, all, () => turn);
}

/** The servers of a plan, in the order in which they are tried. */
function order(planned: ReturnType<typeof plan>): (string | undefined)[] {
  if (planned.kind !== 'forward') return [planned.kind];
  return [planned.first, ...planned.others()].map((target) => target?.peer.target.id);
}

describe('planRequest', () => {
  it('sends home what home serves, binds the client to it, and keeps the others as stand-ins', () => {
    const planned = plan(pods);
    expect(planned).to.deep.include({ kind: 'forward', route: 'home', binds: 'home' });
    expect(order(planned)).to.deep.equal(['a', 'b', 'c']);
  });

  it('sends what home lacks to the servers that have it in turn, but first to the one used before', () => {
    expect(plan(things)).to.deep.include({ kind: 'forward', route: 'peer', binds: 'resource' });
    expect(order(plan(things))).to.deep.equal(['b', 'c']);
    expect(order(plan(things, {}, 1))).to.deep.equal(['c', 'b']);
    const sticky = new Map([['new.io/v1/things', c?.target.address ?? '']]);
    expect(order(plan(things, { sticky }))).to.deep.equal(['c', 'b']);
  });

  it('takes no turn until home fails', () => {
    const parsed = parseRequestInfo('GET', pods);
    if (parsed.kind !== 'ok') throw new Error(parsed.message);
    const snapshot = { bundle: undefined, index: indexTable(table), peers };
    const facts = { alreadyRouted: false, isDiscovery: false, needsTable: false, sticky: new Map<string, string>() };
    let turns = 0;
    const planned = planRequest({ info: parsed.info, snapshot, home: a, ...facts }, all, () => turns++);
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

  it('leaves a document about all servers to discovery', () => {
    expect(plan('/apis', { isDiscovery: true }).kind).to.equal('discovery');
  });
});

describe('planPass', () => {
  it('tries the servers in their order, marks those that are not home, and binds the client to none', () => {
    const planned = planPass(b === undefined || a === undefined ? [] : [b, a], a);
    expect(order(planned)).to.deep.equal(['b', 'a']);
    expect([planned.first, ...planned.others()].map((target) => target?.peerProxied)).to.deep.equal([true, false]);
    expect(planned.binds).to.equal(undefined);
  });
});
