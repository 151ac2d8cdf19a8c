import { expect } from 'chai';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import type { AddressSource } from '../../src/domain/resolve-peers.ts';
import { buildGroup, buildResource, buildVersion } from '../support/discovery-builders.ts';
import { createFakeControlPlane, group } from '../support/fake-control-plane.ts';
import { buildOpenApi } from '../support/openapi-builders.ts';

const a = '10.0.0.1:6443';
const b = '10.0.0.2:6443';

/** An old server `a`, and a new server `b` with one more resource. */
function mixedPlane(settings = {}) {
  const plane = createFakeControlPlane(settings);
  plane.servers.set(a, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments')] });
  plane.servers.set(b, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments', 'widgets')] });
  plane.renew('old', a);
  plane.renew('new', b);
  plane.start();
  return plane;
}
type Plane = ReturnType<typeof mixedPlane>;

function whoServes(plane: Plane, resource: string): string[] {
  const { groupVersions, peers } = plane.table;
  const row = groupVersions.flatMap(({ resources }) => resources).find((entry) => entry.resource === resource);
  return (row?.peers ?? []).map((index) => peers[index]?.hostname ?? '');
}

function conditions(plane: Plane): Record<string, string> {
  const list = plane.statuses.at(-1)?.conditions ?? [];
  return Object.fromEntries(list.map(({ type, status }) => [type, status]));
}

describe('the controller of a PeerDiscovery', () => {
  it('publishes one table of all resources, with the revision after the existing one', async () => {
    const plane = mixedPlane();
    await plane.advance(1_000);
    expect(plane.table).to.include({ complete: true, mode: 'Route' });
    expect(plane.bundles[0]?.table.revision).to.equal(42);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    expect(whoServes(plane, 'deployments')).to.have.members(['old', 'new']);
    expect(conditions(plane)).to.deep.equal({ Ready: 'True', Stale: 'False', Converged: 'False', Stalled: 'False' });
    await plane.controller.stop();
  });

  it('warns once by an Event of a peer that is Unresolved or Refused from the start', async () => {
    const plane = createFakeControlPlane({
      checkAddress: (address) => (address === b ? { ok: false, reason: 'outside the allowed CIDRs' } : { ok: true }),
      sources: ['LeaseAnnotation'],
    });
    plane.renew('refused', b);
    plane.renew('nowhere', '');
    plane.start();
    await plane.advance(5_000);
    plane.renew('nowhere', '');
    await plane.advance(5_000);
    const warnings = plane.events.filter((event) => event.startsWith('Warning Peer'));
    expect(warnings.map((event) => event.slice(0, event.indexOf(':'))).sort()).to.deep.equal([
      'Warning PeerRefused',
      'Warning PeerUnresolved',
    ]);
    await plane.controller.stop();
  });

  it('warns once by an Event of the reason in Stalled, and again when it comes back', async () => {
    const plane = mixedPlane();
    const told = () => plane.events.filter((event) => event === 'Warning NamespaceMissing: create it').length;
    plane.failing.publish = 'terminal';
    await plane.advance(20_000);
    expect(told()).to.equal(1);
    plane.failing.publish = false;
    await plane.advance(20_000);
    expect(told()).to.equal(1);
    await plane.controller.stop();
  });

  it('reports an invalid newer spec for its generation, also while peers change, and warns once', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const written = plane.statuses.length;
    const refusal = { reason: 'InvalidSpec', message: 'spec.goneAfter: not a time. The last good spec stays in use.' };
    plane.controller.specRefused({ ...refusal, generation: 9 });
    await plane.advance(2_000);
    plane.servers.set(b, { probe: { kind: 'unreachable', detail: 'gone' }, groups: [] });
    await plane.advance(20_000);
    const later = plane.statuses.slice(written);
    expect(later).to.have.length.above(1);
    for (const { observedGeneration, conditions: list = [] } of later) {
      expect([observedGeneration, ...list.map((condition) => condition.observedGeneration)]).to.deep.equal([
        9, 9, 9, 9, 9,
      ]);
      expect(list.find(({ type }) => type === 'Stalled')).to.deep.include({ status: 'True', ...refusal });
    }
    expect(later[0]?.conditions?.find(({ type }) => type === 'Ready')?.status).to.equal('True');
    expect(plane.events.filter((event) => event === `Warning InvalidSpec: ${refusal.message}`)).to.have.length(1);
    await plane.controller.stop();
  });

  it('writes nothing while nothing changes, although Leases are renewed', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const written = [plane.bundles.length, plane.statuses.length];
    for (let turn = 0; turn < 6; turn += 1) {
      plane.renew('old', a);
      plane.renew('new', b);
      await plane.advance(10_000);
    }
    expect([plane.bundles.length, plane.statuses.length]).to.deep.equal(written);
    await plane.controller.stop();
  });

  it('reports schemas that differ, checked every few minutes, and converges in spite of them', async () => {
    const plane = mixedPlane();
    const [old, young] = [plane.servers.get(a), plane.servers.get(b)];
    if (old === undefined || young === undefined) throw new Error('no servers');
    young.groups = old.groups;
    old.schemas = { hashes: new Map([['apps/v1', 'A1']]), digest: 'A1' };
    young.schemas = { hashes: new Map([['apps/v1', 'B1']]), digest: 'B1' };
    await plane.advance(2_000);
    const status = plane.statuses.at(-1);
    expect(status?.schemaDifferences?.map(({ group, version }) => `${group}/${version}`)).to.deep.equal(['apps/v1']);
    expect(status?.schemaDifferences?.[0]?.schemas.map(({ hash, count }) => [hash, count])).to.deep.equal([
      ['A1', 1],
      ['B1', 1],
    ]);
    expect(conditions(plane).Converged).to.equal('True');
    const { revision } = plane.table;
    old.schemas = young.schemas;
    for (let turn = 0; turn < 40; turn += 1) {
      plane.renew('old', a);
      plane.renew('new', b);
      await plane.advance(10_000);
    }
    expect(plane.statuses.at(-1)?.schemaDifferences).to.equal(undefined);
    expect(plane.table.revision).to.equal(revision);
    await plane.controller.stop();
  });

  describe('with servers whose schemas differ', () => {
    /** Servers of 1.35 and 1.36. Only the new one knows a colour. */
    function skewedPlane(settings = {}) {
      const plane = mixedPlane(settings);
      const [old, young] = [plane.servers.get(a), plane.servers.get(b)];
      if (old === undefined || young === undefined) throw new Error('no servers');
      const resource = (name: string) =>
        buildResource(name, { responseKind: { group: 'apps', version: 'v1', kind: name } });
      const groups = [buildGroup('apps', buildVersion('v1', resource('deployments'), resource('widgets')))];
      const kinds = ['deployments', 'widgets'];
      const document = (fields: Record<string, string>) =>
        buildOpenApi('apps/v1', kinds, { deployments: fields, widgets: { size: 'a size' } });
      Object.assign(old, {
        groups,
        version: { version: 'v1.35.4' },
        schemas: { hashes: new Map([['apps/v1', 'A1']]), digest: 'A1' },
        openapi: { 'apps/v1': document({ name: 'a name' }) },
      });
      Object.assign(young, {
        groups,
        version: { version: 'v1.36.3' },
        schemas: { hashes: new Map([['apps/v1', 'B1']]), digest: 'B1' },
        openapi: { 'apps/v1': document({ name: 'a name', colour: 'a colour' }) },
      });
      return { plane, old, young };
    }
    const writersOf = (plane: Plane, name: string) => {
      const { groupVersions, peers } = plane.table;
      const row = groupVersions.flatMap(({ resources }) => resources).find(({ resource }) => resource === name);
      return row?.writers?.map((at) => peers[at]?.hostname);
    };

    it('publishes which peers know all fields, and lists the fields in the status', async () => {
      const { plane } = skewedPlane();
      await plane.advance(3_000);
      expect(writersOf(plane, 'deployments')).to.deep.equal(['new']);
      expect(writersOf(plane, 'widgets')).to.equal(undefined);
      const status = plane.statuses.at(-1);
      expect(status?.fieldDifferentResources).to.equal(1);
      expect(status?.fieldDifferences?.[0]).to.deep.include({
        ...{ group: 'apps', resource: 'deployments', basis: 'Schemas' },
        appearing: { paths: ['colour'], count: 1 },
      });
      await plane.controller.stop();
    });

    it('reads each document once, and none while all are equal', async () => {
      const { plane, old, young } = skewedPlane();
      await plane.advance(60_000);
      expect(plane.calls.outline).to.equal(2);
      const { version, schemas } = young;
      Object.assign(old, { version, schemas });
      plane.renew('old', a, 'restarted');
      for (let turn = 0; turn < 10; turn += 1) {
        plane.renew('old', a, 'restarted');
        plane.renew('new', b);
        await plane.advance(10_000);
      }
      expect(plane.calls.outline).to.equal(2);
      expect(writersOf(plane, 'deployments')).to.equal(undefined);
      expect(plane.statuses.at(-1)).to.include({ fieldDifferentResources: 0 });
      await plane.controller.stop();
    });

    it('takes the newest version for right while a document cannot be read, and tries again', async () => {
      const { plane, old } = skewedPlane();
      const { openapi } = old;
      delete old.openapi;
      await plane.advance(3_000);
      expect(writersOf(plane, 'deployments')).to.deep.equal(['new']);
      expect(writersOf(plane, 'widgets')).to.deep.equal(['new']);
      if (openapi !== undefined) old.openapi = openapi;
      for (let turn = 0; turn < 4; turn += 1) {
        plane.renew('old', a);
        plane.renew('new', b);
        await plane.advance(10_000);
      }
      expect(writersOf(plane, 'widgets')).to.equal(undefined);
      await plane.controller.stop();
    });

    it('keeps the only server that knows a field as a writer while it is away, and doubts it until it has been read', async () => {
      const { plane, young } = skewedPlane();
      await plane.advance(3_000);
      young.probe = { kind: 'unreachable', detail: 'connection refused' };
      await plane.advance(5_000);
      expect(writersOf(plane, 'deployments')).to.deep.equal(['new']);
      expect(plane.table.peers.find(({ hostname }) => hostname === 'new')).to.include({ inDoubt: true });
      young.probe = { kind: 'ready' };
      await plane.advance(5_000);
      expect(plane.table.peers.find(({ hostname }) => hostname === 'new')).not.to.have.property('inDoubt');
      await plane.controller.stop();
    });

    it('ignores differences in the table if fieldSkew is Ignore, but still shows them', async () => {
      const { plane } = skewedPlane({ fieldSkew: 'Ignore' });
      await plane.advance(3_000);
      expect(writersOf(plane, 'deployments')).to.equal(undefined);
      expect(plane.table.fieldSkew).to.equal('Ignore');
      expect(plane.statuses.at(-1)?.fieldDifferentResources).to.equal(1);
      await plane.controller.stop();
    });
  });

  it('routes to a new server as soon as it is ready, and doubts until then', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const c = '10.0.0.3:6443';
    plane.servers.set(c, { probe: { kind: 'notReady', detail: 'starting' }, groups: [group('batch', 'v1', 'jobs')] });
    plane.renew('newest', c);
    await plane.advance(1_000);
    expect(plane.table.complete).to.equal(false);
    expect(whoServes(plane, 'jobs')).to.deep.equal([]);
    const server = plane.servers.get(c);
    if (server) server.probe = { kind: 'ready' };
    await plane.advance(500);
    expect(plane.table.complete).to.equal(true);
    expect(whoServes(plane, 'jobs')).to.deep.equal(['newest']);
    await plane.controller.stop();
  });

  for (const home of ['old', 'new'])
    it(`takes the list of a server that is not ready yet neither as news nor as nothing: ${home}`, async () => {
      const plane = mixedPlane();
      await plane.advance(2_000);
      const before = plane.bundles.at(-1);
      const address = home === 'old' ? a : b;
      const served = plane.servers.get(address)?.groups ?? [];
      // A server that starts lists only the APIs that it has set up so far.
      plane.servers.set(address, { probe: { kind: 'notReady', detail: 'starting' }, groups: [] });
      plane.renew(home, address, 'second');
      plane.controller.definitionsChanged();
      await plane.advance(15_000);
      expect(plane.bundles.at(-1)?.apis).to.equal(before?.apis);
      expect(plane.table.groupVersions).to.deep.equal(before?.table.groupVersions);
      expect(plane.table.complete).to.equal(false);
      expect(conditions(plane).Stale).to.equal('True');
      plane.servers.set(address, { probe: { kind: 'ready' }, groups: served });
      await plane.advance(1_000);
      expect(plane.bundles.at(-1)?.apis).to.equal(before?.apis);
      expect(plane.table.complete).to.equal(true);
      await plane.controller.stop();
    });

  it('merges nothing from a server that has never been ready, and is in doubt until then', async () => {
    const plane = createFakeControlPlane();
    plane.servers.set(a, { probe: { kind: 'notReady', detail: 'starting' }, groups: [] });
    plane.servers.set(b, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments', 'widgets')] });
    plane.renew('old', a);
    plane.renew('new', b);
    plane.start();
    await plane.advance(15_000);
    expect(plane.bundles.at(-1)?.apis).to.equal(
      encodeDiscoveryList([group('apps', 'v1', 'deployments', 'widgets')], { typeMeta: true }),
    );
    expect(plane.table.complete).to.equal(false);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await plane.controller.stop();
  });

  it('keeps the resources of a crashed server until it counts as gone', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    plane.servers.delete(b);
    await plane.advance(2_000);
    expect(plane.table.peers.map(({ hostname, state }) => [hostname, state])).to.deep.include(['new', 'Unreachable']);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    const renewOld = async (ms: number) => {
      for (let at = 0; at < ms; at += 10_000) {
        plane.renew('old', a);
        await plane.advance(10_000, 1_000);
      }
    };
    await renewOld(280_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await renewOld(40_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal([]);
    expect(plane.table.complete).to.equal(true);
    await plane.controller.stop();
  });

  it('gives no work to a server that refuses all users in its first ten seconds, but keeps one that was healthy', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const stateOf = (hostname: string) => plane.table.peers.find((peer) => peer.hostname === hostname)?.state;
    const probe = { kind: 'unauthorized', detail: 'HTTP 403 from /readyz' } as const;
    const [old, restarted] = [plane.servers.get(a), plane.servers.get(b)];
    if (old === undefined || restarted === undefined) throw new Error('no servers');
    plane.servers.delete(b);
    await plane.advance(2_000);
    plane.servers.set(b, { ...restarted, probe });
    old.probe = probe;
    await plane.advance(2_000);
    expect([stateOf('old'), stateOf('new')]).to.deep.equal(['Stale', 'NotReady']);
    await plane.advance(7_000);
    expect(stateOf('new')).to.equal('NotReady');
    await plane.advance(2_000);
    expect(stateOf('new')).to.equal('Stale');
    plane.renew('new', b, 'second');
    await plane.advance(1_000);
    expect(stateOf('new')).to.equal('NotReady');
    await plane.controller.stop();
  });

  it('keeps the resources of a cleanly stopped server, and recognises it after its restart', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const stopped = plane.servers.get(b);
    plane.servers.delete(b);
    plane.dropLease('new');
    await plane.advance(5_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    if (stopped) plane.servers.set(b, { ...stopped, groups: [group('apps', 'v1', 'deployments', 'gadgets')] });
    plane.renew('new', b, 'second');
    await plane.advance(1_000);
    expect(whoServes(plane, 'gadgets')).to.deep.equal(['new']);
    expect(whoServes(plane, 'widgets')).to.deep.equal([]);
    expect(plane.table.peers).to.have.length(2);
    await plane.controller.stop();
  });

  it('remembers a stopped server by its name while the EndpointSlice still lists its address', async () => {
    const plane = mixedPlane();
    plane.setEndpoints(a, b);
    await plane.advance(2_000);
    plane.servers.delete(b);
    plane.dropLease('new');
    await plane.advance(2_000);
    plane.setEndpoints(a);
    await plane.advance(5_000);
    expect(plane.table.peers.map(({ hostname, state }) => [hostname, state])).to.deep.include(['new', 'Unreachable']);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await plane.controller.stop();
  });

  it("takes over an earlier leader's knowledge of a server that is away", async () => {
    const first = mixedPlane();
    await first.advance(2_000);
    first.servers.delete(b);
    first.dropLease('new');
    await first.advance(5_000);
    await first.controller.stop();
    const second = createFakeControlPlane({}, first.bundles.at(-1));
    second.servers.set(a, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments')] });
    second.renew('old', a);
    second.start();
    await second.advance(3_000);
    expect(whoServes(second, 'widgets')).to.deep.equal(['new']);
    expect(second.bundles.every(({ table }) => table.groupVersions.length > 0)).to.equal(true);
    for (let at = 0; at < 320_000; at += 10_000) {
      second.renew('old', a);
      await second.advance(10_000, 1_000);
    }
    expect(whoServes(second, 'widgets')).to.deep.equal([]);
    await second.controller.stop();
  });

  it('leaves servers that it has not read yet their known resources, and confirms no 404', async () => {
    const first = mixedPlane();
    await first.advance(2_000);
    await first.controller.stop();
    const second = createFakeControlPlane({}, first.bundles.at(-1));
    for (const address of [a, b]) second.servers.set(address, { probe: new Promise(() => {}), groups: [] });
    second.renew('old', a);
    second.renew('new', b);
    second.start();
    await second.advance(8_000);
    expect(second.bundles.length).to.be.greaterThan(0);
    expect(second.table.complete).to.equal(false);
    expect(second.table.peers.map(({ state }) => state)).to.deep.equal(['Stale', 'Stale']);
    expect(whoServes(second, 'widgets')).to.deep.equal(['new']);
    // A restarted server listens before it is ready.
    second.renew('new', b, 'another process');
    await second.advance(1_000);
    expect(second.table.peers.find(({ hostname }) => hostname === 'new')?.state).to.equal('NotReady');
    await second.controller.stop();
  });

  it('publishes nothing worse than the existing table while a new leader reads for the first time', async () => {
    const plane = mixedPlane();
    await plane.advance(3_000);
    expect(plane.bundles.map(({ table }) => table.complete)).to.not.include(false);
    await plane.controller.stop();
  });

  it('keeps the last good document of a server that starts to send garbage, and is in doubt when it is old', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const server = plane.servers.get(b);
    if (server) server.failure = { kind: 'failed', reason: 'Malformed', message: 'not JSON' };
    await plane.advance(30_000);
    expect(plane.table.complete).to.equal(true);
    await plane.advance(40_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    expect(plane.table.complete).to.equal(false);
    expect(plane.table.doubts[0]).to.include({ reason: 'Malformed' });
    expect(conditions(plane)).to.include({ Ready: 'False', Stale: 'True', Converged: 'Unknown' });
    await plane.controller.stop();
  });

  it('reports Unknown with the name of a server that is away until it is back, consistent with all columns', async () => {
    const plane = mixedPlane();
    const [old, young] = [plane.servers.get(a), plane.servers.get(b)];
    if (old === undefined || young === undefined) throw new Error('no servers');
    old.groups = young.groups;
    await plane.advance(2_000);
    expect(conditions(plane)).to.include({ Ready: 'True', Converged: 'True' });
    const from = plane.statuses.length;
    plane.servers.delete(a);
    for (let turn = 0; turn < 12; turn += 1) {
      plane.renew('new', b);
      await plane.advance(10_000);
    }
    const told = (type: string) =>
      plane.statuses.slice(from).flatMap(({ conditions: list = [] }) => list.filter((entry) => entry.type === type));
    expect(new Set(told('Converged').map(({ status }) => status))).to.deep.equal(new Set(['Unknown']));
    for (const { message } of told('Converged')) expect(message).to.contain('old is ');
    const status = plane.statuses.at(-1);
    expect(status).to.include({ converged: 'Unknown' });
    expect(status?.peerCounts).to.deep.equal({ total: 2, ready: 1, stale: 1, unreachable: 1 });
    expect(told('Ready').at(-1)?.message).to.equal(
      'the routing table is complete, though only 1 of 2 peers are ready: old is Unreachable',
    );
    plane.servers.set(a, young);
    plane.renew('old', a, 'second');
    await plane.advance(2_000);
    expect(conditions(plane)).to.include({ Ready: 'True', Stale: 'False', Converged: 'Unknown' });
    await plane.advance(6_000);
    expect(conditions(plane)).to.include({ Ready: 'True', Stale: 'False', Converged: 'True' });
    await plane.controller.stop();
  });

  it('drops a deleted CRD at once, before any server has noticed', async () => {
    const plane = mixedPlane();
    const crd = {
      spec: { group: 'apps', names: { plural: 'widgets' }, versions: [{ name: 'v1', served: true }] },
    };
    plane.crds.set('widgets.apps', crd);
    await plane.advance(2_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    plane.crds.delete('widgets.apps');
    plane.controller.definitionsChanged();
    await plane.settle();
    expect(whoServes(plane, 'widgets')).to.deep.equal([]);
    expect(plane.bundles.at(-1)?.apis).not.to.contain('widgets');
    await plane.controller.stop();
  });

  it('confirms no 404 for a deleted custom resource until each server was asked whether it has it built in', async () => {
    const plane = mixedPlane();
    const widgets = { group: 'apps', names: { plural: 'widgets' }, versions: [{ name: 'v1', served: true }] };
    plane.crds.set('widgets.apps', { spec: widgets });
    await plane.advance(2_000);
    plane.crds.delete('widgets.apps');
    plane.controller.definitionsChanged();
    await plane.advance(4_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal([]);
    expect(plane.table.doubts.map(({ reason }) => reason)).to.deep.equal(['Settling']);
    await plane.advance(4_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    expect(plane.table.complete).to.equal(true);
    plane.crds.set('widgets.apps', { spec: widgets });
    await plane.advance(2_000);
    const server = plane.servers.get(b);
    if (server) server.groups = [group('apps', 'v1', 'deployments')];
    plane.crds.delete('widgets.apps');
    plane.controller.definitionsChanged();
    await plane.advance(1_500);
    expect(plane.table.complete, 'once every server has dropped it').to.equal(true);
    await plane.controller.stop();
  });

  it('reports in the status that the table cannot be written, and writes it later', async () => {
    const plane = mixedPlane();
    plane.failing.publish = true;
    await plane.advance(3_000);
    expect(plane.bundles).to.have.length(0);
    expect(conditions(plane)).to.include({ Ready: 'False', Stalled: 'False' });
    plane.failing.publish = 'terminal';
    await plane.advance(20_000);
    expect(conditions(plane)).to.include({ Ready: 'False', Stalled: 'True' });
    plane.failing.publish = false;
    await plane.advance(20_000);
    expect(plane.table.complete).to.equal(true);
    expect(conditions(plane)).to.include({ Ready: 'True', Stalled: 'False' });
    await plane.controller.stop();
  });

  it('repeats a failed pass, at growing intervals', async () => {
    const plane = mixedPlane();
    plane.failing.status = true;
    await plane.advance(20_000);
    expect(plane.statuses).to.deep.equal([]);
    expect(plane.calls.statusWrite).to.be.within(4, 12);
    plane.failing.status = false;
    await plane.advance(6_000);
    expect(conditions(plane)).to.include({ Ready: 'True', Stale: 'False' });
    await plane.controller.stop();
  });

  it('runs one pass per change, even for its own writes', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const passesFor = async (change: () => void) => {
      const before = plane.calls.passes;
      change();
      await plane.settle();
      return plane.calls.passes - before;
    };
    const written = plane.statuses.length;
    // The operator asks for the identity at the address at once, and gets no answer for now.
    plane.servers.set('10.0.0.3:6443', { probe: new Promise(() => {}), groups: [] });
    expect(await passesFor(() => plane.renew('third', '10.0.0.3:6443'))).to.equal(1);
    expect(plane.statuses.length).to.equal(written + 1);
    expect(await passesFor(() => plane.dropLease('third'))).to.equal(1);
    expect(await passesFor(() => plane.renew('old', a))).to.equal(1);
    // The watch of the object shows the controller's own write.
    expect(await passesFor(() => plane.controller.statusFound(plane.statuses.at(-1)))).to.equal(0);
    await plane.controller.stop();
  });

  it('sees a change at once that happens while it writes', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const young = plane.servers.get(b);
    const tell = plane.statuses.push.bind(plane.statuses);
    let told = 0;
    plane.statuses.push = (...statuses) => {
      told += 1;
      if (told === 1) plane.dropLease('new');
      return tell(...statuses);
    };
    if (young) young.probe = { kind: 'notReady', detail: 'draining' };
    await plane.advance(1_250);
    // No time passes, so no later turn can have found it.
    expect(plane.table.peers.find(({ hostname }) => hostname === 'new')?.state).to.equal('NotReady');
    expect(told).to.equal(2);
    await plane.controller.stop();
  });

  it('confirms a table that holds, but not one that it could not write', async () => {
    const plane = mixedPlane();
    await plane.advance(60_000);
    const confirmed = plane.calls.confirm;
    expect(plane.calls.confirmed).to.equal(plane.table.revision);
    expect(confirmed).to.be.within(5, 7);
    plane.failing.publish = true;
    plane.servers.get(b)?.groups.push(group('batch', 'v1', 'jobs'));
    const server = plane.servers.get(b);
    if (server) server.groups = [...server.groups];
    await plane.advance(60_000);
    expect(plane.calls.confirm - confirmed).to.be.at.most(2);
    await plane.controller.stop();
  });

  it('confirms at once when a proxy asks, answers each question once, and answers none while in trouble', async () => {
    const plane = mixedPlane();
    plane.controller.confirmationAsked('early');
    await plane.advance(2_000);
    const confirmed = plane.calls.confirm;
    plane.controller.confirmationAsked('one');
    plane.controller.confirmationAsked('two');
    await plane.settle();
    expect(plane.calls.answered).to.deep.equal(['early', 'one', 'two']);
    expect(plane.calls.confirm).to.be.within(confirmed + 1, confirmed + 2);
    plane.failing.publish = true;
    const server = plane.servers.get(b);
    if (server) server.groups = [...server.groups, group('batch', 'v1', 'jobs')];
    await plane.advance(20_000);
    const before = plane.calls.confirm;
    plane.controller.confirmationAsked('three');
    await plane.advance(2_000);
    expect(plane.calls.confirm).to.equal(before);
    expect(plane.calls.answered).not.to.include('three');
    await plane.controller.stop();
  });

  it('reports in the status that it cannot confirm, and revokes it', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    plane.failing.confirm = true;
    await plane.advance(20_000);
    expect(plane.statuses.at(-1)?.conditions?.find(({ type }) => type === 'Ready')).to.include({
      status: 'False',
      reason: 'ConfirmFailed',
    });
    plane.failing.confirm = false;
    await plane.advance(20_000);
    expect(conditions(plane)).to.include({ Ready: 'True' });
    await plane.controller.stop();
  });

  it('continues to confirm while the status cannot be written, and writes it later', async () => {
    const plane = mixedPlane();
    plane.failing.status = true;
    await plane.advance(60_000);
    expect(plane.calls.confirm).to.be.within(5, 7);
    expect(plane.statuses).to.deep.equal([]);
    plane.failing.status = false;
    await plane.advance(10_000);
    expect(conditions(plane)).to.include({ Ready: 'True' });
    await plane.controller.stop();
  });

  it('restores its conditions once after another client has overwritten them', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const written = plane.statuses.length;
    const status = plane.statuses.at(-1);
    plane.controller.statusFound(status);
    await plane.advance(2_000);
    expect(plane.statuses).to.have.length(written);
    const stalled = { type: 'Stalled', status: 'True' as const, reason: 'Forbidden', message: 'no operator can lead' };
    const rest = (status?.conditions ?? []).filter(({ type }) => type !== 'Stalled');
    const lastTransitionTime = '2026-01-01T00:00:00Z';
    plane.controller.statusFound({ ...status, conditions: [...rest, { ...stalled, lastTransitionTime }] });
    await plane.advance(2_000);
    expect(conditions(plane)).to.include({ Stalled: 'False' });
    expect(plane.statuses).to.have.length(written + 1);
    await plane.controller.stop();
  });

  it('confirms no 404 while the Leases cannot be watched or their watch has died silently', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    plane.failing.leases = { since: plane.now(), message: 'forbidden' };
    await plane.advance(4_000);
    expect(plane.table.complete).to.equal(true);
    await plane.advance(4_000);
    expect(plane.table.doubts[0]).to.include({ reason: 'LeasesUnknown' });
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    delete plane.failing.leases;
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(true);
    plane.failing.silentSince = plane.now();
    await plane.advance(33_000);
    expect(plane.table.doubts[0]).to.include({ reason: 'LeasesUnknown' });
    const confirmed = plane.calls.confirm;
    await plane.advance(30_000);
    expect(plane.calls.confirm).to.equal(confirmed);
    await plane.controller.stop();
  });

  it('reads the documents of a steady control plane once per interval', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const before = plane.calls.fetch;
    await plane.advance(100_000);
    expect(plane.calls.fetch - before).to.be.within(18, 22);
    await plane.controller.stop();
  });

  it('confirms no 404 while two Leases with one address are renewed, and lets neither take it from the other', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const holder = plane.table.peers.find(({ address }) => address === b)?.hostname;
    for (let turn = 0; turn < 6; turn += 1) {
      plane.renew('old', a);
      plane.renew('new', b);
      plane.renew('behind the same address', b);
      await plane.advance(10_000);
      expect(plane.table.complete).to.equal(false);
      expect(plane.table.peers.find(({ address }) => address === b)?.hostname).to.equal(holder);
      expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    }
    for (let turn = 0; turn < 4; turn += 1) {
      plane.renew('old', a);
      plane.renew('new', b);
      await plane.advance(10_000);
    }
    expect(plane.table.complete).to.equal(true);
    await plane.controller.stop();
  });

  it('remembers the resources of a departed server over a change of the spec', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    plane.servers.delete(b);
    plane.dropLease('new');
    await plane.advance(5_000);
    await plane.restart({ generation: 2 });
    await plane.advance(5_000);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await plane.controller.stop();
  });

  it('keeps connections to servers that are away, but not to those that have left', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    expect(plane.calls.kept).to.have.members([a, b]);
    plane.servers.delete(b);
    plane.dropLease('new');
    await plane.advance(60_000);
    expect(plane.calls.kept, 'it is away, and not gone').to.have.members([a, b]);
    await plane.advance(400_000);
    expect(plane.calls.kept).to.deep.equal([a]);
    await plane.controller.stop();
  });

  it('takes no document of another address for fresh after a change of the spec, and reads no refused address', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    const c = '10.0.0.3:6443';
    plane.servers.set(c, { probe: { kind: 'notReady', detail: 'starting' }, groups: [] });
    plane.renew('new', c);
    await plane.restart({ generation: 2 });
    await plane.advance(1_000);
    expect(plane.table.complete).to.equal(false);
    await plane.restart({ checkAddress: (address) => (address === c ? { ok: false, reason: 'no' } : { ok: true }) });
    await plane.advance(1_000);
    expect(plane.table.peers.find(({ hostname }) => hostname === 'new')?.state).to.equal('Refused');
    await plane.controller.stop();
  });

  it('takes no server for abandoned because Leases could not be renewed or watched for a while', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    plane.servers.delete(b);
    await plane.advance(2_000);
    plane.failing.silentSince = plane.now();
    await plane.advance(60_000);
    delete plane.failing.silentSince;
    plane.renew('old', a);
    await plane.advance(5_000);
    // It may be as alive as the other one, whose renewal has arrived by now.
    expect(plane.table.peers.map(({ hostname, state }) => [hostname, state])).to.deep.include(['new', 'Unreachable']);
    expect(plane.table.complete).to.equal(false);
    for (let turn = 0; turn < 4; turn += 1) {
      plane.renew('old', a);
      await plane.advance(10_000);
    }
    expect(plane.table.complete).to.equal(true);
    await plane.controller.stop();
  });

  it('does not take a nameless server for the one whose address another has', async () => {
    const plane = mixedPlane();
    const c = '10.0.0.3:6443';
    plane.servers.set(c, { probe: { kind: 'ready' }, groups: [] });
    plane.setEndpoints(a, b, c);
    plane.renew('behind the same address', b);
    await plane.advance(3_000);
    expect(plane.table.doubts.map(({ reason }) => reason)).to.deep.equal(['DuplicateAddress']);
    await plane.controller.stop();
  });

  it('is in doubt about a server without a Lease that was away until it has been read again', async () => {
    const plane = mixedPlane({
      sources: ['Static', 'LeaseAnnotation'],
      staticEntries: [{ peer: 'spare', address: b }],
    });
    plane.dropLease('new');
    const groups = [group('apps', 'v1', 'deployments')];
    plane.servers.set(b, { probe: { kind: 'ready' }, groups });
    await plane.advance(2_000);
    plane.servers.delete(b);
    await plane.advance(3_000);
    expect(plane.table.complete).to.equal(true);
    const failure = { kind: 'failed', reason: 'Timeout', message: 'slow' } as const;
    plane.servers.set(b, { probe: { kind: 'ready' }, groups, failure });
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(false);
    await plane.controller.stop();
  });

  it('gives a listed server the full time to answer at a new address', async () => {
    const entry = (address: string) => [{ peer: 'spare', address }];
    const plane = mixedPlane({ sources: ['Static', 'LeaseAnnotation'], staticEntries: entry('10.0.0.3:6443') });
    for (let turn = 0; turn < 32; turn += 1) {
      plane.renew('old', a);
      plane.renew('new', b);
      await plane.advance(10_000);
    }
    expect(plane.table.complete).to.equal(true);
    await plane.restart({ generation: 2, staticEntries: entry('10.0.0.4:6443') });
    await plane.advance(3_000);
    expect(plane.table.complete).to.equal(false);
    await plane.controller.stop();
  });

  describe('with servers that write no address into their Leases', () => {
    const serves = [group('apps', 'v1', 'deployments')];
    const plain = () => {
      const sources: AddressSource[] = ['Static', 'Node', 'EndpointSlice', 'LeaseAnnotation'];
      const plane = createFakeControlPlane({ sources });
      for (const [address, name] of [
        [a, 'old'],
        [b, 'new'],
      ] as const)
        plane.servers.set(address, { probe: { kind: 'ready', names: ['kubernetes', name] }, groups: serves });
      plane.renew('old', '');
      plane.renew('new', '');
      return plane;
    };
    const standing = (plane: Plane) =>
      plane.table.peers.map(({ hostname, address, state }) => [hostname, address, state]);
    const both = [
      ['new', b, 'Ready'],
      ['old', a, 'Ready'],
    ];
    const places = (plane: Plane) => plane.table.peers.map(({ address, state }) => `${address} ${state}`).sort();
    /** Advances the time while these servers renew their Leases. */
    const live = async (plane: Plane, seconds: number, ...names: string[]) => {
      for (let turn = 0; turn < seconds; turn += 5) {
        for (const name of names) plane.renew(name, '');
        await plane.advance(5_000);
      }
    };
    /** Servers whose certificates name no host, so they can only be counted. */
    const anonymous = (...addresses: string[]) => {
      const plane = plain();
      for (const address of [a, b]) plane.servers.set(address, { probe: { kind: 'ready' }, groups: serves });
      plane.setEndpoints(...addresses);
      plane.start();
      return plane;
    };

    it('uses the addresses of Nodes at which servers answer', async () => {
      const plane = plain();
      plane.setNode('old', '192.0.2.1', 'fd00::1', '10.0.0.1');
      plane.setNode('new', '10.0.0.2', '192.0.2.2');
      plane.start();
      await plane.advance(3_000);
      expect(standing(plane).sort()).to.deep.equal(both);
      expect(plane.table.complete).to.equal(true);
      await plane.controller.stop();
    });

    it('counts each once without any Node, and with one address on every Node', async () => {
      const plane = plain();
      plane.setEndpoints(a, b);
      plane.start();
      await plane.advance(3_000);
      expect(standing(plane).sort()).to.deep.equal(both);
      expect(plane.table.complete).to.equal(true);
      for (const name of ['old', 'new']) plane.setNode(name, '203.0.113.1');
      for (const address of [a, b]) plane.servers.set(address, { probe: { kind: 'ready' }, groups: serves });
      await plane.restart({ generation: 2 });
      await live(plane, 5, 'old', 'new');
      expect(places(plane)).to.deep.equal([`${a} Ready`, `${b} Ready`]);
      expect(plane.table.complete).to.equal(true);
      expect(conditions(plane)).to.include({ Ready: 'True', Converged: 'True' });
      await plane.controller.stop();
    });

    it('trusts a count once it has lasted, and at once when it comes back', async () => {
      const plane = anonymous(a, b);
      await live(plane, 10, 'old', 'new');
      expect(places(plane)).to.deep.equal([`${a} Ready`, `${b} Ready`]);
      expect(plane.table.doubts.map(({ reason }) => reason)).to.deep.equal(['CountUnsettled']);
      await live(plane, 30, 'old', 'new');
      expect(plane.table.complete).to.equal(true);
      plane.servers.delete(b);
      plane.setEndpoints(a);
      await live(plane, 15, 'old', 'new');
      expect(plane.table.complete).to.equal(false);
      plane.servers.set(b, { probe: { kind: 'ready' }, groups: serves });
      plane.setEndpoints(a, b);
      await live(plane, 5, 'old', 'new');
      expect(plane.table.complete).to.equal(true);
      await plane.controller.stop();
    });

    it('confirms no 404 while the Lease of one starting server and the address of another are there', async () => {
      const plane = anonymous(a);
      plane.dropLease('old');
      plane.servers.set(b, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments', 'widgets')] });
      await live(plane, 10, 'new');
      expect(places(plane)).to.deep.equal([`${a} Ready`]);
      expect(plane.bundles.map(({ table }) => table.complete)).not.to.include(true);
      plane.setEndpoints(a, b);
      await live(plane, 40, 'old', 'new');
      expect(plane.table.complete).to.equal(true);
      expect(plane.table.peers).to.have.length(2);
      await plane.controller.stop();
    });

    it('confirms no 404 while one server starts whose neighbour has lost its Lease', async () => {
      const plane = anonymous(a, b);
      await live(plane, 40, 'old', 'new');
      plane.setEndpoints(a);
      plane.servers.delete(b);
      await live(plane, 10, 'old', 'new');
      const before = plane.bundles.length;
      plane.dropLease('old');
      await live(plane, 10, 'new');
      expect(plane.bundles.slice(before).map(({ table }) => table.complete)).not.to.include(true);
      expect(plane.table.complete).to.equal(false);
      await plane.controller.stop();
    });

    it('is in doubt while there are more Leases than addresses without one', async () => {
      const plane = plain();
      plane.setEndpoints(a);
      plane.servers.set(a, { probe: { kind: 'ready' }, groups: serves });
      plane.start();
      await plane.advance(3_000);
      expect(plane.table.complete).to.equal(false);
      expect(plane.table.doubts.map(({ reason }) => reason)).to.deep.equal(['NoAddress', 'NoAddress']);
      await plane.controller.stop();
    });

    it('finds a renamed server once its old Lease is deleted', async () => {
      const plane = plain();
      plane.setEndpoints(a, b);
      plane.setNode('old', '10.0.0.1');
      plane.setNode('new', '10.0.0.2');
      plane.start();
      await plane.advance(3_000);
      plane.dropLease('old');
      await live(plane, 30, 'renamed', 'new');
      expect(plane.table.complete).to.equal(true);
      expect(places(plane)).to.deep.equal([`${a} Ready`, `${b} Ready`]);
      await plane.controller.stop();
    });

    for (const named of [true, false])
      it(`finds a renamed server once its old Lease is abandoned, ${named ? 'with' : 'without'} Nodes`, async () => {
        const plane = plain();
        plane.setEndpoints(a, b);
        if (named) {
          plane.setNode('old', '10.0.0.1');
          plane.setNode('new', '10.0.0.2');
        }
        plane.start();
        await plane.advance(3_000);
        plane.servers.set(a, { probe: { kind: 'ready', names: ['kubernetes', 'old'] }, groups: serves });
        for (let turn = 0; turn < 4; turn += 1) {
          plane.renew('renamed', '');
          plane.renew('new', '');
          await plane.advance(10_000);
          if (turn === 0) expect(plane.table.complete).to.equal(false);
        }
        await live(plane, 30, 'renamed', 'new');
        expect(plane.table.complete).to.equal(true);
        expect(places(plane)).to.deep.equal([`${a} Ready`, `${b} Ready`]);
        await plane.controller.stop();
      });
  });

  it("uses an earlier leader's knowledge, even if it could be read only after the peers were found", async () => {
    const first = mixedPlane();
    await first.advance(2_000);
    first.servers.delete(b);
    await first.advance(2_000);
    await first.controller.stop();
    const second = createFakeControlPlane({}, first.bundles.at(-1));
    second.servers.set(a, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments')] });
    second.failing.read = true;
    second.renew('old', a);
    second.renew('new', b);
    second.start();
    await second.advance(5_000);
    second.failing.read = false;
    for (let turn = 0; turn < 4; turn += 1) {
      second.renew('old', a);
      await second.advance(10_000);
    }
    expect(second.table.complete).to.equal(true);
    expect(whoServes(second, 'widgets')).to.deep.equal(['new']);
    await second.controller.stop();
  });

  it('is in doubt while a server lists a group-version but not its resources', async () => {
    const plane = mixedPlane();
    const server = plane.servers.get(a);
    const listed = { name: 'batch', versions: [{ version: 'v1', freshness: 'Stale' as const, resources: [] }] };
    server?.groups.push(listed);
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(false);
    expect(plane.table.doubts).to.deep.include.members([
      { peer: plane.table.peers[0]?.id, reason: 'NotListed', message: 'it lists batch/v1, but not its resources' },
    ]);
    await plane.controller.stop();
  });

  it('confirms no 404 while the EndpointSlice cannot be read, because only it lists servers without a Lease', async () => {
    const plane = mixedPlane();
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(true);
    plane.failing.endpoints = { since: plane.now(), message: 'forbidden' };
    await plane.advance(6_000);
    expect(plane.table.complete).to.equal(false);
    expect(plane.table.doubts.map(({ reason }) => reason)).to.deep.equal(['EndpointsUnknown']);
    delete plane.failing.endpoints;
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(true);
    await plane.controller.stop();
  });

  it('takes a server in the EndpointSlice for live, although it does not renew its Lease', async () => {
    const plane = mixedPlane();
    plane.setEndpoints(a, b);
    await plane.advance(2_000);
    plane.servers.delete(b);
    for (let turn = 0; turn < 8; turn += 1) {
      plane.renew('old', a);
      await plane.advance(10_000);
    }
    expect(plane.table.complete).to.equal(false);
    plane.setEndpoints(a);
    await plane.advance(2_000);
    expect(plane.table.complete).to.equal(true);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await plane.controller.stop();
  });

  it('keeps the resources of a crashed server whose address is unknown now, and ignores one that was removed', async () => {
    const spare = { peer: 'spare', address: '10.0.0.4:6443' };
    const plane = createFakeControlPlane({ sources: ['Static', 'LeaseAnnotation'], staticEntries: [spare] });
    plane.servers.set(a, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'deployments')] });
    plane.servers.set(b, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'widgets')] });
    plane.servers.set(spare.address, { probe: { kind: 'ready' }, groups: [group('apps', 'v1', 'gadgets')] });
    plane.renew('old', a);
    plane.renew('new', b);
    plane.start();
    await plane.advance(2_000);
    expect(whoServes(plane, 'gadgets')).to.have.length(1);
    await plane.restart({ staticEntries: [] });
    await plane.advance(2_000);
    expect(whoServes(plane, 'gadgets')).to.deep.equal([]);
    plane.servers.delete(b);
    plane.renew('new', '');
    for (let turn = 0; turn < 5; turn += 1) {
      plane.renew('old', a);
      await plane.advance(10_000);
    }
    expect(plane.table.complete).to.equal(true);
    expect(whoServes(plane, 'widgets')).to.deep.equal(['new']);
    await plane.controller.stop();
  });
});
