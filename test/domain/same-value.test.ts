import { expect } from 'chai';
import { sameValue } from '../../src/domain/same-value.ts';

describe('sameValue', () => {
  const same: readonly (readonly [unknown, unknown])[] = [
    [
      { a: 1, b: [2, { c: 3 }] },
      { b: [2, { c: 3 }], a: 1 },
    ],
    [{ a: 1, b: undefined }, { a: 1 }],
    [{}, { a: undefined }],
    [new Map([['a', { b: 1 }]]), new Map([['a', { b: 1 }]])],
    [new Set(['a', 'b']), new Set(['b', 'a'])],
    [Number.NaN, Number.NaN],
  ];
  for (const [a, b] of same)
    it(`is true for ${print(a)} and ${print(b)}`, () => {
      expect(sameValue(a, b)).to.equal(true);
      expect(sameValue(b, a)).to.equal(true);
    });

  const different: readonly (readonly [unknown, unknown])[] = [
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: null }, { a: undefined }],
    [
      [1, 2],
      [2, 1],
    ],
    [[1], [1, undefined]],
    [
      [1, 2],
      [1, 3],
    ],
    [new Set(['a', 'b']), new Set(['a', 'c'])],
    [new Set(['a']), new Set(['a', 'b'])],
    [
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
      new Map([
        ['a', 1],
        ['b', 3],
      ]),
    ],
    [
      new Map([['a', 1]]),
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
    ],
    [null, {}],
    [null, undefined],
    ['a', ['a']],
    [1, {}],
    [[], {}],
    [new Map([['a', 1]]), new Map([['a', 2]])],
    [new Map([['a', undefined]]), new Map([['b', undefined]])],
    [new Set(['a']), new Set(['b'])],
    [new Set(), new Map()],
    [new Set(), {}],
    ['1', 1],
  ];
  for (const [a, b] of different)
    it(`is false for ${print(a)} and ${print(b)}`, () => {
      expect(sameValue(a, b)).to.equal(false);
      expect(sameValue(b, a)).to.equal(false);
    });
});

function print(value: unknown): string {
  if (value instanceof Map) return `a Map of ${JSON.stringify([...value])}`;
  if (value instanceof Set) return `a Set of ${JSON.stringify([...value])}`;
  return JSON.stringify(value) ?? 'undefined';
}
