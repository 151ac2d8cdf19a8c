import { expect } from 'chai';
import { readFields } from '../../src/domain/protobuf-reader.ts';
import { unwrapUnknown, wrapUnknown } from '../../src/domain/protobuf-unknown.ts';
import { bytesField, message, numberField, textsField } from '../../src/domain/protobuf-writer.ts';

const magic = Uint8Array.of(0x6b, 0x38, 0x73, 0);
const typeMeta = message(bytesField(1, 'v1'), bytesField(2, 'Pod'));

describe('a wrapped protobuf object', () => {
  it('begins with the magic bytes, and has type, object, encoding and content type in this order', () => {
    const wrapped = wrapUnknown('v1', 'Pod', Uint8Array.of(1, 2));
    expect([...wrapped.subarray(0, 4)]).to.deep.equal([...magic]);
    const fields = readFields(wrapped.subarray(4));
    expect(fields.map(({ id }) => id)).to.deep.equal([1, 2, 3, 4]);
    expect(fields.map(({ value }) => [...(value ?? [])])).to.deep.equal([[...typeMeta], [1, 2], [], []]);
  });

  it('gives back its kind and its bytes, the last ones if there are several', () => {
    const unwrapped = unwrapUnknown(wrapUnknown('v1', 'Pod', Uint8Array.of(1, 2)));
    expect([unwrapped?.kind, ...(unwrapped?.raw ?? [])]).to.deep.equal(['Pod', 1, 2]);
    const twice = message(magic, bytesField(1, typeMeta), bytesField(2, 'a'), bytesField(2, 'b'));
    expect(new TextDecoder().decode(unwrapUnknown(twice)?.raw)).to.equal('b');
    const kinds = message(bytesField(2, 'Pod'), bytesField(2, 'Node'));
    expect(unwrapUnknown(message(magic, bytesField(1, kinds), bytesField(2, '')))?.kind).to.equal('Node');
  });

  it('is none without all magic bytes, a kind and an object', () => {
    const rest = message(bytesField(1, typeMeta), bytesField(2, 'a'));
    for (let at = 0; at < 4; at++) {
      const broken = Uint8Array.from(magic);
      broken[at] = 1;
      expect(unwrapUnknown(message(broken, rest))).to.equal(undefined);
    }
    for (const bytes of [new Uint8Array(), magic.subarray(0, 3), magic])
      expect(unwrapUnknown(bytes)).to.equal(undefined);
    expect(unwrapUnknown(message(magic, bytesField(2, 'a')))).to.equal(undefined);
    expect(unwrapUnknown(message(magic, bytesField(1, bytesField(1, 'v1')), bytesField(2, 'a')))).to.equal(undefined);
    expect(unwrapUnknown(message(magic, bytesField(1, typeMeta)))).to.equal(undefined);
  });
});

describe('the protobuf writer', () => {
  const bytesOf = (part: Uint8Array) => [...part];

  it('writes numbers in groups of seven bits, the lowest first', () => {
    expect(bytesOf(numberField(1, 0))).to.deep.equal([8, 0]);
    expect(bytesOf(numberField(1, 127))).to.deep.equal([8, 127]);
    expect(bytesOf(numberField(1, 128))).to.deep.equal([8, 0x80, 1]);
    expect(bytesOf(numberField(16, 300))).to.deep.equal([0x80, 1, 0xac, 2]);
    expect(bytesOf(numberField(1, 2 ** 40))).to.deep.equal([8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
  });

  it('writes texts in UTF-8 with their length, and a field for each text of a list', () => {
    expect(bytesOf(bytesField(2, 'ä'))).to.deep.equal([0x12, 2, 0xc3, 0xa4]);
    expect(bytesField(1, 'x'.repeat(200)).subarray(0, 3)).to.deep.equal(Uint8Array.of(10, 0xc8, 1));
    expect(bytesOf(textsField(1, ['a', '']))).to.deep.equal([10, 1, 97, 10, 0]);
    for (const none of [null, undefined, []]) expect(bytesOf(textsField(1, none))).to.deep.equal([]);
  });
});
