import { expect } from 'chai';
import fc from 'fast-check';
import { encodeDiscoveryList } from '../../src/domain/encode-discovery.ts';
import { mergeDiscovery } from '../../src/domain/merge-discovery.ts';
import { parseDiscoveryList } from '../../src/domain/parse-discovery.ts';
import type { RequestInfo } from '../../src/domain/request-info.ts';
import { routeRequest } from '../../src/domain/route-request.ts';
import { indexTable } from '../../src/domain/table-index.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import {
  controlPlaneHistories,
  type History,
  historyBounds,
  historyConfirmEveryMs,
  keysOf,
  type Moment,
  runHistory,
} from '../support/control-plane-history.ts';

/** Longer than a poll, a backoff and a tick: by then, the operator must know a healthy server's news. */
const newsAfterMs = 13_000;
/** A server in trouble has answered within this time, or is in doubt. */
const doubtAfterMs = historyBounds.staleAfterMs + 3_000;
/** A failed pass runs again within this time. */
const retryMs = 6_000;
/** A new leader keeps the published table until first answers are in, or are late. */
const takeoverMs = 6_000;
/**
 * Tables are confirmed at fixed intervals, regardless of their publication: one may wait for the next interval and a
 * tick.
 */
const confirmedAfterMs = historyConfirmEveryMs + 1_500;
/** Many more on demand, such as `PEERDISCOVERY_HISTORIES=5000 mocha test/operator/controller-history.test.ts`. */
const numRuns = Number(process.env.PEERDISCOVERY_HISTORIES ?? 60);

/**
 * Every resource that must be listed or in doubt: those that a server has from the moment its Lease names a new
 * process, and later ones once it has listed them for long enough. The operator cannot tell whether a server lies, so a
 * claim counts until it is withdrawn.
 */
function mustBeKnown({ nowMs, ledForMs, truth }: Moment): ReadonlyMap<string, string> {
  const known = new Map<string, string>();
  for (const { name, running, brought, trouble, wellSinceMs, lists } of truth)
    if (running)
      for (const [key, sinceMs] of lists) {
        const well = trouble === undefined && nowMs - Math.max(wellSinceMs, sinceMs) >= newsAfterMs;
        const told = !isDefined(key) && brought.has(key) && ledForMs >= takeoverMs;
        if (told || well || nowMs - sinceMs >= doubtAfterMs) known.set(key, name);
      }
  return known;
}

/** Resources that come and go while servers run. */
function isDefined(key: string): boolean {
  return /^d\d\./.test(key);
}

function listedIn({ plane }: Moment): ReadonlySet<string> {
  const rows = plane.table.groupVersions.flatMap(({ group, version, resources }) =>
    resources.filter(({ peers }) => peers.length > 0).map(({ resource }) => `${group}/${version}/${resource}`),
  );
  return new Set(rows);
}

/** No resource of a live server is missing from both table and document unless both table and status are in doubt. */
function expectNothingMissing(moment: Moment): void {
  const { plane } = moment;
  if (plane.bundles.length === 0) return;
  const listed = listedIn(moment);
  const documented = new Set(keysOf(parseDiscoveryList(JSON.parse(plane.bundles.at(-1)?.apis ?? '{}'))));
  for (const [key, server] of mustBeKnown(moment)) {
    if (listed.has(key) && documented.has(key)) continue;
    expect(plane.table.complete, `${key} of ${server} at ${moment.nowMs} ms is missing, and the table`).to.equal(false);
    if (moment.statusWorksForMs < retryMs) continue;
    const stale = plane.statuses.at(-1)?.conditions?.find(({ type }) => type === 'Stale');
    expect(stale?.status, `the condition Stale while ${key} of ${server} is missing`).not.to.equal('False');
  }
}

/** With any server as home, a request for a live server's resource never ends in a final 404. */
function expectNoWrongNotFound(moment: Moment): void {
  const { plane, truth } = moment;
  if (plane.bundles.length === 0) return;
  const index = indexTable(plane.table);
  for (const key of mustBeKnown(moment).keys()) {
    const [group = '', version = '', resource = ''] = key.split('/');
    const info = { isResourceRequest: true, verb: 'list', path: '', group, version, resource, subresource: '' };
    for (const home of truth) {
      if (!home.running || home.serves.has(key)) continue;
      const view = {
        home: index.peerAt(home.address),
        usable: () => true,
        lastResort: () => true,
        alreadyRouted: false,
        tableTooOld: false,
      };
      const decision = routeRequest(index, info as unknown as RequestInfo, view, { discovery: false });
      const believed = decision.kind === 'home' && decision.notFound.kind === 'trust';
      expect(believed, `a 404 of ${home.name} for ${key} at ${moment.nowMs} ms is believed`).to.equal(false);
    }
  }
}

/** Once all is quiet, document and table are exactly what the running servers serve. */
function expectConverged(moment: Moment): void {
  // No peer is remembered longer than its Lease and the configured time.
  expect(new Set(moment.plane.controller.observations().keys())).to.deep.equal(new Set(moment.plane.leases.keys()));
  if (!moment.truth.some(({ running }) => running)) return;
  for (const { lists, serves } of moment.truth) expect(new Set(lists.keys())).to.deep.equal(new Set(serves.keys()));
  expectAgreement(moment);
}

/** True once every server has been healthy for long, and all have listed the same for long. */
function isSettled({ truth, quietForMs, plane }: Moment): boolean {
  const allWell = truth.every(({ started, running, trouble }) => !started || (running && trouble === undefined));
  return allWell && !plane.failing.status && quietForMs >= newsAfterMs;
}

/** Only a published table is confirmed, and one that is old enough is confirmed. */
function expectConfirmed({ plane, nowMs, ledForMs }: Moment, publishedForMs: number): void {
  const { revision } = plane.table;
  expect(plane.calls.confirmed, `the confirmed revision at ${nowMs} ms`).to.be.at.most(revision);
  if (Math.min(publishedForMs, ledForMs) < confirmedAfterMs) return;
  expect(plane.calls.confirmed, `the confirmed revision at ${nowMs} ms`).to.equal(revision);
}

/** Document, table and status are exactly what the running servers list, lies included. */
function expectAgreement({ plane, truth }: Moment): void {
  const live = truth.filter(({ running }) => running);
  const documents = new Map(
    live.map(({ name, address }) => [identityLeaseName(name), plane.servers.get(address)?.groups ?? []]),
  );
  const [local = ''] = [...documents.keys()].sort();
  expect(plane.bundles.at(-1)?.apis).to.equal(
    encodeDiscoveryList(mergeDiscovery(local, documents), { typeMeta: true }),
  );
  const { complete, peers, groupVersions, revision } = plane.table;
  expect(complete).to.equal(true);
  const listed = new Map<string, readonly string[]>();
  for (const { group, version, resources } of groupVersions)
    for (const row of resources)
      listed.set(`${group}/${version}/${row.resource}`, row.peers.map((at) => peers[at]?.hostname ?? '').sort());
  const union = new Map<string, string[]>();
  for (const { name, lists } of live) for (const key of lists.keys()) union.set(key, [...(union.get(key) ?? []), name]);
  expect([...listed.keys()].sort()).to.deep.equal([...union.keys()].sort());
  for (const [key, names] of union) expect(listed.get(key), key).to.deep.equal([...names].sort());
  const status = plane.statuses.at(-1);
  expect(status?.revision).to.equal(revision);
  expect(status?.peerCounts).to.deep.include({ total: live.length, ready: live.length });
  const conditions = Object.fromEntries((status?.conditions ?? []).map(({ type, status: holds }) => [type, holds]));
  const alike = [...union.values()].every((names) => names.length === live.length);
  expect(conditions).to.deep.equal({
    Ready: 'True',
    Stale: 'False',
    Converged: alike ? 'True' : 'False',
    Stalled: 'False',
  });
}

/** Resolves to the number of settled moments before the end. */
async function expectLaws(history: History, everyMs = 500): Promise<number> {
  let settled = 0;
  let seen = { bundles: 0, sinceMs: 0 };
  const end = await runHistory(history, (moment) => {
    const { nowMs, plane } = moment;
    if (plane.bundles.length !== seen.bundles) seen = { bundles: plane.bundles.length, sinceMs: nowMs };
    if (plane.bundles.length > 0) expectConfirmed(moment, nowMs - seen.sinceMs);
    if (nowMs % everyMs !== 0) return;
    expectNothingMissing(moment);
    expectNoWrongNotFound(moment);
    if (isSettled(moment)) {
      expectAgreement(moment);
      settled++;
    }
  });
  expectConverged(end);
  const revisions = end.plane.bundles.map(({ table }) => table.revision);
  expect(revisions).to.deep.equal(revisions.map((_, index) => (revisions[0] ?? 0) + index));
  for (const { table } of end.plane.bundles) expect(table.complete).to.equal(table.doubts.length === 0);
  return settled;
}

describe('the controller over any history of a control plane', function () {
  this.timeout(600_000);

  it('never misses a resource without doubt, never trusts a wrong 404, and ends at what the live servers serve', async () => {
    let settled = 0;
    await fc.assert(
      fc.asyncProperty(controlPlaneHistories(18, { maxServers: 5, moreResources: 0 }), async (history) => {
        settled += await expectLaws(history);
      }),
      { numRuns },
    );
    // A law that is never checked shows nothing.
    expect(settled).to.be.greaterThan(numRuns);
  });

  it('does so for a hundred servers of thousands of resources', async () => {
    const some = { maxServers: 100, moreResources: 5_000 };
    await fc.assert(
      fc.asyncProperty(controlPlaneHistories(12, some), async (history) => {
        // Only a few moments are checked: each check covers half a million entries.
        await expectLaws({ ...history, servers: some.maxServers }, 10_000);
      }),
      { numRuns: Number(process.env.PEERDISCOVERY_LARGE_HISTORIES ?? 1), endOnFailure: true },
    );
  });
});
