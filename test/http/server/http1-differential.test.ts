import { expect } from 'chai';
import fc from 'fast-check';
import { type Http1Run, runFront, runNodeServer } from '../../support/http1-runs.ts';

const host = 'Host: a\r\n';
const get = (fields: string, line = 'GET /a?b=c HTTP/1.1') => `${line}\r\n${host}${fields}\r\n`;
const post = (fields: string, body = '') => `POST /a HTTP/1.1\r\n${host}${fields}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);
const next = get('Next: 1\r\n');

/** Heads and bodies. A further request follows each, and must not be part of it. */
const cases: Readonly<Record<string, string>> = {
  'a plain request': get('Accept: */*\r\n'),
  'a HEAD request': get('', 'HEAD /a HTTP/1.1'),
  'an unusual method': get('', 'M-SEARCH /a HTTP/1.1'),
  'an unknown method': get('', 'BREW /a HTTP/1.1'),
  'a method in lower case': get('', 'get /a HTTP/1.1'),
  'a method of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  CONNECT: get('', 'CONNECT a:443 HTTP/1.1'),
  TRACE: get('', 'TRACE / HTTP/1.1'),
  'empty lines first': `\r\n\r\n${get('')}`,
  'a space first': ` ${get('')}`,
  'two spaces before the target': get('', 'GET  /a HTTP/1.1'),
  'two spaces before the version': get('', 'GET /a  HTTP/1.1'),
  'a tab before the version': get('', 'GET /a\tHTTP/1.1'),
  'a space after the version': get('', 'GET /a HTTP/1.1 '),
  'no version': get('', 'GET /a'),
  'HTTP/0.9': get('', 'GET /a HTTP/0.9'),
  'HTTP/1.0': get('', 'GET /a HTTP/1.0'),
  'HTTP/1.0 that is kept': get('Connection: keep-alive\r\n', 'GET /a HTTP/1.0'),
  'HTTP/1.2': get('', 'GET /a HTTP/1.2'),
  'HTTP/1.10': get('', 'GET /a HTTP/1.10'),
  'HTTP/2.0': get('', 'GET /a HTTP/2.0'),
  'a version in lower case': get('', 'GET /a http/1.1'),
  RTSP: get('', 'OPTIONS /a RTSP/1.0'),
  'RTSP that looks like 1.1': get('', 'GET /a RTSP/1.1'),
  ICE: get('', 'SOURCE /a ICE/1.0'),
  'absolute form': get('', 'GET https://other/a HTTP/1.1'),
  'asterisk form': get('', 'OPTIONS * HTTP/1.1'),
  'two slashes': get('', 'GET //a HTTP/1.1'),
  'a fragment': get('', 'GET /a#b HTTP/1.1'),
  'a backslash': get('', 'GET /a\\b HTTP/1.1'),
  'a byte above ASCII in the target': get('', 'GET /\xe4 HTTP/1.1'),
  'a control character in the target': get('', 'GET /\x01 HTTP/1.1'),
  'DEL in the target': get('', 'GET /\x7f HTTP/1.1'),
  'NUL in the target': get('', 'GET /\0 HTTP/1.1'),
  'odd characters in the target': get('', 'GET /a?<>"{}|^`%zz HTTP/1.1'),
  'a long target': get('', `GET /${'a'.repeat(5_000)} HTTP/1.1`),
  'a target that is too long': get('', `GET /${'a'.repeat(9_000)} HTTP/1.1`),
  'no Host': 'GET /a HTTP/1.1\r\nA: b\r\n\r\n',
  'no field': 'GET /a HTTP/1.1\r\n\r\n',
  'no field on HTTP/1.0': 'GET /a HTTP/1.0\r\n\r\n',
  'no Host on HTTP/1.0': 'GET /a HTTP/1.0\r\nA: b\r\n\r\n',
  'no field on HTTP/1.2': 'GET /a HTTP/1.2\r\n\r\n',
  'no field after two spaces': 'GET /a  HTTP/1.1\r\n\r\n',
  'no field after a bare line feed': 'GET /a HTTP/1.0\n\r\n',
  'no field before a bare line feed': 'GET /a HTTP/1.0\r\n\n',
  'two Hosts': get('Host: b\r\n'),
  'two Hosts on HTTP/1.0': get('Host: b\r\n', 'GET /a HTTP/1.0'),
  'a Host with a port': 'GET /a HTTP/1.1\r\nHost: [::1]:443\r\n\r\n',
  'a Host with user information': 'GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n',
  'a Host with a space': 'GET /a HTTP/1.1\r\nHost: a b\r\n\r\n',
  'an empty Host': 'GET /a HTTP/1.1\r\nHost:\r\n\r\n',
  'a space before the colon': get('A : b\r\n'),
  'a tab before the colon': get('A\t: b\r\n'),
  'no colon': get('A\r\n'),
  'an empty name': get(': b\r\n'),
  'a name with a control character': get('A\x01: b\r\n'),
  'a name above ASCII': get('\xe4: b\r\n'),
  'a name in brackets': get('(A): b\r\n'),
  'no space after the colon': get('A:b\r\n'),
  'space around the value': get('A: \t b c \t \r\n'),
  'an empty value': get('A:\r\nB: \r\nC: c\r\n'),
  'a tab within the value': get('A: b\tc\r\n'),
  'bytes above ASCII in the value': get('A: \xe4\x80\xff\r\n'),
  'a control character in the value': get('A: b\x01c\r\n'),
  'DEL in the value': get('A: b\x7fc\r\n'),
  'NUL in the value': get('A: b\0c\r\n'),
  'a bare carriage return in the value': get('A: b\rC: d\r\n'),
  'a bare line feed after a value': get('A: b\nC: d\r\n'),
  'a bare line feed after the request line': `GET /a HTTP/1.1\n${host}\r\n`,
  'bare line feeds at the end': `GET /a HTTP/1.1\r\n${host}\n`,
  'a carriage return too many': `GET /a HTTP/1.1\r\n${host}A: b\r\r\n\r\n`,
  'a folded value': get('A: b\r\n c\r\n'),
  'a folded value with a tab': get('A: b\r\n\tc\r\n'),
  'a folded first field': 'GET /a HTTP/1.1\r\n Host: a\r\n\r\n',
  'repeated fields': get('A: 1\r\na: 2\r\nA: 3\r\n'),
  'as many fields as may be': get('A: b\r\n'.repeat(49)),
  'a field too many': get('A: b\r\n'.repeat(50)),
  'many fields too many': get('A: b\r\n'.repeat(200)),
  'a value that is too long': get(`A: ${'b'.repeat(9_000)}\r\n`),
  'a value of spaces that is too long': get(`A: ${' '.repeat(9_000)}b\r\n`),
  'a head that is too long with its colons': get(`${'a'.repeat(150)}: ${'b'.repeat(13)}\r\n`.repeat(49)),
  'Content-Length': post('Content-Length: 5\r\n', 'hello'),
  'Content-Length 0': post('Content-Length: 0\r\n'),
  'Content-Length with zeros in front': post('Content-Length: 0005\r\n', 'hello'),
  'Content-Length with space after it': post('Content-Length: 5 \r\n', 'hello'),
  'Content-Length of a GET': `${get('Content-Length: 5\r\n')}hello`,
  'an empty Content-Length': post('Content-Length:\r\n'),
  'a signed Content-Length': post('Content-Length: +5\r\n', 'hello'),
  'a negative Content-Length': post('Content-Length: -5\r\n', 'hello'),
  'a Content-Length in hexadecimal': post('Content-Length: 0x5\r\n', 'hello'),
  'a Content-Length with a fraction': post('Content-Length: 5.0\r\n', 'hello'),
  'a Content-Length with a space in it': post('Content-Length: 5 0\r\n', 'hello'),
  'a list of equal Content-Lengths': post('Content-Length: 5, 5\r\n', 'hello'),
  'the same Content-Length twice': post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'),
  'two different Content-Lengths': post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello'),
  'a Content-Length that overflows': post('Content-Length: 18446744073709551621\r\n', 'hello'),
  'a Content-Length beyond what a number holds': post('Content-Length: 9007199254740993\r\n', 'hello'),
  chunks: chunked('5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n'),
  'no chunk': chunked('0\r\n\r\n'),
  'chunks of one byte': chunked(`${'1\r\nx\r\n'.repeat(50)}0\r\n\r\n`),
  'chunked in capitals': post('Transfer-Encoding: CHUNKED\r\n', '5\r\nhello\r\n0\r\n\r\n'),
  'chunked with space after it': post('Transfer-Encoding: chunked \r\n', '5\r\nhello\r\n0\r\n\r\n'),
  'chunked on HTTP/1.0': `POST /a HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'chunked beside Content-Length': post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  'Content-Length after chunked': post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
  'chunked twice in one field': post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'),
  'chunked in two fields': post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  'identity after chunked': post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'),
  'gzip before chunked': post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
  'identity alone': post('Transfer-Encoding: identity\r\n'),
  'an unknown coding': post('Transfer-Encoding: xchunked\r\n'),
  'an empty Transfer-Encoding': post('Transfer-Encoding:\r\n'),
  'an empty Transfer-Encoding beside Content-Length': post('Transfer-Encoding:\r\nContent-Length: 5\r\n', 'hello'),
  'a comma after chunked': post('Transfer-Encoding: chunked,\r\n', '0\r\n\r\n'),
  'a vertical tab before chunked': post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'),
  'chunked in quotes': post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'),
  'chunked with a parameter': post('Transfer-Encoding: chunked;a=b\r\n', '0\r\n\r\n'),
  'a folded Transfer-Encoding': post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'),
  'a space before the colon of Transfer-Encoding': post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n'),
  'an underscore in Transfer_Encoding': post('Transfer_Encoding: chunked\r\n'),
  'a chunk size with zeros in front': chunked('0005\r\nhello\r\n0\r\n\r\n'),
  'a chunk size in capitals': chunked('A\r\nhellohello\r\n0\r\n\r\n'),
  'a last chunk of many zeros': chunked('5\r\nhello\r\n000\r\n\r\n'),
  'an empty chunk size': chunked('\r\nhello\r\n0\r\n\r\n'),
  'a chunk size that is no number': chunked('zz\r\nhello\r\n0\r\n\r\n'),
  'a signed chunk size': chunked('+5\r\nhello\r\n0\r\n\r\n'),
  'a chunk size with a prefix': chunked('0x5\r\nhello\r\n0\r\n\r\n'),
  'a chunk size that overflows': chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'),
  'a space after the chunk size': chunked('5 \r\nhello\r\n0\r\n\r\n'),
  'a space before the chunk size': chunked(' 5\r\nhello\r\n0\r\n\r\n'),
  'a bare line feed after the chunk size': chunked('5\nhello\r\n0\r\n\r\n'),
  'a bare line feed after the chunk': chunked('5\r\nhello\n0\r\n\r\n'),
  'a bare carriage return after the chunk size': chunked('5\rhello\r\n0\r\n\r\n'),
  'nothing after the chunk': chunked('5\r\nhello0\r\n\r\n'),
  'a chunk that is longer than it says': chunked('3\r\nhello\r\n0\r\n\r\n'),
  'a chunk extension': chunked('5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'),
  'a chunk extension with a line feed': chunked('5;a="\n"\r\nhello\r\n0\r\n\r\n'),
  'a chunk extension without a name': chunked('5;\r\nhello\r\n0\r\n\r\n'),
  'a long chunk extension': chunked(`5;a=${'b'.repeat(10_000)}\r\nhello\r\n0\r\n\r\n`),
  'a chunk extension that is too long': chunked(`5;a=${'b'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`),
  trailers: chunked('5\r\nhello\r\n0\r\nA: b\r\nX-Remote-User: root\r\n\r\n'),
  'a trailer that is framing': chunked('5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n'),
  'a trailer of chunked': chunked('5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'),
  'a trailer with a bare line feed': chunked('5\r\nhello\r\n0\r\nA: b\n\r\n'),
  'a trailer with a space before the colon': chunked('5\r\nhello\r\n0\r\nA : b\r\n\r\n'),
  'a folded trailer': chunked('5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n'),
  'trailers that are too long': chunked(`0\r\n${`A: ${'b'.repeat(90)}\r\n`.repeat(250)}\r\n`),
  'Connection: close': get('Connection: close\r\n'),
  'Connection: CLOSE among others': get('Connection: x, CLOSE\r\n'),
  'close and keep-alive': get('Connection: close, keep-alive\r\n'),
  'an upgrade': `${get('Connection: Upgrade\r\nUpgrade: websocket\r\n')}`,
  'an upgrade to SPDY': `${get('Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n')}`,
  'an upgrade that is not in Connection': get('Upgrade: websocket\r\n'),
  'an upgrade without a protocol': get('Connection: Upgrade\r\n'),
  'an upgrade on HTTP/1.0': get('Connection: Upgrade\r\nUpgrade: websocket\r\n', 'GET /a HTTP/1.0'),
  'an upgrade to h2c': get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n'),
  'an upgrade with a body': post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n', 'hello'),
  'an upgrade with chunks': post(
    'Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n',
    '0\r\n\r\n',
  ),
  'Expect: 100-continue': post('Expect: 100-continue\r\nContent-Length: 5\r\n', 'hello'),
  'Expect: 100-Continue': post('Expect: 100-Continue\r\nContent-Length: 5\r\n', 'hello'),
  'Expect without a body': get('Expect: 100-continue\r\n'),
  'Expect with chunks': post('Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'),
  'Expect of something else': post('Expect: 200-ok\r\nContent-Length: 5\r\n', 'hello'),
  'Expect of two things': post('Expect: 100-continue, 200-ok\r\nContent-Length: 5\r\n', 'hello'),
  'Expect on HTTP/1.0': `POST /a HTTP/1.0\r\n${host}Expect: x\r\nContent-Length: 5\r\n\r\nhello`,
  'a body that looks like a request': post(`Content-Length: ${next.length}\r\n`, next),
  'a TLS record': '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03',
  'only zeros': '\0\0\0\0',
};

/** These end the connection. Later bytes would be an error for Node, which then loses the answer. */
const lastOnes: ReadonlySet<string> = new Set([
  'HTTP/1.0',
  'HTTP/1.0 that is kept',
  'an upgrade on HTTP/1.0',
  'Expect on HTTP/1.0',
  'Connection: close',
  'Connection: CLOSE among others',
  'close and keep-alive',
]);

/** Differences between the front and Node's server, with the reason. The front is always stricter. */
const differences: Readonly<Record<string, string>> = {
  'two spaces before the version': 'one space is what RFC 9112, section 3, has there',
  RTSP: 'llhttp reads another protocol as HTTP',
  'RTSP that looks like 1.1': 'llhttp reads another protocol as HTTP',
  ICE: 'llhttp reads another protocol as HTTP',
  'HTTP/1.0 that is kept': 'a connection of HTTP/1.0 ends with its answer',
  'an upgrade on HTTP/1.0': 'it is no upgrade; RFC 9110, section 7.8',
  'no Host': 'nothing that follows a refused head is looked at',
  'no field': 'nothing that follows a refused head is looked at',
  'no field after two spaces': 'one space is what RFC 9112, section 3, has there',
  'a value of spaces that is too long': 'every byte of a head counts, not only those of names and values',
  'a head that is too long with its colons': 'every byte of a head counts, not only those of names and values',
  'a Content-Length beyond what a number holds': 'no body is that long, and it could not be counted',
  'trailers that are too long': 'they count as what lies between chunks, not as a head',
  'a Host with user information': 'it is no host, and Go’s server would refuse it',
  'a Host with a space': 'it is no host, and Go’s server would refuse it',
  'Expect of something else': 'nothing that follows a refused head is looked at',
  'Expect of two things': 'the only Expect that is supported is 100-continue',
};

/** Requests that the checks around Node's server refuse and the front accepts, with the reason. */
const taken: Readonly<Record<string, string>> = {
  'no field on HTTP/1.0': 'HTTP/1.0 had no Host',
  'no Host on HTTP/1.0': 'HTTP/1.0 had no Host',
};

/** The handled requests, their answers, the refusal after them, and whether the connection ended. */
function summarize({ handled, received, ended }: Http1Run) {
  const statuses = [...received.matchAll(/HTTP\/1\.1 ([2-5]\d{2}) /g)].map(([, status]) => Number(status));
  return { handled, statuses: statuses.slice(0, handled.length + 1), ended };
}

const notUpgraded = ({ handled }: Pick<Http1Run, 'handled'>) => handled.map((request) => ({ ...request, upgrade: '' }));

const splitEach = (bytes: Buffer) => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));

function splitAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [0, ...[...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((end, at) => bytes.subarray(cuts[at], end));
}

describe('the same requests at this HTTP/1.1 front and at Node’s', function () {
  this.timeout(60_000);
  for (const [name, text] of Object.entries(cases)) {
    const difference = differences[name];
    const why = taken[name];
    it(`${name}: ${difference ?? why ?? 'read in the same way'}`, async () => {
      const bytes = Buffer.from(lastOnes.has(name) ? text : text + next, 'latin1');
      const theirs = summarize(await runNodeServer([bytes]));
      const ours = summarize(await runFront([bytes]));
      if (why !== undefined) {
        expect([theirs.handled, ours.ended]).to.deep.equal([[], true]);
        expect(ours.handled.map(({ method, target }) => `${method} ${target}`)).to.deep.equal(['GET /a']);
      } else if (difference === undefined) expect(ours).to.deep.equal(theirs);
      else {
        expect(ours).not.to.deep.equal(theirs);
        expect(notUpgraded(theirs).slice(0, ours.handled.length)).to.deep.equal(notUpgraded(ours));
      }
      if (text.length < 3_000) expect(summarize(await runFront(splitEach(bytes))), 'byte by byte').to.deep.equal(ours);
      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), async (places) => {
          expect(summarize(await runFront(splitAt(bytes, places)))).to.deep.equal(ours);
        }),
        { numRuns: 5 },
      );
    });
  }
});
