import { expect } from 'chai';
import fc from 'fast-check';
import { durationPattern, formatDuration, parseDuration } from '../../src/api/duration.ts';

describe('parseDuration', () => {
  const durations: readonly (readonly [string, number])[] = [
    ['0s', 0],
    ['250ms', 250],
    ['10s', 10_000],
    ['1.5s', 1500],
    ['0.001s', 1],
    ['1m', 60_000],
    ['1m30s', 90_000],
    ['90m', 5_400_000],
    ['1h30m5s20ms', 5_405_020],
    ['2h', 7_200_000],
    ['1s1s', 2000],
  ];
  for (const [text, ms] of durations)
    it(`reads ${text} as ${ms} ms`, () => {
      expect(parseDuration(text)).to.equal(ms);
    });

  for (const text of ['', '10', 's', '-1s', '1 s', '1d', '1.s', '.5s', '1us', '10s ', '1000000h', '1m-3s'])
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseDuration(text)).to.throw(/not a duration/);
    });

  it('reads back every output of formatDuration, in the notation that the API server accepts', () => {
    fc.assert(
      fc.property(fc.nat(), (ms) => {
        const text = formatDuration(ms);
        expect(text).to.match(new RegExp(durationPattern));
        expect(parseDuration(text)).to.equal(ms);
      }),
    );
  });
});

describe('formatDuration', () => {
  it('writes the largest units first and omits zeros', () => {
    expect([0, 250, 90_000, 7_200_000, 3_600_001].map(formatDuration)).to.deep.equal([
      '0s',
      '250ms',
      '1m30s',
      '2h',
      '1h1ms',
    ]);
  });
});
