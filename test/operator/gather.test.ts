import { expect } from 'chai';
import { gather, type Inbox, type Sources, withQuestion } from '../../src/operator/gather.ts';
import { initialState } from '../../src/operator/pass-state.ts';
import type { WatchedSet } from '../../src/operator/ports.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { peerView } from '../support/operator-facts.ts';

const nothing: Inbox = { notified: true, questions: [] };
const read = async () => ({ revision: 7 });
const condition = { type: 'Ready', status: 'True', reason: 'Complete', message: '', lastTransitionTime: '' } as const;

function sourcesOf(changed: { leases?: Partial<WatchedSet<never>>; read?: typeof read; views?: unknown } = {}) {
  const clock = createManualClock();
  const set: WatchedSet<never> = { items: () => new Map<string, never>(), synced: true, lastContactAtMs: clock.now() };
  const calls: string[] = [];
  const sources: Sources = {
    settings: { sources: ['EndpointSlice'] },
    sets: {
      leases: { ...set, ...changed.leases },
      pods: set,
      nodes: set,
      endpointSlices: set,
      crds: set,
      apiServices: set,
    },
    roster: {
      remember: (known) => void calls.push(`remember ${known.size}`),
      follow() {
        calls.push('follow');
        return [];
      },
      views: () => [peerView('one', 'deployments')],
    },
    schemas: { knowledge: { revision: 0, find: () => undefined } },
    publishing: { bundles: { read: changed.read ?? read } as never, log: silentLog },
    clock,
  };
  return { sources, clock, calls, state: initialState(clock.now(), { conditions: [condition] }) };
}

describe('gather', () => {
  it('reads the published table, watches the peers, and records the facts about each', async () => {
    const { sources, state, calls } = sourcesOf();
    const { state: after, facts } = await gather(sources, state, nothing);
    expect(calls).to.deep.equal(['remember 0', 'follow']);
    expect(after.publication.highest).to.equal(7);
    expect(facts?.views.map(({ seen }) => seen.peer.id)).to.deep.equal(['one']);
    expect(facts?.unknown).to.equal(undefined);
  });

  it('has no facts before the first lists', async () => {
    const { sources, state, calls } = sourcesOf({ leases: { synced: false } });
    expect((await gather(sources, state, nothing)).facts).to.equal(undefined);
    expect(calls).not.to.include('follow');
  });

  it('keeps the questions of proxies until they are answered', async () => {
    const { sources, state } = sourcesOf({ leases: { synced: false } });
    const first = await gather(sources, state, withQuestion(nothing, 'one'));
    const second = await gather(sources, first.state, withQuestion(nothing, 'two'));
    expect(second.state.questions).to.deep.equal(['one', 'two']);
  });

  it('says why the Leases are not known well enough', async () => {
    const failing = { since: 0, message: 'forbidden' };
    const { sources, state } = sourcesOf({ leases: { synced: false, failing } });
    const { facts } = await gather(sources, state, nothing);
    expect(facts?.unknown).to.include({ reason: 'LeasesUnknown' });
  });

  it('keeps the error of reading the published table, and tries again', async () => {
    const broken = async () => Promise.reject(new Error('connection refused'));
    const { sources, state } = sourcesOf({ read: broken });
    const { state: after } = await gather(sources, state, nothing);
    expect(after.publication.highest).to.equal(undefined);
    expect(after.publication.failed).to.include({ reason: 'PublishFailed' });
    expect((await gather(sourcesOf().sources, after, nothing)).state.publication.highest).to.equal(7);
  });

  it('causes a new status only if its conditions were overwritten', async () => {
    const { sources, state } = sourcesOf();
    const told = { ...state, report: { ...state.report, about: {} as never } };
    const seen = async (status: 'True' | 'False') => {
      const inbox = { ...nothing, status: { conditions: [{ ...condition, status, lastTransitionTime: 'later' }] } };
      return (await gather(sources, told, inbox)).state.report.about;
    };
    expect(await seen('True')).not.to.equal(undefined);
    expect(await seen('False')).to.equal(undefined);
  });
});
