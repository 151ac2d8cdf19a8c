import { expect } from 'chai';
import type { Readiness } from '../../../src/proxy/ports.ts';
import { createPeerHealth } from '../../../src/proxy/servers/peer-health.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };

describe('createPeerHealth', () => {
  function setUp(answer: Readiness = 'away', tookMs = 0) {
    const clock = createManualClock();
    const ended = new AbortController();
    const seen = { probes: 0, hung: 0, answer, tookMs };
    const transport = {
      probe: async () => {
        seen.probes++;
        if (seen.tookMs > 0) await clock.sleep(seen.tookMs);
        return seen.answer;
      },
    };
    const health = createPeerHealth({
      transport,
      clock,
      log: silentLog,
      signal: ended.signal,
      onHung: () => seen.hung++,
      random: () => 0.5,
    });
    const load = { inFlight: 0, asked: 0 };
    health.watch([{ target, load }]);
    const isWell = () => health.isWell(target.address);
    return { clock, seen, ended, health, load, isWell };
  }

  it('probes a peer with requests every second, and any other every five seconds', async () => {
    const { clock, seen, load, ended } = setUp('ready');
    await clock.advance(0);
    expect(seen.probes).to.equal(1);
    await clock.advance(10_000);
    expect(seen.probes).to.equal(3);
    load.inFlight = 1;
    await clock.advance(4_000);
    expect(seen.probes).to.equal(7);
    load.inFlight = 0;
    load.asked++;
    await clock.advance(1_000);
    expect(seen.probes).to.equal(8);
    await clock.advance(4_000);
    expect(seen.probes).to.equal(8);
    ended.abort();
  });

  it('never delays the probe of a known peer because of peers that it has never seen ready', async () => {
    const { clock, health, load, seen, ended } = setUp('ready');
    await clock.advance(0);
    const forged = Array.from({ length: 100 }, (_, at) => `10.0.1.${at}:6443`);
    const strangers = forged.map((address) => ({ target: { ...target, address }, load: { inFlight: 0, asked: 0 } }));
    seen.tookMs = 60_000;
    load.inFlight = 1;
    health.watch([{ target, load }, ...strangers]);
    await clock.advance(0);
    expect(seen.probes).to.equal(1 + 16);
    await clock.advance(6_000);
    expect(seen.probes).to.equal(1 + 16 + 1);
    ended.abort();
  });

  it('takes out a peer that says that it is not ready, without ending its running requests', async () => {
    const { clock, seen, load, isWell } = setUp('ready');
    load.inFlight = 1;
    await clock.advance(0);
    seen.answer = 'away';
    await clock.advance(1_000);
    expect([isWell(), seen.hung]).to.deep.equal([false, 0]);
    seen.answer = 'ready';
    await clock.advance(1_000);
    expect(isWell()).to.equal(true);
  });

  it('takes a peer for hung after two late answers in a row, within five seconds of its silence', async () => {
    const { clock, seen, load, health, isWell } = setUp('ready');
    load.inFlight = 1;
    await clock.advance(0);
    seen.answer = 'hung';
    seen.tookMs = 1_000;
    await clock.advance(2_000);
    expect([isWell(), health.isHung(target.address), seen.hung]).to.deep.equal([true, false, 0]);
    await clock.advance(2_000);
    expect([isWell(), health.isHung(target.address), seen.hung]).to.deep.equal([false, true, 1]);
    seen.answer = 'ready';
    seen.tookMs = 0;
    await clock.advance(2_000);
    expect([isWell(), health.isHung(target.address)]).to.deep.equal([true, false]);
  });

  it('keeps a peer after one late answer', async () => {
    const { clock, seen, load, isWell } = setUp('ready');
    load.inFlight = 1;
    for (const answer of ['ready', 'hung', 'ready', 'hung', 'ready'] as const) {
      seen.answer = answer;
      await clock.advance(1_000);
    }
    expect([isWell(), seen.hung]).to.deep.equal([true, 0]);
  });

  it('probes a peer that blames its etcd again only after a second', async () => {
    const { clock, seen, load } = setUp('ready');
    load.inFlight = 1;
    await clock.advance(0);
    seen.answer = 'hung';
    await clock.advance(1_900);
    expect(seen.hung).to.equal(0);
    await clock.advance(100);
    expect(seen.hung).to.equal(1);
  });

  it(
    'takes out a peer that refuses what it answered before, because a server that starts ' + 'refuses everybody',
    async () => {
      const { clock, seen, load, isWell } = setUp('ready');
      load.inFlight = 1;
      await clock.advance(0);
      seen.answer = 'refused';
      await clock.advance(1_000);
      expect(isWell()).to.equal(false);
      await clock.advance(11_000);
      expect(isWell()).to.equal(true);
      await clock.advance(11_000);
      expect(isWell()).to.equal(true);
    },
  );

  it('keeps a peer that has refused from the first probe', async () => {
    const { clock, isWell } = setUp('refused');
    await clock.advance(30_000);
    expect(isWell()).to.equal(true);
  });

  it('probes a failed peer at once, and ignores an answer that was already on its way', async () => {
    const { clock, seen, health, isWell } = setUp('ready', 100);
    await clock.advance(50);
    health.markDown(target, 'refused');
    await clock.advance(60);
    expect([seen.probes, isWell()]).to.deep.equal([2, false]);
    await clock.advance(100);
    expect([seen.probes, isWell()]).to.deep.equal([2, true]);
  });

  it('keeps a peer that may have broken a connection, and probes it now, but not again and again', async () => {
    const { clock, seen, health, isWell, ended } = setUp('ready');
    await clock.advance(1_000);
    expect(seen.probes).to.equal(1);
    health.probeNow(target.address);
    expect(isWell()).to.equal(true);
    await clock.advance(0);
    expect(seen.probes).to.equal(2);
    for (let count = 0; count < 100; count++) {
      health.probeNow(target.address);
      await clock.advance(10);
    }
    expect(seen.probes).to.be.within(6, 8);
    expect(isWell()).to.equal(true);
    seen.answer = 'away';
    health.probeNow(target.address);
    await clock.advance(200);
    expect(isWell()).to.equal(false);
    ended.abort();
  });

  it('probes a peer now if the table says that it is ready', async () => {
    const { clock, seen, health, ended, isWell } = setUp();
    await clock.advance(100);
    expect([seen.probes, isWell()]).to.deep.equal([1, false]);
    health.noteReadyInTable(target.address);
    await clock.advance(0);
    expect([seen.probes, isWell()]).to.deep.equal([2, false]);
    seen.answer = 'ready';
    health.noteReadyInTable(target.address);
    await clock.advance(0);
    expect([seen.probes, isWell()]).to.deep.equal([3, true]);
    ended.abort();
  });

  it('takes refusals for health only after ten seconds, because a server that starts refuses everybody', async () => {
    const { clock, seen, isWell } = setUp();
    await clock.advance(0);
    seen.answer = 'refused';
    await clock.advance(9_000);
    seen.answer = 'away';
    await clock.advance(1_000);
    seen.answer = 'refused';
    await clock.advance(10_000);
    expect(isWell()).to.equal(false);
    await clock.advance(1_000);
    expect(isWell()).to.equal(true);
  });

  it('takes a refusal for health at once if the table has called the peer ready since it was away', async () => {
    const { clock, seen, health, isWell } = setUp();
    await clock.advance(100);
    // An old table, from before its end.
    health.noteReadyInTable(target.address);
    await clock.advance(900);
    seen.answer = 'refused';
    await clock.advance(2_000);
    expect(isWell()).to.equal(false);
    health.noteReadyInTable(target.address);
    await clock.advance(0);
    expect(isWell()).to.equal(true);
  });

  it('forgets a peer that is no longer watched', async () => {
    const { clock, seen, health, isWell } = setUp();
    await clock.advance(0);
    health.watch([]);
    await clock.advance(10_000);
    expect([seen.probes, isWell(), health.down()]).to.deep.equal([1, true, []]);
  });
});
