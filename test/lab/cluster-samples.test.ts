import { expect } from 'chai';
import {
  judge,
  judgeOperator,
  type Sample,
  type Sight,
  shortcomings,
  type Write,
  wrongRequests,
} from '../../lab/cluster/samples.ts';

const at = (startedAt: number, sample: Partial<Sample>): Sample => ({
  way: 'm1, proxy',
  proxied: true,
  kind: 'read',
  startedAt,
  tookMs: 10,
  status: 200,
  outcome: 'ok',
  ...sample,
});
const sight = (seconds: number, servers: Sight['servers'], converged: string): Sight => ({
  at: seconds * 1_000,
  servers,
  converged,
  confirmedAt: Math.floor(seconds / 5) * 5_000,
});
const write = (found: number, seen: boolean): Write => ({
  name: 'x',
  startedAt: 0,
  proxied: true,
  status: 201,
  found,
  seen,
});
const notFound = { kind: 'new', status: 404, outcome: 'notFound' } as const;

describe('The judge of an upgrade', () => {
  it('takes a 404 for a new API for wrong only after a server has answered it', () => {
    const samples = [at(0, notFound), at(1_000, { kind: 'new', proxied: false }), at(2_000, notFound)];
    expect(judge({ samples, sights: [], writes: [], steps: [] }, true).wrongNotFound).to.equal(1);
  });

  it('takes a 404 for a resource of every version for wrong at any time', () => {
    const samples = [at(0, { status: 404, outcome: 'notFound' })];
    expect(judge({ samples, sights: [], writes: [], steps: [] }, true).wrongNotFound).to.equal(1);
  });

  it('names requests through proxies without an answer in time, and how quick the servers were meanwhile', () => {
    const straight = { way: 'm1, server', proxied: false };
    const samples = [
      at(0, {}),
      at(9_000, { status: 0, outcome: 'noAnswer', tookMs: 20_000, error: 'no answer' }),
      at(1_000, { kind: 'write', outcome: 'noAnswer', status: 201, tookMs: 6_000 }),
      // Before, meanwhile, meanwhile but without success, and after.
      at(0, { ...straight, tookMs: 1_000 }),
      at(500, { ...straight, tookMs: 4_800 }),
      at(2_000, { ...straight, tookMs: 4_900, status: 0, outcome: 'noAnswer' }),
      at(7_000, { ...straight, tookMs: 2_000 }),
    ];
    expect(wrongRequests({ samples, sights: [], writes: [], steps: [] })).to.deep.equal([
      {
        ...{ way: 'm1, proxy', kind: 'write', afterMs: 1_000, tookMs: 6_000 },
        ...{ status: 201, outcome: 'noAnswer', error: undefined, serverMs: 4_800 },
      },
      {
        ...{ way: 'm1, proxy', kind: 'read', afterMs: 9_000, tookMs: 20_000 },
        ...{ status: 0, outcome: 'noAnswer', error: 'no answer', serverMs: undefined },
      },
    ]);
  });

  it('names wrong 404s beside many requests without an answer in time', () => {
    const samples = [
      at(0, { kind: 'new' }),
      ...Array.from({ length: 30 }, (_, index) => at(1_000 + index, { status: 0, outcome: 'noAnswer' })),
      at(2_000, { kind: 'new', status: 404, outcome: 'notFound' }),
    ];
    const named = wrongRequests({ samples, sights: [], writes: [], steps: [] });
    expect(named.map(({ outcome }) => outcome)).to.deep.equal([...Array(10).fill('noAnswer'), 'notFound']);
  });

  it('counts missing and duplicate writes, and those that no watch has shown', () => {
    const writes = [write(1, true), write(0, false), write(2, true), write(1, false)];
    const verdict = judge({ samples: [], sights: [], writes, steps: [] }, true);
    expect(verdict).to.include({ confirmedWrites: 4, lostWrites: 1, doubledWrites: 1, lostEvents: 1 });
  });

  it('counts Converged=True from the first server’s stop to the last one’s return, and not around it', () => {
    const sights = [
      sight(0, ['a', 'a'], 'True'),
      sight(1, [undefined, 'a'], 'True'),
      sight(2, ['b', 'a'], 'False'),
      sight(3, ['b', undefined], 'Unknown'),
      sight(4, ['b', 'b'], 'True'),
      sight(5, ['b', 'b'], 'True'),
    ];
    expect(judgeOperator({ samples: [], sights, writes: [], steps: [] }).convergedMs).to.equal(1_000);
  });

  it('finds the longest time in which Converged stayed True while a server was away or of another version', () => {
    const sights = [
      sight(0, [undefined, 'a'], 'True'),
      sight(1, ['b', 'a'], 'False'),
      sight(2, ['b', 'b'], 'True'),
      sight(9, ['b', 'b'], 'True'),
      sight(10, ['b', undefined], 'True'),
      sight(11, ['b', 'a'], 'True'),
      sight(12, ['b', undefined], 'False'),
    ];
    expect(judgeOperator({ samples: [], sights, writes: [], steps: [] }).wronglyConvergedMs).to.equal(2_000);
  });

  it('finds the longest time between two confirmations', () => {
    const sights = [0, 5, 17, 20].map((seconds) => sight(seconds, ['a'], 'True'));
    expect(judgeOperator({ samples: [], sights, writes: [], steps: [] }).silenceMs).to.equal(10_000);
  });

  it('names requirements that were not met', () => {
    const samples = [at(0, { tookMs: 6_000, outcome: 'noAnswer' }), at(1, { status: 403, outcome: 'refusedUser' })];
    const verdict = judge({ samples, sights: [], writes: [], steps: [] }, true);
    expect(shortcomings(verdict, { convergedMs: 99_000, wronglyConvergedMs: 6_000, silenceMs: 12_000 })).to.deep.equal([
      '1 reads without an answer within 5 s',
      '1 requests answered 401 or 403',
      'Converged stayed True for 6.0 s without reason',
      'the operator did not confirm the table for 12.0 s (due every 5 s)',
    ]);
  });
});
