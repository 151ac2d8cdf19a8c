import { expect } from 'chai';
import { createPeerHealth } from '../../src/proxy/peer-health.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from '../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };

describe('createPeerHealth', () => {
  function setUp() {
    const clock = createManualClock();
    const ended = new AbortController();
    const seen = { probes: 0, answer: false };
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
    seen.answer = true;
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
    seen.answer = true;
    health.hurry(target.address);
    await clock.advance(0);
    expect([seen.probes, health.isWell(target.address)]).to.deep.equal([3, true]);
    ended.abort();
  });
});
