import { expect } from 'chai';
import { array, assert as assertProperty, integer, property, string, uint8Array } from 'fast-check';
import { createLineDecoder, OversizedLineError } from '../../../src/adapters/kubernetes/line-decoder.ts';

describe('createLineDecoder', () => {
  it('yields the same lines however the bytes are cut', () => {
    const lines = ['{"a":"ä€😀"}', '{"b":1}', '{"c":"ünï"}'];
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    void assertProperty(
      property(array(integer({ min: 1, max: 7 }), { minLength: 1 }), (sizes) => {
        const decoder = createLineDecoder(1000);
        const seen: string[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          seen.push(...decoder.push(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(seen).to.deep.equal(lines);
        expect(decoder.pendingBytes).to.equal(0);
      }),
    );
  });

  it('never fails on arbitrary bytes within the limit', () => {
    void assertProperty(property(uint8Array(), (bytes) => void createLineDecoder(1000).push(bytes)));
    void assertProperty(property(string(), (text) => void createLineDecoder(10_000).push(Buffer.from(text))));
  });

  it('refuses a line beyond the limit before its end', () => {
    const decoder = createLineDecoder(10);
    expect(decoder.push(Buffer.from('0123456789\n'))).to.deep.equal(['0123456789']);
    decoder.push(Buffer.from('01234'));
    expect(() => decoder.push(Buffer.from('567890'))).to.throw(OversizedLineError);
  });
});
