import { expect } from 'chai';
import { createPeerHealth } from '../../src/proxy/peer-health.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };

describe('createPeerHealth', () => {
  function setUp() {
    const clock = createManualClock();
    const ended = new AbortController();
    const seen: { probes: number; answer: 'ready' | 'refused' | 'away' } = { probes: 0, answer: 'away' };
    const transport = {
      probe: () => {
        seen.probes++;
        return Promise.resolve(seen.answer);
      },
    };
    return { clock, seen, ended, health: createPeerHealth({ transport, clock, log: silentLog, signal: ended.signal }) };
  }

  it('probes a peer that failed at once, then every second, until it answers', async () => {
    const { clock, seen, health } = setUp();
    health.markDown(target, 'refused');
    await clock.advance(0);
    expect([seen.probes, health.isWell(target.address)]).to.deep.equal([1, false]);
    await clock.advance(3_000);
    expect(seen.probes).to.equal(4);
    seen.answer = 'ready';
    await clock.advance(1_000);
    expect([seen.probes, health.isWell(target.address)]).to.deep.equal([5, true]);
    await clock.advance(5_000);
    expect(seen.probes).to.equal(5);
  });

  it('probes it now where the table says that it is ready, and leaves well ones alone', async () => {
    const { clock, seen, health, ended } = setUp();
    health.hurry(target.address);
    health.markDown(target, 'refused');
    await clock.advance(100);
    expect(seen.probes).to.equal(1);
    health.hurry(target.address);
    await clock.advance(0);
    expect([seen.probes, health.isWell(target.address)]).to.deep.equal([2, false]);
    seen.answer = 'ready';
    health.hurry(target.address);
    await clock.advance(0);
    expect([seen.probes, health.isWell(target.address)]).to.deep.equal([3, true]);
    ended.abort();
  });

  it('takes a refusal for health only after ten seconds of it, as whoever starts refuses everybody', async () => {
    const { clock, seen, health } = setUp();
    health.markDown(target, 'refused');
    await clock.advance(0);
    seen.answer = 'refused';
    await clock.advance(9_000);
    seen.answer = 'away';
    await clock.advance(1_000);
    seen.answer = 'refused';
    await clock.advance(10_000);
    expect(health.isWell(target.address)).to.equal(false);
    await clock.advance(1_000);
    expect(health.isWell(target.address)).to.equal(true);
  });

  it('takes a refusal for health at once if the table has said since it was away that it is ready', async () => {
    const { clock, seen, health } = setUp();
    health.markDown(target, 'refused');
    await clock.advance(100);
    // An old table, which has not heard of its end.
    health.hurry(target.address);
    await clock.advance(900);
    seen.answer = 'refused';
    await clock.advance(2_000);
    expect(health.isWell(target.address)).to.equal(false);
    health.hurry(target.address);
    await clock.advance(0);
    expect(health.isWell(target.address)).to.equal(true);
  });
});
