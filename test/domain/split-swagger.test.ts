import { expect } from 'chai';
import { splitSwagger } from '../../src/domain/split-swagger.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (part: Uint8Array | undefined) => new TextDecoder().decode(part);
const split = (text: string) => splitSwagger(bytes(text));

describe('splitSwagger', () => {
  it('cuts the document, its paths and its definitions into members, each as it stands in the text', () => {
    const spaces = ' \t\r\n';
    const text = `${spaces}{${spaces}"swagger"${spaces}:${spaces}"2.0"${spaces},"paths":{"/a\\u0062":{"x":[1,{}]},"/c" : 1${spaces}},"definitions":{"K":{"t":"},{"}}}${spaces}`;
    const { members, paths, definitions } = split(text);
    expect([...members.keys()]).to.deep.equal(['swagger', 'paths', 'definitions']);
    expect(textOf(members.get('swagger')?.value)).to.equal('"2.0"');
    expect([...(paths ?? [])].map(([key, { name, value }]) => [key, textOf(name), textOf(value)])).to.deep.equal([
      ['/ab', '"/a\\u0062"', '{"x":[1,{}]}'],
      ['/c', '"/c"', '1'],
    ]);
    expect(textOf(definitions?.get('K')?.value)).to.equal('{"t":"},{"}');
  });

  it('ends a number or a word at any space, comma or brace', () => {
    for (const end of [' ', '\t', '\r', '\n', ',', ''])
      expect(textOf(split(`{"a":12${end}${end === ',' ? '"b":1' : ''}}`).members.get('a')?.value)).to.equal('12');
    expect(textOf(split('{"a":{"b":"x"}}').members.get('a')?.value)).to.equal('{"b":"x"}');
    expect(textOf(split('{"a":"\\"","b":1}').members.get('a')?.value)).to.equal('"\\""');
  });

  it('takes the last of two members with one name, and knows a document without parts', () => {
    const { members, paths, definitions } = split('{"a":1,"paths":null,"a":2}');
    expect(textOf(members.get('a')?.value)).to.equal('2');
    expect([paths, definitions]).to.deep.equal([undefined, undefined]);
    expect(split('{}').members.size).to.equal(0);
  });

  for (const [what, text] of [
    ['nothing', ''],
    ['a list', '[]'],
    ['no end', '{'],
    ['more after the end', '{} {}'],
    ['no comma', '{"a":1 "b":2}'],
    ['two commas', '{"a":1,,"b":2}'],
    ['a comma before the end', '{"a":1,}'],
    ['no colon', '{"a" 1}'],
    ['a name without quotes', '{a:1}'],
    ['a name that is a number', '{1:1}'],
    ['a name that has no end', '{"a'],
    ['a text that has no end', '{"a":"b'],
    ['a name with an odd escape', '{"\\x":1}'],
    ['an odd value', '{"a":tru}'],
    ['no value', '{"a":}'],
    ['an odd value in the paths', '{"paths":{"/a":tru}}'],
    ['an odd value in the definitions', '{"definitions":{"K":{"a" 1}}}'],
    ['paths that are an odd value', '{"paths":tru}'],
    ['brackets that do not match', '{"a":[1}}'],
  ] as const)
    it(`refuses ${what}`, () => {
      expect(() => split(text))
        .to.throw()
        .with.property('name', 'InvalidSwaggerError');
    });

  it('refuses bytes that are no UTF-8, in a name and in a value', () => {
    for (const [from, to] of [
      ['N', 0x4e],
      ['V', 0x56],
    ] as const) {
      const text = bytes('{"paths":{"N":"V"}}').map((byte) => (byte === to ? 0xff : byte));
      expect(() => splitSwagger(text), from).to.throw('it is not JSON');
    }
  });

  it('refuses a part that is longer, and an object that has more members, than any cluster needs', () => {
    const most = 16 * 1024 * 1024;
    const withPart = (length: number) => `{"paths":{"/a":"${'x'.repeat(length - 2)}"}}`;
    expect(split(withPart(most)).paths?.size).to.equal(1);
    expect(() => split(withPart(most + 1))).to.throw('a part of it is longer than 16777216 bytes');
    expect(() => split(`{"paths":[${'{},'.repeat(1_000_001)}{}]}`)).to.throw('it has more than 1000000 objects');
  });
});
