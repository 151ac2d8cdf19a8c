import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const groups = (count: number) => Array.from({ length: count }, (_, at) => `group-${at}@directory.example.com`);

describe('long heads', function () {
  this.timeout(60_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let session: ClientHttp2Session | undefined;
  beforeEach(async () => {
    home = await startLoopbackPeer('home', authority);
    proxy = await startProxyUnderTest(authority, home);
    session = undefined;
  });
  afterEach(async () => {
    session?.destroy();
    await proxy.stop();
    await home.kill();
  });

  const askOver = {
    'HTTP/1.1': async (names: readonly string[]) =>
      (await proxy.get('/api/v1/pods', { 'Impersonate-User': 'jane', 'Impersonate-Group': [...names] })).status,
    'HTTP/2': (names: readonly string[]) =>
      new Promise<number>((resolve, reject) => {
        session ??= http2Connect(`https://localhost:${proxy.port}`, {
          ca: authority.caPem,
          maxSendHeaderBlockLength: 4 * 1024 * 1024,
        });
        session.on('error', reject);
        const stream = session.request({
          ':path': '/api/v1/pods',
          'impersonate-user': 'jane',
          'impersonate-group': [...names],
        });
        stream.once('response', (fields) => resolve(Number(fields[':status'])));
        stream.once('error', reject);
        stream.resume();
      }),
  };

  for (const [protocol, ask] of Object.entries(askOver)) {
    for (const count of [200, 1_000, 5_000])
      it(`passes ${count} groups on over ${protocol}, each of them and in order`, async () => {
        const names = groups(count);
        expect(await ask(names)).to.equal(200);
        const { rawHeaders } = home.seen[0] ?? { rawHeaders: [] };
        const passed = rawHeaders.filter((_, at) => rawHeaders[at - 1]?.toLowerCase() === 'impersonate-group');
        expect(passed).to.deep.equal(names);
      });

    it(`refuses more than a megabyte by 431 over ${protocol}, and sends nothing on`, async () => {
      expect(await ask(groups(30_000))).to.equal(431);
      expect(home.seen).to.deep.equal([]);
    });
  }

  describe('together', () => {
    const long = (bytes: number) => `X-Long: ${'a'.repeat(bytes)}`;
    const limited = async () =>
      Number(/limited_total\{limit="long_heads"\} (\d+)/.exec(await proxy.proxy.metrics.text())?.[1] ?? 0);
    const held: ServerResponse[] = [];
    let open: TLSSocket[];
    beforeEach(async () => {
      await proxy.stop();
      proxy = await startProxyUnderTest(authority, home, { limits: { maxLongHeaderBytes: 1_000_000 } });
      held.length = 0;
      open = [];
      home.answer = (_request, response) => held.push(response);
    });
    afterEach(() => {
      for (const socket of open) socket.destroy();
    });

    /** A connection that has sent this and stays open. */
    async function send(text: string): Promise<{ received: () => string }> {
      const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
      open.push(socket);
      let received = '';
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString('latin1');
      });
      await once(socket, 'secureConnect');
      await new Promise((resolve) => socket.write(text, 'latin1', resolve));
      return { received: () => received };
    }

    it('leave room for others until their requests are answered, and get 429 beyond that room', async () => {
      const running = proxy.get('/api/v1/pods', { 'X-Long': 'a'.repeat(800_000) });
      await eventually(() => held.length === 1);
      const refused = await proxy.get('/api/v1/pods', { 'X-Long': 'a'.repeat(800_000) });
      expect([refused.status, refused.headers['retry-after']]).to.deep.equal([429, '1']);
      expect(await askOver['HTTP/2'](groups(8_000))).to.equal(429);
      expect(await limited()).to.equal(2);
      const ordinary = proxy.get('/api/v1/pods', { 'X-Long': 'a'.repeat(60_000) });
      await eventually(() => held.length === 2);
      for (const response of held) response.end('done');
      expect([(await running).status, (await ordinary).status]).to.deep.equal([200, 200]);
      home.answer = (_request, response) => response.end('home');
      expect((await proxy.get('/api/v1/pods', { 'X-Long': 'a'.repeat(800_000) })).status).to.equal(200);
      expect(await askOver['HTTP/2'](groups(8_000))).to.equal(200);
      expect((await proxy.get('/api/v1/pods', { 'X-Long': 'a'.repeat(800_000) })).status).to.equal(200);
    });

    it('take room while they arrive, and return it when their connections end', async () => {
      const begun = `GET / HTTP/1.1\r\nHost: a\r\n${long(700_000)}`;
      await send(begun);
      const second = await send(begun);
      await eventually(() => second.received().startsWith('HTTP/1.1 429 '));
      expect(second.received()).to.match(/Retry-After: 1/);
      for (const socket of open) socket.destroy();
      home.answer = (_request, response) => response.end('home');
      await eventually(() => proxy.proxy.server.connections().http1 === 0);
      expect((await proxy.get('/', { 'X-Long': 'a'.repeat(800_000) })).status).to.equal(200);
    });
  });
});
