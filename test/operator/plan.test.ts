import { expect } from 'chai';
import { createDeriveMemo } from '../../src/domain/derive-bundle.ts';
import { derive } from '../../src/operator/derive.ts';
import { initialState, type PassState } from '../../src/operator/pass-state.ts';
import { planReport, planTable } from '../../src/operator/plan.ts';
import type { Publication } from '../../src/operator/publish-table.ts';
import { buildFacts, factsAt, peerView } from '../support/operator-facts.ts';

const settings = {
  mode: 'Route',
  fieldSkew: 'Preserve',
  serverName: 'kubernetes.default.svc',
  confirmEveryMs: 10_000,
  generation: 1,
  routingTable: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
} as const;
const facts = buildFacts();
const derived = derive(facts, undefined, settings, createDeriveMemo());
const quiet: Publication = { overtaken: false, confirmedAt: factsAt, highest: 1, wanted: derived.unified };
const failed = { reason: 'PublishFailed', message: 'connection refused' };
const stateOf = (changed: Partial<PassState> = {}): PassState => ({
  ...initialState(factsAt, undefined),
  publication: quiet,
  ...changed,
});

describe('planTable', () => {
  const plan = (state: PassState, gathered = facts) => planTable(state, gathered, derived, settings);

  it('does nothing for a table that was published and confirmed', () => {
    expect(plan(stateOf())).to.include({ publish: undefined, confirm: false });
  });

  it('publishes a new table, and again one that could not be published', () => {
    const { wanted: _, ...unwanted } = quiet;
    expect(plan(stateOf({ publication: unwanted })).publish).to.equal(derived.unified);
    expect(plan(stateOf({ publication: { ...quiet, failed } })).publish).to.equal(derived.unified);
  });

  it('publishes nothing before it knows the published table', () => {
    expect(plan(stateOf({ publication: { overtaken: false, confirmedAt: factsAt, failed } })).publish).to.equal(
      undefined,
    );
  });

  it('confirms when it is time, and at once when a proxy asks', () => {
    expect(plan(stateOf(), { ...facts, now: factsAt + 9_999 }).confirm).to.equal(false);
    expect(plan(stateOf(), { ...facts, now: factsAt + 10_000 }).confirm).to.equal(true);
    expect(plan(stateOf({ questions: ['one'] })).confirm).to.equal(true);
  });

  it('confirms nothing while the cluster itself is unknown', () => {
    const unknown = { reason: 'LeasesUnknown', message: 'forbidden' };
    expect(plan(stateOf({ questions: ['one'] }), { ...facts, unknown }).confirm).to.equal(false);
  });

  it('reports each change of a state once, and each departed peer', () => {
    const first = plan(stateOf());
    expect(first.announcements.map(({ event }) => event?.reason)).to.deep.equal(['PeerReady']);
    expect(plan(stateOf({ announced: first.announced })).announcements).to.deep.equal([]);
    const others = { ...facts, views: [peerView('two', 'deployments')] };
    expect(
      plan(stateOf({ announced: first.announced }), others).announcements.map(({ log }) => log?.message),
    ).to.deep.equal(['a peer changed its state', 'a peer left']);
  });
});

describe('planReport', () => {
  const plan = (state: PassState, gathered = facts) =>
    planReport(state, gathered, derived, settings, (at: number) => at);

  it('writes a status once', () => {
    const first = plan(stateOf());
    expect(first.status).to.include({ resources: 1 });
    const told = stateOf({ report: { status: first.status, about: first.about } });
    expect(plan(told)).to.include({ status: undefined, about: undefined });
  });

  it('does not write a status that is already there, even if its facts are unknown', () => {
    const { status } = plan(stateOf());
    const again = plan(stateOf({ report: { status } }));
    expect(again.status).to.equal(undefined);
    expect(again.about).not.to.equal(undefined);
  });

  it('waits a while after a failed write of the status', () => {
    const report = { failedAt: factsAt };
    expect(plan(stateOf({ report }), { ...facts, now: factsAt + 4_999 }).status).to.equal(undefined);
    expect(plan(stateOf({ report }), { ...facts, now: factsAt + 5_000 }).status).not.to.equal(undefined);
  });

  it('reports once a problem that needs an action, and not one that may pass', () => {
    const trouble = { ...failed, terminal: true };
    const reasons = (state: PassState) => plan(state).announcements.map(({ event }) => event?.reason);
    expect(reasons(stateOf({ publication: { ...quiet, failed } }))).to.deep.equal([]);
    const stalled = stateOf({ publication: { ...quiet, failed: trouble } });
    expect(reasons(stalled)).to.deep.equal(['PublishFailed']);
    expect(
      reasons({ ...stalled, report: { standstill: { reason: failed.reason, message: failed.message } } }),
    ).to.deep.equal([]);
  });
});
