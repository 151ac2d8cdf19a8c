import { expect } from 'chai';
import { InvalidProtobufError, readFields } from '../../src/domain/protobuf-reader.ts';

/** Field 1 with this wire type. */
const tag = (wireType: number) => 8 + wireType;
const maxFields = 250_000;

describe('readFields', () => {
  const read = (...bytes: number[]) => readFields(Uint8Array.from(bytes));

  it('reads each wire type completely, and gives only length-delimited fields a value', () => {
    const parts = [
      [tag(0), 5],
      [tag(1), 1, 2, 3, 4, 5, 6, 7, 8],
      [tag(5), 1, 2, 3, 4],
      [tag(2), 2, 7, 9],
    ];
    expect(read(...parts.flat()).map(({ id, whole, value }) => [id, [...whole], value && [...value]])).to.deep.equal([
      [1, parts[0], undefined],
      [1, parts[1], undefined],
      [1, parts[2], undefined],
      [1, parts[3], [7, 9]],
    ]);
  });

  it('reads numbers of several bytes, up to ten for a negative one', () => {
    // 1000 = 7 * 128 + 104 is the number of the field, 300 = 2 * 128 + 44 the length of its value.
    const [field] = read(0xc2, 0x3e, 0xac, 0x02, ...Array<number>(300).fill(1));
    expect(field?.id).to.equal(1000);
    expect(field?.value).to.have.length(300);
    const negative = [tag(0), ...Array<number>(9).fill(0xff), 1];
    expect(read(...negative, tag(0), 128, 1)).to.have.length(2);
  });

  it('refuses a number that is cut off or longer than ten bytes', () => {
    for (const bytes of [[tag(0)], [tag(0), 128], [128], [tag(0), ...Array<number>(10).fill(0xff), 1]])
      expect(() => read(...bytes)).to.throw(InvalidProtobufError, 'no number');
  });

  it('refuses a field that is longer than the message', () => {
    for (const bytes of [
      [tag(1), 1, 2, 3, 4, 5, 6, 7],
      [tag(5), 1, 2, 3],
      [tag(2), 2, 7],
    ])
      expect(() => read(...bytes)).to.throw(InvalidProtobufError, 'longer than the message');
  });

  it('refuses the wire types of groups, and unknown ones', () => {
    for (const wireType of [3, 4, 6, 7])
      expect(() => read(tag(wireType), 1)).to.throw(InvalidProtobufError, `wire type ${wireType}`);
  });

  it('refuses a message with more fields than any OpenAPI document has', () => {
    const message = new Uint8Array(2 * maxFields + 2).fill(tag(0));
    expect(readFields(message.subarray(2))).to.have.length(maxFields);
    expect(() => readFields(message)).to.throw(InvalidProtobufError, 'more than 250000 fields');
  });
});
