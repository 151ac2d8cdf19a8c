import { expect } from 'chai';
import fc from 'fast-check';
import { loadRequestParsers } from '../../../src/http/llhttp/request-parser.ts';

describe('the request parser', () => {
  const parsers = loadRequestParsers();

  /** The result of parsing a head at once, or byte by byte. */
  function read(text: string, byByte: boolean) {
    const parser = parsers.create({ maxHeaderBytes: 1_000, maxHeaderFields: 10 });
    parser.reset();
    const bytes = Buffer.from(text, 'latin1');
    let at = 0;
    while (at < bytes.length && parser.problem === undefined && !parser.headComplete)
      at += parser.read(byByte ? bytes.subarray(at, at + 1) : bytes.subarray(at), 0);
    const { headComplete, version, target, rawHeaders, problem, reason } = parser;
    parser.free();
    if (problem !== undefined) return { problem, reason };
    return { headComplete, version, target, rawHeaders: [...rawHeaders], rest: bytes.length - at };
  }

  for (const byByte of [false, true]) {
    const how = byByte ? 'byte by byte' : 'at once';

    it(`knows the version of a head with and without fields that arrives ${how}`, () => {
      for (const version of ['1.0', '1.1'])
        for (const rawHeaders of [[], ['Host', 'a']]) {
          const fields = rawHeaders.length === 0 ? '' : 'Host: a\r\n';
          expect(read(`GET /a HTTP/${version}\r\n${fields}\r\nnext`, byByte)).to.deep.equal({
            headComplete: true,
            version,
            target: '/a',
            rawHeaders,
            rest: 4,
          });
        }
    });

    it(`accepts no other line as HTTP/1.1 in a head without fields that arrives ${how}`, () => {
      for (const line of ['GET /a  HTTP/1.1', 'OPTIONS /a RTSP/1.0', 'SOURCE /a ICE/1.0', 'GET /a HTTP/0.9'])
        expect(read(`${line}\r\n\r\n`, byByte), line).to.deep.equal({
          problem: 'malformed',
          reason: 'not a request line of HTTP/1.1',
        });
      for (const end of ['\n\n', '\n\r\n', '\r\n\n', ' \r\n\r\n', '\r\n \r\n'])
        expect(read(`GET /a HTTP/1.1${end}`, byByte), JSON.stringify(end)).to.include({ problem: 'malformed' });
    });
  }

  it('gives the same result and the same reason in any division of a head into pieces', () => {
    const whole = 'GET /a HTTP/1.1\r\nA: b\r\n\r\n';
    const change = fc.record({
      at: fc.nat(whole.length - 1),
      removed: fc.nat(12),
      added: fc.string({ unit: fc.constantFrom(...'\r\n\t\0 :/?#aA1.(\x7f\xff'), maxLength: 3 }),
    });
    fc.assert(
      fc.property(change, ({ at, removed, added }) => {
        const text = whole.slice(0, at) + added + whole.slice(at + removed);
        expect(read(text, true)).to.deep.equal(read(text, false));
      }),
      { numRuns: 2_000, examples: [[{ at: 6, removed: 0, added: '\n' }]] },
    );
  });

  it('starts over with the version of the next head', () => {
    const parser = parsers.create({ maxHeaderBytes: 1_000, maxHeaderFields: 10 });
    for (const version of ['1.1', '1.0', '1.1']) {
      parser.reset();
      parser.read(Buffer.from(`GET /a HTTP/${version}\r\n\r\n`), 0);
      expect(parser).to.include({ headComplete: true, problem: undefined, version });
    }
    parser.free();
  });
});
