import { expect } from 'chai';
import type { PeerTarget, Readiness } from '../../../src/proxy/ports.ts';
import { createPeerHealth } from '../../../src/proxy/servers/peer-health.ts';
import { type LogFields, silentLog } from '../../../src/runtime/log.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };

describe('createPeerHealth', () => {
  function setUp(answer: Readiness = 'away', tookMs = 0, random = 0.5) {
    const clock = createManualClock();
    const ended = new AbortController();
    const seen = { probes: 0, hung: 0, answer, ofOthers: undefined as Readiness | undefined, tookMs, isBroken: false };
    const lines: (readonly [message: string, fields: LogFields | undefined])[] = [];
    const heads: (readonly [id: string, rawHeaders: readonly string[]])[] = [];
    const note = (message: string, fields?: LogFields) => void lines.push([message, fields]);
    const transport = {
      probe: async ({ id }: PeerTarget, onHead?: (rawHeaders: readonly string[]) => void) => {
        seen.probes++;
        if (seen.tookMs > 0) await clock.sleep(seen.tookMs);
        if (seen.isBroken) throw new Error('a bug');
        onHead?.(['A', 'b']);
        return id === target.id ? seen.answer : (seen.ofOthers ?? seen.answer);
      },
    };
    const health = createPeerHealth({
      transport,
      clock,
      log: { ...silentLog, info: note, warn: note, error: note },
      signal: ended.signal,
      onHung: () => seen.hung++,
      onHead: ({ id }, rawHeaders) => void heads.push([id, rawHeaders]),
      random: () => random,
    });
    const load = { inFlight: 0, asked: 0 };
    health.watch([{ target, load }]);
    const isWell = () => health.isWell(target.address);
    return { clock, seen, ended, health, load, isWell, lines, heads };
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

  describe('if a peer was hung and is ready again', () => {
    /** A peer with work that was hung for this long, and another one. */
    async function setUpHung(hungMs: number) {
      const all = setUp('ready');
      const { clock, seen, load, health } = all;
      load.inFlight = 1;
      seen.ofOthers = 'ready';
      health.watch([
        { target, load },
        { target: { ...target, id: 'b', address: '10.0.0.2:6443' }, load: { inFlight: 1, asked: 0 } },
      ]);
      await clock.advance(0);
      seen.answer = 'hung';
      // It is found hung after two seconds.
      await clock.advance(2_000 + hungMs);
      seen.answer = 'ready';
      await clock.advance(1_000);
      return all;
    }

    it('keeps it out, but not for hung, for as long as it was hung, while another one is well', async () => {
      const { clock, isWell, health } = await setUpHung(9_000);
      expect([isWell(), health.isHung(target.address)]).to.deep.equal([false, false]);
      await clock.advance(8_000);
      expect(isWell()).to.equal(false);
      await clock.advance(3_000);
      expect(isWell()).to.equal(true);
    });

    it('keeps it out for a minute at most', async () => {
      const { clock, isWell } = await setUpHung(600_000);
      await clock.advance(58_000);
      expect(isWell()).to.equal(false);
      await clock.advance(3_000);
      expect(isWell()).to.equal(true);
    });

    it('puts it back as soon as no other one is well', async () => {
      const { clock, seen, isWell } = await setUpHung(20_000);
      expect(isWell()).to.equal(false);
      seen.ofOthers = 'away';
      await clock.advance(2_000);
      expect(isWell()).to.equal(true);
    });

    it('starts to count again if it hangs again', async () => {
      const { clock, seen, isWell } = await setUpHung(9_000);
      seen.answer = 'hung';
      await clock.advance(3_000);
      seen.answer = 'ready';
      await clock.advance(10_000);
      expect(isWell()).to.equal(false);
      await clock.advance(5_000);
      expect(isWell()).to.equal(true);
    });

    it('puts it back at once if it was restarted meanwhile', async () => {
      const { clock, seen, isWell } = await setUpHung(20_000);
      seen.answer = 'away';
      await clock.advance(1_000);
      seen.answer = 'ready';
      await clock.advance(1_000);
      expect(isWell()).to.equal(true);
    });
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
    const { clock, isWell, lines } = setUp('refused');
    for (const ms of [0, 1_000, 30_000]) {
      await clock.advance(ms);
      expect(isWell()).to.equal(true);
    }
    expect(lines).to.deep.equal([]);
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

  it('says once that a peer is out of use, and once that it is back, and names it', async () => {
    const { clock, seen, health, lines, ended } = setUp('ready');
    const { id, address } = target;
    expect(health.readyAt(address)).to.equal(undefined);
    await clock.advance(0);
    expect([lines, health.down(), health.readyAt(address)]).to.deep.equal([[], [], clock.now()]);
    health.markDown(target, 'it is gone');
    seen.answer = 'away';
    await clock.advance(3_000);
    expect([lines, health.down()]).to.deep.equal([
      [['peer taken out of service', { peer: id, address, why: 'it is gone' }]],
      [address],
    ]);
    seen.answer = 'ready';
    await clock.advance(10_000);
    expect([lines.slice(1), health.down()]).to.deep.equal([[['peer is back in service', { peer: id, address }]], []]);
    ended.abort();
  });

  it('never takes a peer for hung that answers that it is not ready', async () => {
    const { clock, seen, health, isWell, ended } = setUp('away');
    await clock.advance(5_000);
    expect(seen.probes).to.be.greaterThan(3);
    expect([isWell(), health.isHung(target.address), seen.hung]).to.deep.equal([false, false, 0]);
    ended.abort();
  });

  it('probes an idle peer that was late again at once', async () => {
    const { clock, seen, health, ended } = setUp('hung', 1_000);
    await clock.advance(2_000);
    expect([seen.probes, health.isHung(target.address), seen.hung]).to.deep.equal([2, true, 1]);
    await clock.advance(1_000);
    expect(seen.probes).to.equal(3);
    ended.abort();
  });

  for (const [random, firstMs] of [
    [0, 3_750],
    [1, 6_250],
  ] as const)
    it(`spreads its probes over time: after ${firstMs} ms for the random number ${random}`, async () => {
      const { clock, seen, ended } = setUp('ready', 0, random);
      await clock.advance(firstMs - 1);
      expect(seen.probes).to.equal(1);
      await clock.advance(1);
      expect(seen.probes).to.equal(2);
      ended.abort();
    });

  it('passes the fields of each answer on', async () => {
    const { clock, heads, ended } = setUp('refused');
    await clock.advance(0);
    expect(heads).to.deep.equal([['a', ['A', 'b']]]);
    ended.abort();
  });

  it('never delays the probe of a peer that has had requests, even if it was never seen ready', async () => {
    const { clock, health, load, seen, ended } = setUp('away');
    await clock.advance(0);
    load.asked = 1;
    seen.tookMs = 60_000;
    const strangers = Array.from({ length: 16 }, (_, at) => ({
      target: { ...target, address: `10.0.1.${at}:6443` },
      load: { inFlight: 0, asked: 0 },
    }));
    health.watch([{ target, load }, ...strangers]);
    await clock.advance(0);
    expect(seen.probes).to.equal(1 + 16);
    await clock.advance(1_000);
    expect(seen.probes).to.equal(1 + 16 + 1);
    ended.abort();
  });

  it('takes nothing from the answer of a peer that is no longer watched', async () => {
    const { clock, health, lines, seen, ended } = setUp('away', 100);
    await clock.advance(50);
    health.watch([]);
    await clock.advance(10_000);
    expect([lines, seen.probes, health.down()]).to.deep.equal([[], 1, []]);
    ended.abort();
  });

  it('reports a probe that throws, and forgets the peer until it is watched again', async () => {
    const { clock, health, load, lines, seen, isWell, ended } = setUp('away');
    await clock.advance(0);
    expect(isWell()).to.equal(false);
    seen.isBroken = true;
    await clock.advance(1_000);
    expect(lines.slice(1)).to.deep.equal([['watching a peer failed', { peer: 'a', error: 'Error: a bug' }]]);
    expect([isWell(), health.down()]).to.deep.equal([true, []]);
    seen.isBroken = false;
    health.watch([{ target, load }]);
    await clock.advance(0);
    expect([seen.probes, isWell()]).to.deep.equal([3, false]);
    ended.abort();
  });

  it('does not forget the successor of a peer whose probe throws late', async () => {
    const { clock, health, load, seen, isWell, ended } = setUp('away', 100);
    await clock.advance(50);
    health.watch([]);
    health.watch([{ target, load }]);
    await clock.advance(20);
    seen.isBroken = true;
    await clock.advance(40);
    seen.isBroken = false;
    await clock.advance(100);
    expect([seen.probes, isWell(), health.down()]).to.deep.equal([2, false, [target.address]]);
    ended.abort();
  });

  it('probes no peer twice as often because it is watched twice, or because it is well or down already', async () => {
    const { clock, health, load, seen, ended } = setUp('ready');
    await clock.advance(0);
    health.watch([{ target, load }]);
    health.noteReadyInTable(target.address);
    await clock.advance(0);
    expect(seen.probes).to.equal(1);
    seen.tookMs = 100;
    health.markDown(target, 'gone');
    await clock.advance(50);
    health.markDown(target, 'gone');
    health.probeNow(target.address);
    await clock.advance(50);
    expect([seen.probes, health.down()]).to.deep.equal([2, []]);
    seen.answer = 'away';
    health.markDown(target, 'gone');
    await clock.advance(100);
    health.probeNow(target.address);
    health.markDown(target, 'gone');
    await clock.advance(500);
    expect([seen.probes, health.down()]).to.deep.equal([3, [target.address]]);
    ended.abort();
  });

  it('knows nothing of a peer that it does not watch', () => {
    const { health, ended } = setUp('ready');
    const address = '10.0.0.9:6443';
    health.markDown({ ...target, address }, 'gone');
    health.probeNow(address);
    health.noteReadyInTable(address);
    expect([health.isWell(address), health.isHung(address), health.readyAt(address)]).to.deep.equal([
      true,
      false,
      undefined,
    ]);
    ended.abort();
  });

  it('forgets a peer that is no longer watched', async () => {
    const { clock, seen, health, isWell } = setUp();
    await clock.advance(0);
    health.watch([]);
    await clock.advance(10_000);
    expect([seen.probes, isWell(), health.down()]).to.deep.equal([1, true, []]);
  });
});
