import { expect } from 'chai';
import fc from 'fast-check';
import { findJsonExcess } from '../../src/domain/count-json.ts';

const bounds = { maxContainers: 3, maxCommas: 4, maxNames: 2 };
const check = (text: string, within = bounds) => findJsonExcess(Buffer.from(text), within);

describe('findJsonExcess', () => {
  it('accepts a text within its limits', () => {
    expect(check('{"a":[1,2,3,4,5],"b":{}}', { ...bounds, maxCommas: 5 })).to.equal(undefined);
    expect(check('')).to.equal(undefined);
  });

  it('names the limit that a text exceeds', () => {
    expect(check('[{},{},{}]')).to.equal('it has more than 3 objects and lists');
    expect(check('[[[[')).to.equal('it has more than 3 objects and lists');
    expect(check('[1,2,3,4,5,6]')).to.equal('it has more than 4 values');
  });

  it('counts each name once, wherever and however it is written', () => {
    const many = { maxContainers: 100, maxCommas: 100, maxNames: 2 };
    expect(check('[{"a":1,"b":2},{"b" : 3,"a"\n:4}]', many)).to.equal(undefined);
    const over = 'it has more than 2 names';
    expect(check('[{"a":1},{"b":2},{"c":3}]', many)).to.equal(over);
    expect(check('{"x\\"":1,"y\\"":1,"z\\"":1}', many)).to.equal(over);
    expect(check(String.raw`{"x\\":1,"y\\":1,"z\\":1}`, many)).to.equal(over);
    expect(check('[{"a" :1},{"b"\n:2},{"c" \t\r\n :3}]', many)).to.equal(over);
    expect(check('{"a":"b:c:d:e","b":"\\"c\\":1, \\"d\\":2"}', many)).to.equal(undefined);
  });

  it('counts a name of more than a kilobyte each time', () => {
    const repeated = (length: number) =>
      Array(3)
        .fill(`{"${'x'.repeat(length)}":1}`)
        .join(',');
    const many = { maxContainers: 100, maxCommas: 100, maxNames: 2 };
    expect(check(`[${repeated(1_000)}]`, many)).to.equal(undefined);
    expect(check(`[${repeated(1_100)}]`, many)).to.equal('it has more than 2 names');
  });

  it('refuses JSON that is quick to send but takes seconds to read: millions of members with different names', () => {
    const members = Array.from({ length: 250_000 }, (_, at) => `"name-${at}":1`).join(',');
    expect(findJsonExcess(Buffer.from(`{${members}}`))).to.equal('it has more than 200000 names');
  });

  it('accepts nothing beyond the limits, whatever is in its strings', () => {
    const count = (value: unknown): number =>
      typeof value !== 'object' || value === null
        ? 0
        : 1 + Object.values(value).reduce((sum, at) => sum + count(at), 0);
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(6), (value, maxContainers) => {
        const verdict = check(JSON.stringify(value), { maxContainers, maxCommas: 1_000_000, maxNames: 1_000_000 });
        if (count(value) > maxContainers) expect(verdict).to.include('objects and lists');
      }),
    );
  });
});
