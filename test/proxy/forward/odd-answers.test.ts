import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { startHomeAndProxyForEach } from '../../support/home-and-proxy.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

/** The answer of a Pod behind `pods/proxy` is untrusted. It must not end the proxy. */
describe('answers that Node will not write', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  startHomeAndProxyForEach(authority, (started) => {
    ({ home, proxy } = started);
  });

  async function overHttp2(path: string): Promise<readonly string[]> {
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': path });
    const [, , raw] = (await once(stream, 'response')) as [object, number, string[]];
    stream.resume();
    await once(stream, 'close');
    session.close();
    return raw;
  }

  it('passes repeated fields on as often as the server has sent them over HTTP/2', async () => {
    const repeated = ['X-Content-Type-Options', 'nosniff', 'Content-Encoding', 'a', 'Content-Encoding', 'b'];
    const sent = ['X-Content-Type-Options', 'nosniff', ...repeated, 'Warning', '1', 'Warning', '2'];
    home.answer = (_request, response) => {
      response.writeHead(200, sent);
      response.end('x');
    };
    const raw = await overHttp2('/api/v1/namespaces/default/pods/p/proxy/');
    expect(raw.slice(0, sent.length + 2)).to.deep.equal([
      ':status',
      '200',
      ...sent.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text)),
    ]);
  });

  it('leaves out the announcement of trailers if the answer cannot have any', async () => {
    home.answer = (request, response) => {
      // Node would not write it either, so the test writes to the socket.
      const length = request.method === 'HEAD' ? '' : 'Content-Length: 1\r\n';
      response.socket?.end(`HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n${length}\r\n${request.method === 'HEAD' ? '' : 'x'}`);
    };
    for (const method of ['HEAD', 'GET']) {
      const path = '/api/v1/namespaces/default/pods/p/proxy/';
      const options = {
        host: '127.0.0.1',
        port: proxy.port,
        path,
        method,
        ca: authority.caPem,
        servername: 'localhost',
      };
      const request = httpsRequest({ ...options, agent: false }).end();
      const [response] = (await once(request, 'response')) as [{ statusCode: number; headers: object; resume(): void }];
      response.resume();
      expect(response.statusCode).to.equal(200);
      expect(response.headers).not.to.have.property('trailer');
    }
  });

  it('forgets a refused upgrade even if its client goes on sending', async () => {
    home.answer = (_request, response) => response.writeHead(403).end('no');
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'secureConnect');
    const closed = once(socket, 'close');
    socket.write(
      'GET /api/v1/namespaces/d/pods/p/exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nmore',
    );
    await closed;
    await eventually(() => proxy.proxy.inFlight() === 0);
  });
});
