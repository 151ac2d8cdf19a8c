import { expect } from 'chai';
import type { PeerDiscoveryStatus } from '../../src/api/peer-discovery.ts';
import { createDeriveMemo } from '../../src/domain/derive-bundle.ts';
import { applyReport, applyTable, type Outlets } from '../../src/operator/apply.ts';
import { derive } from '../../src/operator/derive.ts';
import { createDocumentEncoder } from '../../src/operator/encode-documents.ts';
import { initialState } from '../../src/operator/pass-state.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { buildFacts, factsAt } from '../support/operator-facts.ts';

const settings = { mode: 'Route', fieldSkew: 'Preserve', serverName: 'kubernetes.default.svc' } as const;
const derived = derive(buildFacts(), undefined, settings, createDeriveMemo());
const state = { ...initialState(factsAt, undefined), questions: ['one'] };
const status = { observedGeneration: 1 } as PeerDiscoveryStatus;

/** Outlets that record their calls in order. Those named in `failing` fail. */
function outletsOf(...failing: readonly string[]): { readonly outlets: Outlets; readonly done: string[] } {
  const done: string[] = [];
  const act = (what: string, detail = '') => {
    done.push(`${what}${detail}`);
    if (failing.includes(what)) throw new Error('connection refused');
  };
  const publishing = {
    owner: 'cluster',
    location: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
    clock: createManualClock(),
    log: silentLog,
    encode: createDocumentEncoder(),
    bundles: {
      read: async () => ({ revision: 7 }),
      publish: async ({ table }: { readonly table: { readonly revision: number } }) =>
        void act('publish', ` ${table.revision}`),
      async confirm(revision: number, answers: readonly string[] = []) {
        act('confirm', ` ${revision} ${answers.join()}`);
        return true;
      },
    },
  };
  const outlets = {
    publishing: { ...publishing, bundles: { ...publishing.bundles, publish: publishing.bundles.publish as never } },
    status: { write: async () => act('status') },
    recordEvent: (_type: string, reason: string) => act(`event ${reason}`),
    log: silentLog,
  };
  return { outlets, done };
}

describe('applyTable', () => {
  const event = { type: 'Normal', reason: 'PeerReady', message: 'one' } as const;
  const plan = {
    announcements: [{ event }],
    announced: new Map([['one', 'Ready']]),
    publish: derived.unified,
    confirm: true,
  };

  it('reports, publishes and confirms, and answers each question once', async () => {
    const { outlets, done } = outletsOf();
    const after = await applyTable(plan, state, outlets);
    expect(done).to.deep.equal(['event PeerReady', 'publish 8', 'confirm 8 one']);
    expect(after.publication.published?.revision).to.equal(8);
    expect(after.announced.get('one')).to.equal('Ready');
    expect(after.questions).to.deep.equal([]);
  });

  it('confirms nothing that it could not publish, and keeps the failure in the state', async () => {
    const { outlets, done } = outletsOf('publish 8', 'publish');
    const after = await applyTable(plan, state, outlets);
    expect(done).to.deep.equal(['event PeerReady', 'publish 8']);
    expect(after.publication.failed).to.include({ reason: 'PublishFailed' });
    expect(after.publication.wanted).to.equal(derived.unified);
  });

  it('keeps the questions if there is nothing to confirm', async () => {
    const after = await applyTable({ ...plan, confirm: false }, state, outletsOf().outlets);
    expect(after.questions).to.deep.equal(['one']);
  });

  it('leaves the previous state unchanged', async () => {
    const before = structuredClone(state);
    await applyTable(plan, state, outletsOf().outlets);
    expect(state).to.deep.equal(before);
  });
});

describe('applyReport', () => {
  const about = { derived, revision: 8, trouble: undefined, refused: undefined };
  const plan = { trouble: undefined, standstill: undefined, about, status, announcements: [] };

  it('remembers what it wrote, and for which facts', async () => {
    const { outlets, done } = outletsOf();
    const { report } = await applyReport(plan, state, factsAt, outlets);
    expect(done).to.deep.equal(['status']);
    expect(report).to.deep.include({ status, about, failedAt: undefined });
  });

  it('remembers the time of a failure, and forgets it after a success', async () => {
    const after = await applyReport(plan, state, factsAt, outletsOf('status').outlets);
    expect(after.report).to.include({ status: undefined, failedAt: factsAt });
    const mended = await applyReport(plan, after, factsAt + 1, outletsOf().outlets);
    expect(mended.report.failedAt).to.equal(undefined);
  });

  it('remembers the standstill that it reported', async () => {
    const standstill = { reason: 'NamespaceMissing', message: 'create it' };
    const after = await applyReport({ ...plan, standstill }, state, factsAt, outletsOf().outlets);
    expect(after.report.standstill).to.equal(standstill);
  });
});
