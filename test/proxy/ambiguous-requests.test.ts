import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import type { LoopbackPeer } from '../support/loopback-peer.ts';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import type { ProxyUnderTest } from '../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../support/proxy-under-test.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

const attacks: Readonly<Record<string, string>> = {
  'two Host fields': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'no Host field': 'GET / HTTP/1.1\r\n\r\n',
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
  TRACE: 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n',
  'an upgrade to h2c': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  'an upgrade with a body':
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nx',
};

describe('ambiguous requests', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  before(async () => {
    home = await startLoopbackPeer('home', authority);
    proxy = await startProxyUnderTest(authority, home);
  });
  after(async () => {
    await proxy.stop();
    await home.kill();
  });

  for (const [name, text] of Object.entries(attacks))
    it(`refuses ${name}`, async () => {
      expect(await proxy.sendRaw(text)).to.match(/^HTTP\/1\.1 400 /);
      expect(home.seen).to.have.length(0);
    });

  it('refuses a head that is too long', async () => {
    expect(await proxy.sendRaw(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`)).to.match(
      /^HTTP\/1\.1 431 /,
    );
  });

  it('refuses too many header fields', async () => {
    const text = `GET / HTTP/1.1\r\nHost: a\r\n${'X: a\r\n'.repeat(300)}\r\n`;
    expect(await proxy.sendRaw(text)).to.match(/^HTTP\/1\.1 4(?:00|31) /);
  });

  it('refuses HTTP/2 with two names for the host', async () => {
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    const stream = session.request({ ':path': '/', ':authority': 'one', host: 'other' });
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(headers[':status']).to.equal(400);
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
