import { expect } from 'chai';
import { parseGoFloat } from '../../src/domain/parse-go-float.ts';

/** Each value is the result of `strconv.ParseFloat(text, 32)` in Go 1.26. */
const cases: readonly (readonly [string, number])[] = [
  ['0.5', 0.5],
  ['.5', 0.5],
  ['5.', 5],
  ['+1e1', 10],
  ['-1E-1', Math.fround(-0.1)],
  ['1_0', 10],
  ['1e1_0', 1e10],
  ['0.1000000001', Math.fround(0.1)],
  ['1e40', Number.POSITIVE_INFINITY],
  ['0x1p-2', 0.25],
  ['0x.8p0', 0.5],
  ['0X1_0.8P0', 16.5],
  ['-0x1p0', -1],
  ['0x_1p0', 1],
  ['inf', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['NaN', Number.NaN],
];

const noNumbers = ['', ' 0.5', '0.5 ', '0.5pp', '.', '+', 'e1', '1e', '1e_5', '1_', '_1', '1__0', '1_.5', '1._5'];
const norThese = ['0x1', '0xp0', '0x.p0', '0b1', '+nan', 'nanx', 'infin', '1,5', '0.5.1', '١'];

describe('parseGoFloat', () => {
  for (const [text, value] of cases)
    it(`reads ${text} as Go does`, () => {
      expect(parseGoFloat(text)).to.deep.equal(value);
    });

  it('gives 0 for invalid text, like Go, which also returns an error', () => {
    for (const text of [...noNumbers, ...norThese]) expect(parseGoFloat(text), JSON.stringify(text)).to.equal(0);
  });
});
