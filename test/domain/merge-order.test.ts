import { expect } from 'chai';
import fc from 'fast-check';
import { mergeOrder } from '../../src/domain/merge-order.ts';

const merge = (...lists: string[]) => mergeOrder(lists.map((list) => [...list])).join('');

describe('mergeOrder', () => {
  it("passes Kubernetes' own table of cases", () => {
    expect(merge('ABCD', 'ABCD', 'AXZD', 'ZY', 'Q')).to.equal('ABCQXZDY');
    expect(merge()).to.equal('');
    expect(merge('fba')).to.equal('fba');
    expect(merge('AB', 'BA')).to.equal('AB');
    expect(merge('', 'ABC')).to.equal('ABC');
    expect(merge('', '', '')).to.equal('');
    expect(merge('CDE', 'BDE', 'ADE')).to.equal('ABCDE');
    expect(merge('ADE', 'ACE', 'ABE')).to.equal('ABCDE');
    expect(merge('ABC', 'BCA', 'CAB')).to.equal('ABC');
    expect(merge('ABCD', 'BA', 'CD')).to.equal('ABCD');
    expect(merge('AB', 'CD', 'BA')).to.equal('ABCD');
    expect(merge('AB', 'BC', 'CA')).to.equal('ABC');
  });

  it('takes the first list that has every name once, even against the order of another', () => {
    expect(merge('ca', 'cab', 'bca')).to.equal('cab');
  });

  it('sorts all names if the lists contradict each other or one has a name twice', () => {
    expect(merge('zab', 'bz')).to.equal('zab');
    expect(merge('zab', 'bzc')).to.equal('abcz');
    expect(merge('zz', 'a')).to.equal('az');
  });

  it('always takes the smallest free name, as a naive sort does', () => {
    // Subsets of one order never contradict each other.
    const order = fc.shuffledSubarray([...'abcdefghijklmnopqrstuvwxyz'], { minLength: 26 });
    const lists = order.chain((names) =>
      fc.array(fc.subarray(names, { maxLength: 9 }), { minLength: 1, maxLength: 6 }),
    );
    fc.assert(
      fc.property(lists, (given) => {
        const names = new Set(given.flat());
        const complete = given.find((list) => list.length === names.size);
        expect(mergeOrder(given)).to.deep.equal(complete ?? sortNaively(given));
      }),
      { numRuns: 300 },
    );
  });

  it('has every name exactly once, for any lists', () => {
    const lists = fc.array(fc.array(fc.constantFrom(...'abcdef')), { maxLength: 5 });
    fc.assert(
      fc.property(lists, (given) => {
        expect([...mergeOrder(given)].sort()).to.deep.equal([...new Set(given.flat())].sort());
      }),
      { numRuns: 300 },
    );
  });

  it('orders 100,000 names without quadratic work', () => {
    const names = Array.from({ length: 100_000 }, (_, index) => `n${index}`);
    const even = names.filter((_, index) => index % 2 === 0);
    const odd = names.filter((_, index) => index % 2 === 1);
    expect(mergeOrder([even, odd])).to.have.length(100_000);
  });
});

function sortNaively(lists: readonly (readonly string[])[]): string[] {
  const left = new Set(lists.flat());
  const sorted: string[] = [];
  while (left.size > 0) {
    const free = [...left].filter((name) =>
      lists.every((list) => !list.slice(0, Math.max(0, list.indexOf(name))).some((before) => left.has(before))),
    );
    const next = free.sort()[0];
    if (next === undefined) throw new Error('the lists contradict each other');
    left.delete(next);
    sorted.push(next);
  }
  return sorted;
}
