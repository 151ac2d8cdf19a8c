import { expect } from 'chai';
import { faults, pair } from '../../lab/chaos/faults.ts';
import {
  type Answer,
  type Ask,
  createOracle,
  createWriteLedger,
  isLostRead,
  judge,
  readinessOf,
} from '../../lab/chaos/oracle.ts';
import { createAnswerTally } from '../../lab/chaos/report.ts';
import { type Fault, kindOf, type Scene } from '../../lab/chaos/scene.ts';

const answer = (status: number, more: Partial<Answer> = {}): Answer => ({
  status,
  retryAfter: false,
  isStatus: false,
  message: '',
  names: [],
  ...more,
});
const read: Ask = { kind: 'read', resource: 'claims' };
const verdictOf = (ask: Ask, given: Answer) => judge({ ask, answer: given }, ['apps']).verdict;

describe('the oracle of make chaos', () => {
  it('calls every forbidden answer wrong', () => {
    expect(verdictOf(read, answer(404))).to.equal('wrong');
    expect(verdictOf(read, answer(403))).to.equal('wrong');
    expect(verdictOf(read, answer(503, { retryAfter: true }))).to.equal('wrong');
    expect(verdictOf(read, answer(503, { isStatus: true }))).to.equal('wrong');
    expect(verdictOf({ kind: 'unserved' }, answer(200))).to.equal('wrong');
    expect(verdictOf({ kind: 'discovery' }, answer(200, { names: ['batch'] }))).to.equal('wrong');
    expect(verdictOf({ kind: 'identity', user: 'jane' }, answer(201, { names: ['admin'] }))).to.equal('wrong');
    expect(verdictOf({ kind: 'forbidden' }, answer(200))).to.equal('wrong');
    expect(verdictOf({ kind: 'write', id: 'a', round: 1 }, answer(404))).to.equal('wrong');
  });

  it('accepts right answers and an honest doubt', () => {
    expect(verdictOf(read, answer(200))).to.equal('good');
    expect(verdictOf({ kind: 'unserved' }, answer(404))).to.equal('good');
    expect(verdictOf({ kind: 'discovery' }, answer(200, { names: ['apps'] }))).to.equal('good');
    expect(verdictOf({ kind: 'unserved' }, answer(503, { retryAfter: true, isStatus: true }))).to.equal('refused');
    expect(verdictOf({ kind: 'write', id: 'a', round: 1 }, answer(504))).to.equal('refused');
    expect(verdictOf(read, answer(0))).to.equal('unanswered');
  });

  it('counts a read as lost only if its proxy and a capable server were fit all the time', () => {
    const oracle = createOracle(
      new Map([
        ['old', new Set<string>()],
        ['new', new Set(['claims'])],
      ]),
    );
    const asked = (fromMs: number, toMs: number) => ({ ask: read, proxy: 'proxy', fromMs, toMs, answer: answer(0) });
    oracle.mark('old', false, 0);
    expect(isLostRead(oracle, asked(1, 2))).to.equal(true);
    oracle.mark('new', false, 10);
    oracle.mark('new', true, 20);
    expect(isLostRead(oracle, asked(5, 15)), 'it fell meanwhile').to.equal(false);
    expect(isLostRead(oracle, asked(12, 30)), 'it came back meanwhile').to.equal(false);
    expect(isLostRead(oracle, asked(21, 30))).to.equal(true);
    oracle.mark('proxy', false, 25);
    expect(isLostRead(oracle, asked(21, 30))).to.equal(false);
    expect(isLostRead(oracle, { ...asked(21, 22), answer: answer(200) })).to.equal(false);
    const reading = { message: 'storage is (re)initializing', retryAfter: true, isStatus: true };
    expect(isLostRead(oracle, { ...asked(21, 22), answer: answer(429, reading) }), 'a server said so').to.equal(false);
  });

  it('takes no server for fit that has said, some seconds ago, that it is not ready', () => {
    const oracle = createOracle(new Map([['new', new Set(['claims'])]]));
    const asked = { ask: read, proxy: 'proxy', fromMs: 10, toMs: 20, answer: answer(503) };
    expect(isLostRead(oracle, asked)).to.equal(true);
    oracle.mark(readinessOf('new'), false, 5);
    oracle.mark(readinessOf('new'), true, 90);
    expect(isLostRead(oracle, asked)).to.equal(false);
    expect(isLostRead(oracle, { ...asked, fromMs: 91, toMs: 92 })).to.equal(true);
  });

  it('takes no program for fit that was expected to be fit soon and then was not', () => {
    const oracle = createOracle(new Map([['new', new Set(['claims'])]]));
    oracle.mark('proxy', true, 13);
    oracle.mark('proxy', false, 10);
    expect(oracle.fitThroughout('proxy', 20, 30)).to.equal(false);
  });

  it('finds writes that were lost, doubled, or refused but done, round by round', () => {
    const ledger = createWriteLedger();
    const write = (id: string, status: number, round: number) =>
      ledger.add({
        ask: { kind: 'write' as const, id, round },
        proxy: 'proxy',
        fromMs: 0,
        toMs: 1,
        answer: answer(status),
      });
    write('a', 201, 1);
    write('b', 201, 1);
    write('c', 503, 1);
    write('d', 504, 1);
    write('e', 201, 2);
    ledger.settle(1, new Map(Object.entries({ a: 1, c: 1, d: 2 })));
    expect(ledger.tally()).to.deep.equal({ confirmed: 2, lost: ['b'], twice: ['d'], refusedButDone: ['c'] });
    expect(ledger.open(), 'a settled round is forgotten').to.deep.equal([2]);
    ledger.settle(2, new Map([['e', 1]]));
    expect(ledger.tally()).to.include({ confirmed: 3 });
  });
});

describe('the tally of make chaos', () => {
  it('counts answers, says why one was wrong or a read was lost, and keeps none of them', () => {
    const oracle = createOracle(new Map([['new', new Set(['claims'])]]));
    const tally = createAnswerTally(oracle, []);
    const asked = (toMs: number, given: Answer) => tally.add({ ask: read, proxy: 'p', fromMs: 0, toMs, answer: given });
    asked(1, answer(200));
    asked(7, answer(404, { isStatus: true, message: 'gone' }));
    asked(2, answer(503, { isStatus: true, retryAfter: true, message: 'doubt' }));
    const outcome = tally.outcome('a fault', 1_000);
    expect(outcome).to.include({ requests: 3, wrongAnswers: 1, lostReads: 2, refused: 1, slowestReadMs: 1 });
    expect([...outcome.wrong]).to.deep.equal([['404 for claims, which a server serves (gone)', 1]]);
    expect(outcome.line).to.contain('1 × claims by p: 503 doubt');
  });
});

describe('the faults of make chaos', () => {
  it('have distinct names, and one kind for every server or proxy that they hit', () => {
    expect(new Set(faults.map(({ name }) => name)).size).to.equal(faults.length);
    const kinds = new Set(faults.map(kindOf));
    expect(kinds).to.include('a server hangs (SIGSTOP)');
    expect([...kinds].filter((kind) => /SIGSTOP/.test(kind))).to.have.length(1);
  });
});

describe('a pair of faults of make chaos', () => {
  async function historyOf(first: readonly string[], second: readonly string[]): Promise<readonly string[]> {
    const history: string[] = [];
    const fault = (name: string, touches: readonly string[]): Fault => {
      const act = async (what: string) => {
        history.push(`${name} begins to ${what}`);
        await Promise.resolve();
        history.push(`${name} has ended to ${what}`);
      };
      return { name, touches, holdMs: 0, strike: () => act('strike'), heal: () => act('heal') };
    };
    const both = pair(fault('one', first), fault('two', second));
    await both.strike({} as Scene);
    await both.heal({} as Scene);
    return history;
  }

  it('stops etcd only while neither of them needs the API', async () => {
    const expected = ['other strike', 'etcd strike', 'etcd heal', 'other heal'];
    for (const names of [
      { one: 'etcd', two: 'other' },
      { one: 'other', two: 'etcd' },
    ]) {
      const history = await historyOf([names.one], [names.two]);
      expect(history).to.deep.equal(
        expected.flatMap((step) => {
          const [who = '', what = ''] = step.split(' ');
          const name = names.one === who ? 'one' : 'two';
          return [`${name} begins to ${what}`, `${name} has ended to ${what}`];
        }),
      );
    }
  });

  it('strikes and heals at once otherwise', async () => {
    const [first, second] = await historyOf(['table'], ['operators']);
    expect([first, second]).to.have.members(['one begins to strike', 'two begins to strike']);
  });
});
