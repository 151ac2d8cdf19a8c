import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import { examineHead, objectToTarget } from '../../../src/http/server/objections.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const attacks: Readonly<Record<string, string>> = {
  'two Host fields': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'two Host fields on HTTP/1.0': 'GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n',
  'no Host field': 'GET / HTTP/1.1\r\n\r\n',
  'no Host field among others': 'GET / HTTP/1.1\r\nAccept: */*\r\n\r\n',
  'a Host with user information': 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n',
  'a Host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
  'a Host with a space': 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
  'a Host in quotes': 'GET / HTTP/1.1\r\nHost: "a"\r\n\r\n',
  'a Host with a byte beyond ASCII': 'GET / HTTP/1.1\r\nHost: a\xe4\r\n\r\n',
  'an odd Host on HTTP/1.0': 'GET / HTTP/1.0\r\nHost: a|b\r\n\r\n',
  'a target in absolute form': 'GET https://other/api HTTP/1.1\r\nHost: a\r\n\r\n',
  'Transfer-Encoding on HTTP/1.0': 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'Content-Length beside Transfer-Encoding':
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'two Content-Length fields': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
  'a space before the colon': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n',
  'an unknown Transfer-Encoding': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n',
  'chunked that is not last': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  'a signed Content-Length': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx',
  'a folded header': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n X-Remote-User: root\r\n\r\n',
  'a bare carriage return': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\rX-Remote-User: root\r\n\r\n',
  'a NUL in a value': 'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n',
  'a bare line feed': 'GET / HTTP/1.1\nHost: a\nX: b\n\n',
  'an escape that is none': 'GET /api/v1/%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'a control character in the target': 'GET /version\x01 HTTP/1.1\r\nHost: a\r\n\r\n',
  'a raw byte beyond ASCII in the target': 'GET /version\xff HTTP/1.1\r\nHost: a\r\n\r\n',
  'a fragment in the target': 'GET /version#/api/v1/secrets HTTP/1.1\r\nHost: a\r\n\r\n',
  'a backslash in the target': 'GET /api\\v1 HTTP/1.1\r\nHost: a\r\n\r\n',
  'two targets': 'GET /version /api HTTP/1.1\r\nHost: a\r\n\r\n',
  'HTTP/1.2': 'GET /version HTTP/1.2\r\nHost: a\r\n\r\n',
  'HTTP/1.2 without fields': 'GET /version HTTP/1.2\r\n\r\n',
  'RTSP without fields': 'OPTIONS /version RTSP/1.0\r\n\r\n',
  'two spaces before the version of a head without fields': 'GET /version  HTTP/1.0\r\n\r\n',
  'an unknown method': 'FOO /version HTTP/1.1\r\nHost: a\r\n\r\n',
  'a method in lower case': 'get /version HTTP/1.1\r\nHost: a\r\n\r\n',
  'a tab before the version': 'GET /version\tHTTP/1.1\r\nHost: a\r\n\r\n',
  'an empty name of a field': 'GET /version HTTP/1.1\r\nHost: a\r\n: X-Remote-User\r\n\r\n',
  'a space within the name of a field': 'GET /version HTTP/1.1\r\nHost: a\r\nX-Remote-User root: b\r\n\r\n',
  'a field before the first': 'GET /version HTTP/1.1\r\n X-Remote-User: root\r\nHost: a\r\n\r\n',
  'a Content-Length in hexadecimal': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx',
  'a list of Content-Length': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx',
  'a negative Content-Length': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx',
  'a Content-Length of too many digits':
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nx',
  'Transfer-Encoding twice':
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n',
  'a Transfer-Encoding folded over two lines':
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n',
  'a Transfer-Encoding with a vertical tab':
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n',
  'a Transfer-Encoding in quotes': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
  'chunked twice': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
  CONNECT: 'CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n',
  TRACE: 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n',
  'an upgrade with a body':
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nx',
};

/** The Status of a refusal over HTTP/1.1, which must be the whole response. */
function readRefusal(received: string, code: number): { readonly message: string } {
  const [head = '', body = ''] = received.split('\r\n\r\n');
  expect(head).to.match(new RegExp(`^HTTP/1\\.1 ${code} [A-Z]`));
  expect(head.split('\r\n')).to.include.members([
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]);
  const status: { message: string } = JSON.parse(body);
  expect(status).to.include({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code });
  expect(status.message).not.to.equal('');
  return status;
}

describe('ambiguous requests', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  before(async () => {
    home = await startLoopbackPeer('home', authority);
    proxy = await startProxyUnderTest(authority, home);
  });
  beforeEach(() => {
    home.seen.length = 0;
    home.answer = (_request, response) => response.end('home');
  });
  after(async () => {
    await proxy.stop();
    await home.kill();
  });

  for (const [name, text] of Object.entries(attacks))
    it(`refuses ${name}`, async () => {
      readRefusal(await proxy.sendRaw(text), 400);
      expect(home.seen).to.have.length(0);
    });

  it('names the fault of a head without Host, and of an invalid Host', async () => {
    for (const fields of ['', 'Accept: */*\r\n'])
      expect(readRefusal(await proxy.sendRaw(`GET / HTTP/1.1\r\n${fields}\r\n`), 400).message).to.equal(
        'exactly one Host is needed',
      );
    const odd = await proxy.sendRaw('GET / HTTP/1.1\r\nHost: a@b\r\n\r\n');
    expect(readRefusal(odd, 400).message).to.match(/^the Host has a character /);
  });

  it('serves HTTP/1.0 without Host, as load balancers probe, and sends the server a Host', async () => {
    for (const fields of ['', 'Accept: */*\r\n']) {
      home.seen.length = 0;
      expect(await proxy.sendRaw(`GET /healthz HTTP/1.0\r\n${fields}\r\n`)).to.match(/^HTTP\/1\.1 200 .*home$/s);
      expect(home.seen.map(({ url, headers }) => [url, headers.host])).to.deep.equal([['/healthz', home.address]]);
    }
  });

  it('refuses exactly the bytes in a Host that Go’s server refuses, over HTTP/1.1 and HTTP/2', () => {
    const allowed = /[0-9A-Za-z!$%&'()*+,\-.:;=[\]_~]/;
    for (let byte = 0; byte < 256; byte++) {
      const character = String.fromCharCode(byte);
      const rawHeaders = ['Accept', '*/*', 'hOst', `a${character}b`];
      const found = examineHead({ method: 'GET', target: '/', version: '1.1', rawHeaders }).objection;
      expect(found === undefined, `byte ${byte}`).to.equal(allowed.test(character));
      expect(objectToTarget('GET', '/', rawHeaders), `byte ${byte} over HTTP/2`).to.equal(found);
    }
    for (const host of ['', 'a.example:6443', '[::1]:443', '10.0.0.1', 'xn--a_b~'])
      expect(objectToTarget('GET', '/', ['Host', host])).to.equal(undefined);
  });

  const chunked = 'POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const brokenBodies: Readonly<Record<string, string>> = {
    'a chunk whose size is no number': `${chunked}zz\r\nhello\r\n0\r\n\r\n`,
    'a chunk whose size has a sign': `${chunked}+5\r\nhello\r\n0\r\n\r\n`,
    'a chunk whose size has a prefix': `${chunked}0x5\r\nhello\r\n0\r\n\r\n`,
    'a chunk whose size overflows': `${chunked}fffffffffffffffff\r\nhello\r\n0\r\n\r\n`,
    'a chunk that is longer than it says': `${chunked}3\r\nhello\r\n0\r\n\r\n`,
    'a chunk that ends with a bare line feed': `${chunked}5\nhello\r\n0\r\n\r\n`,
    'a chunk extension with a line feed': `${chunked}5;a="\n"\r\nhello\r\n0\r\n\r\n`,
  };
  for (const [name, text] of Object.entries(brokenBodies))
    it(`ends a connection on ${name}, and takes no next request from it`, async () => {
      const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Remote-User: root\r\n\r\n';
      const complete: string[] = [];
      home.answer = (request, response) => {
        request.on('error', () => {});
        request.resume().once('end', () => {
          complete.push(request.url ?? '');
          response.end('home');
        });
      };
      await proxy.sendRaw(text + smuggled);
      expect(complete).to.deep.equal([]);
      expect(home.seen.map(({ url }) => url)).not.to.include('/smuggled');
    });

  it('treats the bytes of a body as a body, whatever they look like', async () => {
    const inner = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const bodies: string[] = [];
    home.answer = (request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.once('end', () => {
        bodies.push(body);
        response.end('home');
      });
    };
    const close = 'GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const length = `POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`;
    await proxy.sendRaw(length + close);
    await proxy.sendRaw(`${chunked}${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n${close}`);
    expect(bodies.sort()).to.deep.equal(['', '', inner, inner]);
    expect(home.seen.map(({ url }) => url)).not.to.include('/smuggled');
  });

  it('does not answer requests after a refused one', async () => {
    const text = 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const received = await proxy.sendRaw(text);
    expect(received.match(/HTTP\/1\.1 /g)).to.have.length(1);
    expect(home.seen.map(({ url }) => url)).not.to.include('/smuggled');
  });

  it('ignores identity fields in the trailers of a request', async () => {
    const trailers = 'X-Remote-User: root\r\nImpersonate-User: root';
    let seen: unknown;
    home.answer = (request, response) => {
      request.resume().once('end', () => {
        seen = request.rawTrailers;
        response.end('home');
      });
    };
    const last = 'GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    await proxy.sendRaw(`${chunked}5\r\nhello\r\n0\r\n${trailers}\r\n\r\n${last}`);
    expect(seen).to.deep.equal([]);
    expect(home.seen[0]?.rawHeaders.join('\n')).not.to.match(/remote|impersonate/i);
  });

  it('refuses a head that is too long', async () => {
    readRefusal(await proxy.sendRaw(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(1_100_000)}\r\n\r\n`), 431);
  });

  it('refuses too many header fields', async () => {
    const text = `GET / HTTP/1.1\r\nHost: a\r\n${'X: a\r\n'.repeat(66_000)}\r\n`;
    expect(await proxy.sendRaw(text)).to.match(/^HTTP\/1\.1 4(?:00|31) /);
  });

  it('refuses HTTP/2 with two names for the host', async () => {
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/', ':authority': 'one', host: 'other' });
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(headers[':status']).to.equal(400);
    session.close();
  });

  it('refuses HTTP/2 with an invalid name for the host', async () => {
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    for (const host of [{ ':authority': 'user@one' }, { ':authority': 'one/two' }, { ':authority': '', host: 'a b' }]) {
      const stream = session.request({ ':path': '/', ...host });
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      expect(headers[':status'], JSON.stringify(host)).to.equal(400);
      stream.close();
    }
    expect(home.seen).to.have.length(0);
    session.close();
  });

  it('serves HTTP/1.0, HTTP/1.1 with and without ALPN, and HTTP/2', async () => {
    const seen = home.seen.length;
    expect(await proxy.sendRaw('GET /version HTTP/1.0\r\nHost: a\r\n\r\n')).to.match(/^HTTP\/1\.1 200 .*home/s);
    const close = 'GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    expect(await proxy.sendRaw(close)).to.match(/^HTTP\/1\.1 200 .*home/s);
    expect(await proxy.sendRaw(close, ['http/1.1'])).to.match(/^HTTP\/1\.1 200 .*home/s);
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/version' });
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(headers[':status']).to.equal(200);
    session.close();
    expect(home.seen).to.have.length(seen + 4);
  });
});
