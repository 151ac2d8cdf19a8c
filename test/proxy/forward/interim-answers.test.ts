import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import { startHomeAndProxyForEach } from '../../support/home-and-proxy.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const path = '/api/v1/namespaces/a/services/x/proxy/y';
const interim = [
  'HTTP/1.1 102 Processing\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 9\r\n\r\n',
  'HTTP/1.1 199 Own\r\nX-Own: 1\r\n\r\n',
].join('');

describe('interim answers', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  startHomeAndProxyForEach(authority, (started) => {
    ({ home, proxy } = started);
  });

  const request = (method: string, more: string) =>
    `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;

  for (const method of ['GET', 'POST'])
    it(`of a server to a ${method} are passed on over HTTP/1.1, without the fields about the connection`, async () => {
      home.answer = (_request, response) => {
        response.socket?.write(interim);
        response.end('done');
      };
      const answer = await proxy.sendRaw(request(method, method === 'POST' ? 'Content-Length: 0\r\n' : ''));
      expect(answer).to.match(
        /^HTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 103 Early Hints\r\nLink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1\.1 199 unknown\r\nX-Own: 1\r\n\r\nHTTP\/1\.1 200 OK\r\n.*done$/s,
      );
    });

  it('are passed on over HTTP/2', async () => {
    home.answer = (_request, response) => {
      response.socket?.write(interim);
      response.end('done');
    };
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': path, ':method': 'POST' }, { endStream: false });
    const seen: object[] = [];
    stream.on('headers', (fields) => seen.push(Object.fromEntries(Object.entries(fields))));
    const answered = once(stream, 'response');
    stream.end('body');
    expect((await answered)[0]).to.include({ ':status': 200 });
    stream.resume();
    await once(stream, 'close');
    session.destroy();
    expect(seen).to.deep.equal([
      { ':status': 102 },
      { ':status': 103, link: '</a.css>; rel=preload' },
      { ':status': 199, 'x-own': '1' },
    ]);
  });

  it('are not sent to a client of HTTP/1.0, which would take them for the answer', async () => {
    home.answer = (_request, response) => {
      response.socket?.write(interim);
      response.end('done');
    };
    expect(await proxy.sendRaw(`GET ${path} HTTP/1.0\r\n\r\n`)).to.match(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it('tell a client only once to go on with its body', async () => {
    home.answer = (asked, response) => {
      response.socket?.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
      asked.resume();
      asked.once('end', () => response.end('done'));
    };
    const waits = `${request('POST', 'Expect: 100-continue\r\nContent-Length: 4\r\n')}body`;
    const plain = `${request('POST', 'Content-Length: 4\r\n')}body`;
    for (const text of [waits, plain])
      expect((await proxy.sendRaw(text)).match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 100', 'HTTP/1.1 200']);
  });
});
