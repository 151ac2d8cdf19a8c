import { expect } from 'chai';
import { type Answer, type Ask, createOracle, isLostRead, judge, tallyWrites } from '../../lab/chaos/oracle.ts';

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
  it('calls wrong what must never be said', () => {
    expect(verdictOf(read, answer(404))).to.equal('wrong');
    expect(verdictOf(read, answer(403))).to.equal('wrong');
    expect(verdictOf(read, answer(503, { retryAfter: true }))).to.equal('wrong');
    expect(verdictOf(read, answer(503, { isStatus: true }))).to.equal('wrong');
    expect(verdictOf({ kind: 'unserved' }, answer(200))).to.equal('wrong');
    expect(verdictOf({ kind: 'discovery' }, answer(200, { names: ['batch'] }))).to.equal('wrong');
    expect(verdictOf({ kind: 'identity', user: 'jane' }, answer(201, { names: ['admin'] }))).to.equal('wrong');
    expect(verdictOf({ kind: 'forbidden' }, answer(200))).to.equal('wrong');
    expect(verdictOf({ kind: 'write', id: 'a' }, answer(404))).to.equal('wrong');
  });

  it('lets the right answers and an honest doubt pass', () => {
    expect(verdictOf(read, answer(200))).to.equal('good');
    expect(verdictOf({ kind: 'unserved' }, answer(404))).to.equal('good');
    expect(verdictOf({ kind: 'discovery' }, answer(200, { names: ['apps'] }))).to.equal('good');
    expect(verdictOf({ kind: 'unserved' }, answer(503, { retryAfter: true, isStatus: true }))).to.equal('refused');
    expect(verdictOf({ kind: 'write', id: 'a' }, answer(504))).to.equal('refused');
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
  });

  it('finds writes that were lost, doubled, or refused and done', () => {
    const write = (id: string, status: number) => ({
      ask: { kind: 'write' as const, id },
      proxy: 'proxy',
      fromMs: 0,
      toMs: 1,
      answer: answer(status),
    });
    const tally = tallyWrites(
      [write('a', 201), write('b', 201), write('c', 503), write('d', 504)],
      new Map([
        ['a', 1],
        ['c', 1],
        ['d', 2],
      ]),
    );
    expect(tally).to.deep.equal({ confirmed: 2, lost: ['b'], twice: ['d'], refusedButDone: ['c'] });
  });
});
