import { expect } from 'chai';
import { HpackDecoder } from '../../../src/http/http2/hpack-decoder.ts';
import { encodeFields, encodeStatusField, forgetAll } from '../../../src/http/http2/hpack-encoder.ts';
import { decodeHuffman } from '../../../src/http/http2/huffman.ts';

const limits = { maxBytes: 64 * 1024, maxFields: 200 };

function readAll(blocks: readonly string[], decoder = new HpackDecoder(limits)): (string[] | undefined)[] {
  return blocks.map((hex) => {
    const block = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    return decoder.read(block, 0, block.length) ? decoder.fields : undefined;
  });
}

describe('HPACK', () => {
  // RFC 7541, appendix C.
  const first = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
  const second = [...first, 'cache-control', 'no-cache'];
  const third = [
    ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html'],
    ...[':authority', 'www.example.com', 'custom-key', 'custom-value'],
  ];
  const answers = (status: string) => [
    ...[':status', status, 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ...['location', 'https://www.example.com'],
  ];
  const last = [
    ...[':status', '200', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ...['location', 'https://www.example.com', 'content-encoding', 'gzip'],
    ...['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ];

  it('reads the requests of the RFC, plain and Huffman-coded', () => {
    const plain = [
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
    ];
    const coded = [
      '828684418cf1e3c2e5f23a6ba0ab90f4ff',
      '828684be5886a8eb10649cbf',
      '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
    ];
    for (const blocks of [plain, coded]) expect(readAll(blocks)).to.deep.equal([first, second, third]);
  });

  it('reads the answers of the RFC, with a small table that evicts', () => {
    const plain = [
      '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d',
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ];
    const coded = [
      '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ];
    // A table of 256 bytes, as in the appendix.
    for (const [one, ...rest] of [plain, coded])
      expect(readAll([`3fe101${one}`, ...rest])).to.deep.equal([answers('302'), answers('307'), last]);
  });

  it('refuses invalid blocks', () => {
    const broken = {
      'an index of nothing': ['80', 'be', 'c0', 'ff00ff'],
      'a number without end': ['ffffffffffffffff00', 'ff', '7fffffffffff0f'],
      'a text that is cut off': ['0005616263', '00', '400a6162', '0001', '007f'],
      'a table larger than was offered': ['3fe2ff03'],
      'a change of the table behind a field': ['8220'],
      'padding that is not of ones, or too long': ['0081000161', '0082ffff0161', '0084ffffffff0161'],
    };
    for (const [what, blocks] of Object.entries(broken))
      for (const block of blocks) expect(readAll([block]), `${what}: ${block}`).to.deep.equal([undefined]);
  });

  it('reads any prefix of a block like the block, or not at all', () => {
    const block = '828684418cf1e3c2e5f23a6ba0ab90f4ff5886a8eb10649cbf408825a849e95ba97d7f8925a849e95bb8e8b4bf';
    const whole = readAll([block])[0] ?? [];
    for (let end = 0; end <= block.length; end += 2) {
      const [fields] = readAll([block.slice(0, end)]);
      if (fields !== undefined) expect(fields).to.deep.equal(whole.slice(0, fields.length));
    }
  });

  it('marks never-indexed names and values, even in indexed fields', () => {
    const literal = (name: string, value: string) =>
      [0x40, name.length, ...Buffer.from(name, 'latin1'), value.length, ...Buffer.from(value, 'latin1')]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('');
    for (const [name, value] of [
      ['X', 'a'],
      ['x ', 'a'],
      ['', 'a'],
      [':', 'a'],
      ['a:b', 'a'],
      ['x', 'a\nb'],
      ['x', 'a\0'],
      ['x', '\x7f'],
    ] as const) {
      const decoder = new HpackDecoder(limits);
      readAll([literal(name, value)], decoder);
      expect(decoder.malformed, JSON.stringify([name, value])).to.equal(true);
      readAll(['82'], decoder);
      expect(decoder.malformed).to.equal(false);
      readAll(['be'], decoder);
      expect(decoder.malformed).to.equal(true);
    }
    expect(readAll([literal('x', ' a b\t')])).to.deep.equal([['x', 'a b']]);
  });

  it('reads a value of only spaces in no more time than any other', () => {
    // Quadratic work would take minutes here.
    const value = Buffer.from(`a${' '.repeat(500_000)}b `);
    const length = [
      0x7f,
      ((value.length - 127) & 127) | 128,
      (((value.length - 127) >> 7) & 127) | 128,
      (value.length - 127) >> 14,
    ];
    const block = Buffer.concat([Buffer.from([0, 1, 0x78, ...length]), value]);
    const decoder = new HpackDecoder({ maxBytes: 1_000_000, maxFields: 1 });
    expect(decoder.read(block, 0, block.length)).to.equal(true);
    expect(decoder.fields[1]).to.have.length(500_002);
  });

  it('keeps a list within the limits, however often one byte repeats a long field', () => {
    const decoder = new HpackDecoder(limits);
    const long = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'a')]);
    expect(decoder.read(long, 0, long.length)).to.equal(true);
    const bomb = Buffer.alloc(16_000, 0xbe);
    expect(decoder.read(bomb, 0, bomb.length)).to.equal(true);
    expect(decoder.excess).to.equal('bytes');
    expect(decoder.fields.join('').length).to.be.below(limits.maxBytes);
    expect(decoder.read(Buffer.from([0xbe]), 0, 1)).to.equal(true);
    expect(decoder.excess).to.equal(undefined);
  });

  it('reads its own output, with names of the static table and texts of any length', () => {
    const fields = [
      ...['Content-Type', 'application/json', 'X-Kubernetes-Pf-Flowschema-Uid', 'a'.repeat(126), 'etag', '"x"'],
      ...['warning', 'b'.repeat(127), 'x', 'c'.repeat(255), 'y', 'd'.repeat(20_000), 'z', '', 'latin', '\xe9'],
    ];
    const block = Buffer.from(`${forgetAll}${encodeStatusField(200)}${encodeFields(fields)}`, 'latin1');
    const decoder = new HpackDecoder(limits);
    expect(decoder.read(block, 0, block.length)).to.equal(true);
    const lower = fields.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));
    expect(decoder.fields).to.deep.equal([':status', '200', ...lower]);
    for (const status of [201, 404, 503, 999]) {
      const one = Buffer.from(encodeStatusField(status), 'latin1');
      expect(decoder.read(one, 0, one.length)).to.equal(true);
      expect(decoder.fields).to.deep.equal([':status', String(status)]);
    }
  });

  it('writes no connection-specific field, and nothing that could be read in two ways', () => {
    expect(
      encodeFields(['Connection', 'close', 'Transfer-Encoding', 'chunked', 'Keep-Alive', '1', 'Upgrade', 'a']),
    ).to.equal('');
    for (const fields of [
      ['a b', 'c'],
      ['', 'c'],
      [':status', '200'],
      ['a', 'b\r\nc: d'],
      ['a', '\0'],
      ['a', 'ā'],
    ])
      expect(encodeFields(fields)).to.equal(undefined);
  });

  it('decodes each byte by the Huffman code, and no end mark', () => {
    // The codes of RFC 7541, appendix B, for bytes with codes of increasing length.
    const codes = {
      '0': '00000',
      ' ': '010100',
      ':': '1011100',
      '&': '11111000',
      '!': '1111111000',
      '\xff': '11111111111111111111101110',
      '\n': '111111111111111111111111111100',
      '\x16': '111111111111111111111111111110',
    };
    for (const [text, code] of Object.entries(codes))
      for (const count of [1, 2, 3, 5]) {
        const bits = code.repeat(count);
        const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
        const bytes = Buffer.from(padded.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
        expect(decodeHuffman(bytes, 0, bytes.length), JSON.stringify(text)).to.equal(text.repeat(count));
      }
    expect(decodeHuffman(Buffer.from('ffffffff', 'hex'), 0, 4)).to.equal(undefined);
    expect(decodeHuffman(Buffer.alloc(0), 0, 0)).to.equal('');
  });
});
