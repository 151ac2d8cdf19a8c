import { expect } from 'chai';
import fc from 'fast-check';
import { findJsonExcess } from '../../src/domain/count-json.ts';

const bounds = { maxContainers: 3, maxCommas: 4 };
const check = (text: string, within = bounds) => findJsonExcess(Buffer.from(text), within);

describe('findJsonExcess', () => {
  it('lets a text through that holds no more than it may', () => {
    expect(check('{"a":[1,2,3,4,5],"b":{}}', { maxContainers: 3, maxCommas: 5 })).to.equal(undefined);
    expect(check('')).to.equal(undefined);
  });

  it('names the bound that a text exceeds', () => {
    expect(check('[{},{},{}]')).to.equal('it holds more than 3 objects and lists');
    expect(check('[[[[')).to.equal('it holds more than 3 objects and lists');
    expect(check('[1,2,3,4,5,6]')).to.equal('it holds more than 4 values');
  });

  it('lets nothing through that holds more, whatever is in its strings', () => {
    const count = (value: unknown): number =>
      typeof value !== 'object' || value === null
        ? 0
        : 1 + Object.values(value).reduce((sum, at) => sum + count(at), 0);
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(6), (value, maxContainers) => {
        const verdict = check(JSON.stringify(value), { maxContainers, maxCommas: 1_000_000 });
        if (count(value) > maxContainers) expect(verdict).to.include('objects and lists');
      }),
    );
  });
});
