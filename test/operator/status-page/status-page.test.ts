import { expect } from 'chai';
import { buildReport } from '../../../src/operator/status-page/build-report.ts';
import { renderPage } from '../../../src/operator/status-page/render-page.ts';
import { calmSnapshot, hostileSnapshot, largestSnapshot, upgradeSnapshot } from '../../support/status-snapshots.ts';

const now = Date.UTC(2026, 0, 1, 12);
const operator = { version: '0.1.0', identity: 'here', leadsSince: now };
const verdictOf = (...args: Parameters<typeof buildReport>) => buildReport(...args).objects[0]?.verdict;

describe('the status page', () => {
  it('describes the state in words', () => {
    expect(verdictOf(calmSnapshot(now), '')).to.include({ level: 'good', title: 'All servers serve the same' });
    expect(verdictOf(upgradeSnapshot(now), '')).to.include({
      level: 'note',
      title: 'Complete; the servers differ in 7 resources',
    });
    expect(verdictOf(upgradeSnapshot(now, { awayMs: 42_000 }), '')).to.include({
      level: 'warning',
      title: 'Complete, with 1 of 3 servers not ready',
    });
    expect(verdictOf(upgradeSnapshot(now, { awayMs: 90_000 }), '')).to.include({ level: 'warning', title: 'In doubt' });
  });

  it('says that a user must act, whatever else is healthy', () => {
    const snapshot = calmSnapshot(now);
    const [object] = snapshot.objects;
    const stalled = { type: 'Stalled', status: 'True', reason: 'InvalidSpec', message: 'spec.goneAfter: not a time' };
    const conditions = (object?.status?.conditions ?? []).map((condition) =>
      condition.type === 'Stalled' ? ({ ...condition, ...stalled } as typeof condition) : condition,
    );
    const objects = object === undefined ? [] : [{ ...object, status: { ...object.status, conditions } }];
    expect(verdictOf({ ...snapshot, objects }, '')).to.deep.include({ level: 'bad', detail: stalled.message });
  });

  it('shows the servers of each resource that differs, or of each one that matches a search', () => {
    const served = (search: string) => buildReport(upgradeSnapshot(now), search).objects[0]?.served;
    const claims = {
      resource: 'resourceclaims.v1.resource.k8s.io',
      servedBy: ['control-plane-1'],
      missingFrom: ['control-plane-2', 'control-plane-3'],
      omittedPeers: 0,
      differingFields: [],
    };
    expect(served('')?.matching).to.equal(7);
    expect(served('')?.rows).to.deep.include(claims);
    expect(served(' ResourceClaims.')?.rows).to.deep.equal([claims]);
    expect(served('deployments')?.rows.map(({ resource, servedBy }) => [resource, servedBy.length])).to.deep.equal([
      ['deployments.v1.apps', 3],
    ]);
    expect(served('no such thing')).to.deep.equal({ matching: 0, rows: [] });
  });

  it('counts ages by one clock and dates by the other', () => {
    const date = Date.UTC(2030, 0, 1);
    const report = buildReport({ ...upgradeSnapshot(now), date }, '');
    expect(report.generatedAt).to.equal('2030-01-01T00:00:00Z');
    expect(report.operator.leadsSince).to.equal('2029-12-31T22:59:00Z');
    expect(report.objects[0]?.history[0]?.at).to.equal(date - 61 * 60_000);
    expect(report.objects[0]?.peers[0]?.ageSeconds).to.equal(3);
  });

  it('has a text while there is nothing to show', () => {
    expect(renderPage(buildReport({ now, date: now, operator, objects: [] }, ''))).to.contain('No PeerDiscovery yet');
    const bare = { name: 'cluster', status: undefined, live: undefined, history: [] };
    const page = renderPage(buildReport({ now, date: now, operator, objects: [bare] }, 'x'));
    for (const words of [
      'Not looked at yet',
      'No kube-apiserver has been found yet',
      'The operator has seen nothing yet',
    ])
      expect(page).to.contain(words);
    const unseen = { ...bare, live: { views: [], unified: undefined } };
    expect(renderPage(buildReport({ now, date: now, operator, objects: [unseen] }, ''))).to.contain(
      'Not looked at yet',
    );
  });

  it('stays small whatever the cluster holds, and says what it omitted', () => {
    const snapshot = largestSnapshot(now);
    for (const search of ['', 'a']) {
      const report = buildReport(snapshot, search);
      const [object] = report.objects;
      expect(object?.served.rows).to.have.length(200);
      expect(object?.served.matching).to.be.greaterThan(5_000);
      expect(object?.history.length).to.be.at.most(240);
      const page = renderPage(report);
      expect(page).to.contain('The first 200 are shown');
      expect(page.length).to.be.lessThan(512 * 1024);
      expect(JSON.stringify(report).length).to.be.lessThan(512 * 1024);
    }
    expect(buildReport(snapshot, 'x'.repeat(5_000)).search).to.have.length(100);
  });

  it('escapes every word from outside', () => {
    const text = `'"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u202e\u0007`;
    for (const search of ['', text]) {
      const page = renderPage(buildReport(hostileSnapshot(now, text), search));
      const bodies = page.replace(/<style>.*?<\/style>|<script>'use strict'.*?<\/script>/gs, '');
      for (const hostile of ['<script', '<img', '\u202e', '\u0007']) expect(bodies).not.to.contain(hostile);
      expect(bodies).to.contain('&lt;script&gt;alert(1)&lt;/script&gt;');
      // Every attribute is quoted, and no quote of the text ends one.
      expect(bodies).not.to.contain(`'">`);
      expect(bodies).not.to.contain('&amp;amp;amp;');
    }
  });
});
