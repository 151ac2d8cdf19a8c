import { expect } from 'chai';
import { createProgressHistory } from '../../../src/operator/status-page/progress-history.ts';
import { calmSnapshot, upgradeSnapshot } from '../../support/status-snapshots.ts';

const now = Date.UTC(2026, 0, 1, 12);
const standing = (snapshot: ReturnType<typeof calmSnapshot>) => {
  const { views, unified } = snapshot.objects[0]?.live ?? {};
  if (views === undefined || unified === undefined) throw new Error('nothing is live');
  return [views, unified] as const;
};
const calm = standing(calmSnapshot(now));
const mixed = standing(upgradeSnapshot(now));
const doubtful = standing(upgradeSnapshot(now, { awayMs: 90_000 }));

describe('the history of an upgrade', () => {
  it('keeps only changes, by object', () => {
    const history = createProgressHistory();
    for (let second = 0; second < 1_000; second += 1) history.record('a', ...calm, now + second * 1_000);
    history.record('a', ...mixed, now + 1_000_000);
    history.record('b', ...doubtful, now);
    expect(history.of('a')).to.deep.equal([
      { at: now, versions: { 'v1.36.3': 3 }, peers: 3, ready: 3, converged: 'True', inDoubt: false, differences: 0 },
      {
        at: now + 1_000_000,
        versions: { 'v1.36.3': 1, 'v1.33.12': 2 },
        peers: 3,
        ready: 3,
        converged: 'False',
        inDoubt: false,
        differences: 7,
      },
    ]);
    expect(history.of('b').map(({ converged, ready }) => [converged, ready])).to.deep.equal([['Unknown', 2]]);
    history.forget('a');
    expect(history.of('a')).to.deep.equal([]);
  });

  it('is limited, and forgets short flaps before long phases', () => {
    const history = createProgressHistory(6);
    history.record('a', ...calm, 0);
    history.record('a', ...mixed, 1_000_000);
    for (let flap = 0; flap < 500; flap += 1) {
      history.record('a', ...doubtful, 2_000_000 + flap * 2_000);
      history.record('a', ...mixed, 2_001_000 + flap * 2_000);
    }
    history.record('a', ...calm, 9_000_000);
    const kept = history.of('a');
    expect(kept).to.have.length(6);
    expect(kept.map(({ at }) => at)).to.include.members([0, 1_000_000, 9_000_000]);
  });
});
