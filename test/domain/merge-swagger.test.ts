import { expect } from 'chai';
import fc from 'fast-check';
import { createSwaggerMerge } from '../../src/domain/merge-swagger.ts';
import { InvalidSwaggerError } from '../../src/domain/split-swagger.ts';

function mergeTexts(...texts: readonly string[]): string {
  const merge = createSwaggerMerge();
  for (const text of texts) merge.add(Buffer.from(text));
  return Buffer.from(merge.finish()).toString();
}
const mergeObjects = (...documents: readonly object[]) => mergeTexts(...documents.map((one) => JSON.stringify(one)));

describe('createSwaggerMerge', () => {
  it('adds missing parts and changes nothing', () => {
    const base = { swagger: '2.0', info: { version: 'new' }, paths: { '/b': 1 }, definitions: { B: 1 } };
    const more = { swagger: '2.0', info: { version: 'old' }, paths: { '/a': 2, '/b': 2 }, definitions: { A: 2, B: 2 } };
    expect(mergeObjects(base, more)).to.equal(
      '{"swagger":"2.0","info":{"version":"new"},"paths":{"/a":2,"/b":1},"definitions":{"A":2,"B":1}}',
    );
  });

  it('adds a part that the first document lacks, and ignores values that are not objects', () => {
    expect(mergeObjects({ a: 1 }, { paths: { b: 2 } })).to.equal('{"a":1,"paths":{"b":2}}');
    expect(mergeObjects({ paths: { a: 1 } }, { paths: [2], definitions: null })).to.equal('{"paths":{"a":1}}');
    expect(mergeObjects({ paths: null }, { paths: {} })).to.equal('{"paths":{}}');
    expect(mergeTexts(' { } ', '{}')).to.equal('{}');
  });

  it('keeps the escapes of added parts, and compares names by their meaning', () => {
    expect(mergeTexts('{"paths":{"\\u003ca":"\\u003c"}}', '{"paths":{"<a":2,"\\/":"\\"}"}}')).to.equal(
      '{"paths":{"\\/":"\\"}","\\u003ca":"\\u003c"}}',
    );
    expect(mergeTexts('{"__proto__":1,"toString":2}', '{"definitions":{"__proto__":{}}}')).to.equal(
      '{"__proto__":1,"toString":2,"definitions":{"__proto__":{}}}',
    );
  });

  it('reads exactly the objects that JSON.parse reads', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"paths"',
      '"\\"',
      '1',
      'tru',
      'true',
      ' ',
      '"',
    );
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 12 }).map((some) => some.join('')),
      fc.json(),
      fc.json().map((text) => `{"paths":${text},"b":[${text}]}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        let read: unknown;
        try {
          read = JSON.parse(text);
        } catch {}
        const isObject = typeof read === 'object' && read !== null && !Array.isArray(read);
        if (!isObject) expect(() => mergeTexts(text), text).to.throw(InvalidSwaggerError);
        else expect(JSON.parse(mergeTexts(text))).to.deep.equal(read);
      }),
      { numRuns: 2_000 },
    );
  });
});
