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
  keysOf,
  type Moment,
  runHistory,
} from '../support/control-plane-history.ts';

/** More than a poll, a backoff and a tick: a well server's news must be known by then. */
const newsAfterMs = 13_000;
/** A server in trouble was last heard within this, or is in doubt. */
const doubtAfterMs = historyBounds.staleAfterMs + 3_000;
/** Thousands on demand, such as `PEERDISCOVERY_HISTORIES=5000 mocha test/operator/controller-history.test.ts`. */
const numRuns = Number(process.env.PEERDISCOVERY_HISTORIES ?? 60);

/**
 * Everything that must be listed, or doubted: what a server brings with it from the moment that its Lease names a new
 * process, and what was defined while it ran once that has been served for long enough.
 */
function mustBeKnown({ nowMs, truth }: Moment): ReadonlyMap<string, string> {
  const known = new Map<string, string>();
  for (const { name, running, trouble, wellSinceMs, serves } of truth)
    if (running)
      for (const [key, sinceMs] of serves) {
        const well = trouble === undefined && nowMs - Math.max(wellSinceMs, sinceMs) >= newsAfterMs;
        if (!isDefined(key) || well || nowMs - sinceMs >= doubtAfterMs) known.set(key, name);
      }
  return known;
}

/** Comes and goes while servers run. */
function isDefined(key: string): boolean {
  return /^d\d\./.test(key);
}

function listedIn({ plane }: Moment): ReadonlySet<string> {
  const rows = plane.table.groupVersions.flatMap(({ group, version, resources }) =>
    resources.filter(({ peers }) => peers.length > 0).map(({ resource }) => `${group}/${version}/${resource}`),
  );
  return new Set(rows);
}

/** Nothing that a live server serves is missing from table and document at once unless both table and status doubt. */
function expectNothingMissing(moment: Moment): void {
  const { plane } = moment;
  if (plane.bundles.length === 0) return;
  const listed = listedIn(moment);
  const documented = new Set(keysOf(parseDiscoveryList(JSON.parse(plane.bundles.at(-1)?.apis ?? '{}'))));
  for (const [key, server] of mustBeKnown(moment)) {
    if (listed.has(key) && documented.has(key)) continue;
    expect(plane.table.complete, `${key} of ${server} at ${moment.nowMs} ms is missing, and the table`).to.equal(false);
    const stale = plane.statuses.at(-1)?.conditions?.find(({ type }) => type === 'Stale');
    expect(stale?.status, `the condition Stale while ${key} of ${server} is missing`).not.to.equal('False');
  }
}

/** With any server for home, a request for what a live server serves never ends in a 404 that is believed. */
function expectNoWrongNotFound(moment: Moment): void {
  const { plane, truth } = moment;
  if (plane.bundles.length === 0) return;
  const index = indexTable(plane.table);
  for (const key of mustBeKnown(moment).keys()) {
    const [group = '', version = '', resource = ''] = key.split('/');
    const info = { isResourceRequest: true, verb: 'list', path: '', group, version, resource, subresource: '' };
    for (const home of truth) {
      if (!home.running || home.serves.has(key)) continue;
      const view = { home: index.peerAt(home.address), usable: () => true, lastResort: () => true, tableTooOld: false };
      const decision = routeRequest(index, info as unknown as RequestInfo, view, false);
      const believed = decision.kind === 'home' && decision.notFound.kind === 'trust';
      expect(believed, `a 404 of ${home.name} for ${key} at ${moment.nowMs} ms is believed`).to.equal(false);
    }
  }
}

/** Once all is quiet, document and table are exactly what the servers that run serve. */
function expectConverged(moment: Moment): void {
  const { plane, truth } = moment;
  const live = truth.filter(({ running }) => running);
  if (live.length === 0) return;
  const documents = new Map(
    live.map(({ name, address }) => [identityLeaseName(name), plane.servers.get(address)?.groups ?? []]),
  );
  const [local = ''] = [...documents.keys()].sort();
  expect(plane.bundles.at(-1)?.apis).to.equal(
    encodeDiscoveryList(mergeDiscovery(local, documents), { typeMeta: true }),
  );
  expect(plane.table.complete).to.equal(true);
  const union = new Set(live.flatMap(({ serves }) => [...serves.keys()]));
  expect([...listedIn(moment)].sort()).to.deep.equal([...union].sort());
  const { peers, groupVersions } = plane.table;
  for (const { group, version, resources } of groupVersions)
    for (const row of resources) {
      const named = row.peers.map((at) => peers[at]?.hostname).sort();
      const key = `${group}/${version}/${row.resource}`;
      expect(named, key).to.deep.equal(
        live
          .filter(({ serves }) => serves.has(key))
          .map(({ name }) => name)
          .sort(),
      );
    }
  expect(new Set(keysOf([...documents.values()].flat()))).to.deep.equal(union);
}

async function expectLaws(history: History, everyMs = 500): Promise<void> {
  const end = await runHistory(history, (moment) => {
    if (moment.nowMs % everyMs !== 0) return;
    expectNothingMissing(moment);
    expectNoWrongNotFound(moment);
  });
  expectConverged(end);
  const revisions = end.plane.bundles.map(({ table }) => table.revision);
  expect(revisions).to.deep.equal(revisions.map((_, index) => (revisions[0] ?? 0) + index));
  for (const { table } of end.plane.bundles) expect(table.complete).to.equal(table.doubts.length === 0);
}

describe('the controller over any history of a control plane', function () {
  this.timeout(600_000);

  it('misses nothing without doubt, believes no wrong 404, and ends at what the live servers serve', async () => {
    await fc.assert(
      fc.asyncProperty(controlPlaneHistories(18, { maxServers: 5, moreResources: 0 }), async (history) => {
        await expectLaws(history);
      }),
      { numRuns },
    );
  });

  it('does so for a hundred servers of thousands of resources', async () => {
    const some = { maxServers: 100, moreResources: 5_000 };
    await fc.assert(
      fc.asyncProperty(controlPlaneHistories(12, some), async (history) => {
        // Only a few moments are looked at: each look is at half a million entries.
        await expectLaws({ ...history, servers: some.maxServers }, 10_000);
      }),
      { numRuns: Number(process.env.PEERDISCOVERY_LARGE_HISTORIES ?? 1), endOnFailure: true },
    );
  });
});
