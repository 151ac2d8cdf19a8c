import { expect } from 'chai';
import { readDuration } from '../../src/domain/read-duration.ts';

describe('readDuration', () => {
  for (const [text, ms] of [
    ['0s', 0],
    ['250ms', 250],
    ['1.5s', 1_500],
    ['0.0006s', 1],
    ['1m', 60_000],
    ['10m30s', 630_000],
    ['2h1m1s1ms', 7_261_001],
    ['12.25h', 44_100_000],
    ['1s1s', 2_000],
  ] as const)
    it(`reads ${text} as ${ms} ms`, () => {
      expect(readDuration(text)).to.equal(ms);
    });

  for (const text of ['', '1', 's', '-1s', '1 s', ' 1s', '1s ', '1d', '1.s', '.5s', '1..5s', '1us', '1sx', 'x1s', '1S'])
    it(`takes ${JSON.stringify(text)} for no duration`, () => {
      expect(readDuration(text)).to.equal(undefined);
    });
});
