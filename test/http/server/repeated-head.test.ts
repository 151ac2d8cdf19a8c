import { expect } from 'chai';
import fc from 'fast-check';
import { RepeatedHead } from '../../../src/http/server/repeated-head.ts';
import { runFront } from '../../support/http1-runs.ts';

const fields = 'Host: a\r\nAuthorization: Bearer b\r\nAccept: */*\r\n\r\n';
const head = (line: string, rest = fields) => Buffer.from(`${line}\r\n${rest}`, 'latin1');
const first = head('GET /a HTTP/1.1');
const rawHeaders = ['Host', 'a'];

function remembered(): RepeatedHead {
  const repeated = new RepeatedHead();
  repeated.remember(first, rawHeaders);
  return repeated;
}

/** The same second request, as one chunk and byte by byte, which only the parser reads. */
async function expectTheSame(second: Buffer): Promise<void> {
  const whole = await runFront([first, second]);
  const bytes = Array.from(second, (_, at) => second.subarray(at, at + 1));
  const inBytes = await runFront([first, ...bytes]);
  expect(whole, JSON.stringify(second.toString('latin1'))).to.deep.equal(inBytes);
}

describe('RepeatedHead', () => {
  it('recognises a head with the same fields and another target', () => {
    expect(remembered().match(head('GET /b?c=d HTTP/1.1'), 8_192)).to.equal('/b?c=d');
    expect(remembered().rawHeaders).to.equal(rawHeaders);
  });

  it('recognises nothing at first, and no head that is too long to keep', () => {
    expect(new RepeatedHead().match(first, 8_192)).to.equal(undefined);
    const repeated = new RepeatedHead();
    const long = head('GET /a HTTP/1.1', `A: ${'a'.repeat(9_000)}\r\n${fields}`);
    repeated.remember(long, rawHeaders);
    expect(repeated.match(long, 100_000)).to.equal(undefined);
  });

  for (const [what, other] of Object.entries({
    'another method': head('PUT /a HTTP/1.1'),
    'another version': head('GET /a HTTP/1.0'),
    'no target': head('GET  HTTP/1.1'),
    'a field of another value': head('GET /a HTTP/1.1', fields.replace('b', 'c')),
    'a field more': head('GET /a HTTP/1.1', `A: b\r\n${fields}`),
    'a field more behind the line': head('GET /a HTTP/1.1\r\nContent-Length: 1'),
    'a field less': head('GET /a HTTP/1.1', fields.slice(9)),
    'something behind it': Buffer.concat([first, Buffer.from('a')]),
    'less than a line': first.subarray(4),
    'the fields alone': Buffer.from(fields),
    'empty lines first': Buffer.concat([Buffer.from('\r\n'), first]),
    'more bytes than are allowed': head(`GET /${'a'.repeat(9_000)} HTTP/1.1`),
  }))
    it(`leaves ${what} to the parser`, () => {
      expect(remembered().match(other, 8_192)).to.equal(undefined);
    });

  it('accepts a target only if the parser would, whatever byte is in it', async () => {
    for (let byte = 0; byte < 256; byte++) {
      const second = head(`GET /a${String.fromCharCode(byte)}b HTTP/1.1`);
      await expectTheSame(second);
    }
  });

  it('does not cache a partial head that looks complete', async () => {
    const begin = Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer b\r\nA: ');
    const end = head('GET /b HTTP/1.1', 'C: d\r\n\r\n');
    const third = head('GET /c HTTP/1.1', 'C: d\r\n\r\n');
    const run = await runFront([begin, end, third]);
    expect(run.handled.map(({ target }) => target)).to.deep.equal(['/a']);
    expect(run.received).to.include('400 Bad Request');
  });

  it('answers a changed second head as the parser would', async () => {
    const change = fc.record({
      at: fc.nat(first.length - 1),
      removed: fc.nat(3),
      added: fc.string({ unit: fc.constantFrom(...'\r\n\t\0 :/?#aA1;,\x7f\xff'), maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, removed, added }) => {
        const parts = [first.subarray(0, at), Buffer.from(added, 'latin1'), first.subarray(at + removed)];
        await expectTheSame(Buffer.concat(parts));
      }),
      { numRuns: 300 },
    );
  });
});
