import { expect } from 'chai';
import { Turns } from '../../../src/http/server/turns.ts';

describe('turns of unknown clients', () => {
  let scheduled: (() => void)[];
  let turns: Turns;
  beforeEach(() => {
    scheduled = [];
    turns = new Turns((turn) => void scheduled.push(turn));
  });
  const nextTurn = () => scheduled.shift()?.();

  /** Takes turns until none is left, at most 1,000. Returns their number. */
  function takeAll(bytes: number): number {
    let taken = 0;
    while (taken < 1_000 && turns.take(bytes)) taken++;
    return taken;
  }

  it('have room for some ordinary heads, and again in the next turn', () => {
    for (let turn = 0; turn < 3; turn++) {
      expect(takeAll(0)).to.equal(32);
      nextTurn();
    }
  });

  it('have room for one long head, which is paid off before the next', () => {
    expect(takeAll(1024 * 1024)).to.equal(1);
    let waited = 0;
    for (; !turns.take(0); waited++) nextTurn();
    expect(waited).to.be.within(15, 17);
  });

  it('have room for one request that others must answer', () => {
    let asked = 0;
    for (let turn = 0; turn < 100; turn++) {
      while (turns.take(0)) {
        asked++;
        turns.charge();
      }
      nextTurn();
    }
    expect(asked).to.be.within(90, 110);
  });

  it('are taken in order, and a client that waits again goes to the end', () => {
    const seen: string[] = [];
    takeAll(0);
    const ask = (name: string, times: number): void => {
      const isTaken = turns.take(64 * 1024);
      if (isTaken) seen.push(name);
      const left = isTaken ? times - 1 : times;
      if (left > 0) turns.wait(() => ask(name, left));
    };
    ask('a', 2);
    ask('b', 2);
    ask('c', 1);
    for (let turn = 0; turn < 20; turn++) nextTurn();
    expect(seen).to.deep.equal(['a', 'b', 'c', 'a', 'b']);
  });

  it('go to no newcomer while others wait', () => {
    takeAll(0);
    const seen: string[] = [];
    turns.wait(() => {
      if (turns.take(0)) seen.push('waited');
    });
    expect(turns.take(0)).to.equal(false);
    nextTurn();
    expect(seen).to.deep.equal(['waited']);
    expect(turns.take(0)).to.equal(true);
  });

  it('schedule nothing once no client waits', () => {
    turns.take(0);
    nextTurn();
    expect(scheduled).to.have.length(0);
  });
});
