import { once } from 'node:events';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { connectRawHttp2, flags, frame, frameTypes, literals, requestFields } from '../../lab/raw-http2.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import { defaultLimits, documentsBytes, type ProxyLimits, worstCaseBytes } from '../../src/proxy/limits.ts';
import type { LoopbackPeer } from '../support/loopback-peer.ts';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import { type ProxyProcess, startProxyProcess } from '../support/proxy-process.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

const mebibyte = 1024 * 1024;

describe('the memory of a proxy', function () {
  this.timeout(120_000);
  const authority = createTestAuthority('peers');
  const limits: ProxyLimits = {
    ...defaultLimits,
    maxConnections: 320,
    maxRequests: 100,
    maxLongRunning: 400,
    maxUnauthenticated: 50,
    maxBufferedBytes: 16 * mebibyte,
  };
  /** No server has a document here, because work for documents must not hide the work for clients. */
  const planned = worstCaseBytes(limits) - documentsBytes;
  let home: LoopbackPeer;
  let proxy: ProxyProcess;
  let open: { destroy(): void }[];
  before(async () => {
    open = [];
    home = await startLoopbackPeer('home', authority);
    home.answer = (request, response) =>
      response.end(/large/.test(request.headers.authorization ?? '') ? Buffer.alloc(8 * mebibyte) : 'home');
    proxy = await startProxyProcess(authority, home.address, limits);
  });
  after(async () => {
    for (const one of open) one.destroy();
    await proxy?.stop();
    await home?.kill();
  });

  async function say(text: string): Promise<TLSSocket> {
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    open.push(socket);
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    socket.pause();
    socket.write(text);
    return socket;
  }
  async function statusFor(token: string): Promise<string> {
    const answer = await say(`GET /version HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    answer.resume();
    const [text] = (await once(answer, 'data')) as [Buffer];
    return text.toString('latin1', 0, 12);
  }
  const fill = (bytes: number) =>
    Array.from({ length: Math.ceil(bytes / 1_000) }, (_, at) => `X-${at}: ${'a'.repeat(990)}\r\n`).join('');
  const inParallel = (count: number, run: (at: number) => Promise<unknown>) =>
    Promise.all(Array.from({ length: count }, (_, at) => run(at)));

  const attacks: Readonly<Record<string, () => Promise<unknown>>> = {
    'heads that never end': () => inParallel(100, () => say(`GET /version HTTP/1.1\r\nHost: a\r\n${fill(60_000)}`)),
    'answers of several users that nobody reads': () =>
      inParallel(60, (at) =>
        say(`GET /api/v1/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer large${at % 4}\r\n\r\n`),
      ),
    'watches of several users that nobody reads': () =>
      inParallel(60, (at) =>
        say(`GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer large${at % 4}\r\n\r\n`),
      ),
    'refusals over HTTP/2 that nobody reads, with long heads': () =>
      inParallel(20, async () => {
        const client = await connectRawHttp2(proxy.port, authority.caPem);
        open.push(client);
        client.write(frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])));
        const more = Array.from({ length: 110 }, (_, at) => [`x-${at}`, 'a'.repeat(120)] as const);
        const head = literals(requestFields([[':path', '/%zz'], ...more]));
        for (let at = 0; at < 100; at++)
          client.write(frame(frameTypes.headers, flags.endHeaders | flags.endStream, 2 * at + 1, head));
      }),
    'requests sent ahead, whose answers nobody reads': () =>
      inParallel(20, () => say('GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5_000))),
  };

  it('stays within the sum of its limits, whatever clients do', async () => {
    for (const [attack, run] of Object.entries(attacks)) {
      await run();
      // The server must answer, in its own process, after everything that was sent before.
      const { peak } = await proxy.state();
      expect(peak, attack).to.be.at.most(planned);
    }
    const { metrics } = await proxy.state();
    expect(metrics).to.match(/limited_total\{limit="unauthenticated_buffered_bytes"\} [1-9]/);
    // The server is in this process, which was busy with attacks, so the proxy may have found it hung meanwhile.
    await waitUntil('an answer for another user', async () => (await statusFor('other')) === 'HTTP/1.1 200');
  });
});
