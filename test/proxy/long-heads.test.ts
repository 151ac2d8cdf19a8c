import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import type { LoopbackPeer } from '../support/loopback-peer.ts';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import type { ProxyUnderTest } from '../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../support/proxy-under-test.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

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
});
