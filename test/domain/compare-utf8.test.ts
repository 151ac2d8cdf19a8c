import { expect } from 'chai';
import fc from 'fast-check';
import { compareUtf8 } from '../../src/domain/compare-utf8.ts';

describe('compareUtf8', () => {
  it('puts a character beyond the basic plane behind U+FFFD, unlike a comparison by UTF-16 units', () => {
    expect(compareUtf8('\u{1f600}', '\ufffd')).to.be.above(0);
    expect('\u{1f600}' < '\ufffd').to.equal(true);
    for (const first of ['\u{10000}', '\u{103ff}', '\u{10ffff}'])
      for (const other of ['\ud7ff', '\ue000', '\uffff']) expect(compareUtf8(first, other)).to.be.above(0);
  });

  it('puts a prefix first, capitals before small letters, and 10 before 9', () => {
    expect(['ab', 'a', 'B', '9', '10', ''].sort(compareUtf8)).to.deep.equal(['', '10', '9', 'B', 'a', 'ab']);
  });

  it('orders any text by its bytes', () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom('a', 'é', '\ud7ff', '\ue000', '\ufffd', '😀'), fc.string()),
    });
    fc.assert(
      fc.property(text, text, (first, second) => {
        const [a, b] = [first.toWellFormed(), second.toWellFormed()];
        expect(Math.sign(compareUtf8(a, b))).to.equal(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 300 },
    );
  });
});
