import { once } from 'node:events';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import {
  connectRawHttp2,
  flags,
  frame,
  frameTypes,
  literals,
  type RawHttp2,
  requestFields,
} from '../../../lab/raw-http2.ts';
import { chunksCost, type Keeper } from '../../../src/http/server/held-bytes.ts';
import { KeptBytes } from '../../../src/proxy/admission/kept-bytes.ts';
import type { ProxyLimits } from '../../../src/proxy/limits.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

describe('KeptBytes', () => {
  const createLedger = (maxBytes: number) => {
    const cut: string[] = [];
    const limits: string[] = [];
    const ledger = new KeptBytes(maxBytes, { limited: { inc: ({ limit }) => limits.push(limit) } });
    const hold = (name: string, bytes: number, owner: string | undefined): Keeper & { bytes: number } => {
      const keeper = {
        bytes,
        owner,
        keptBytes: () => keeper.bytes,
        cut: () => {
          cut.push(name);
          keeper.bytes = 0;
        },
      };
      ledger.watch(() => [keeper]);
      return keeper;
    };
    return { ledger, hold, cut, limits };
  };

  it("cuts off the largest request of a user beyond half, and no other user's", () => {
    const { ledger, hold, cut, limits } = createLedger(1_000);
    hold('small', 100, 'greedy');
    hold('large', 300, 'greedy');
    hold('middle', 200, 'greedy');
    hold('other', 399, 'other');
    ledger.weigh();
    expect([cut, limits]).to.deep.equal([['large'], ['user_buffered_bytes']]);
  });

  it('gives all unaccepted users together an eighth, and takes nothing from the others', () => {
    const { ledger, hold, cut, limits } = createLedger(1_000);
    for (let at = 0; at < 20; at++) hold(`unknown ${at}`, 50, undefined);
    hold('known', 450, 'known');
    hold('other', 425, 'other');
    ledger.weigh();
    expect(cut).to.have.length(19);
    expect(cut).not.to.include.oneOf(['known', 'other']);
    expect(new Set(limits)).to.deep.equal(new Set(['unauthenticated_buffered_bytes']));
  });

  it('cuts off the largest of all requests if each user is within the share, but all together exceed the limit', () => {
    const { ledger, hold, cut, limits } = createLedger(1_000);
    for (const user of ['a', 'b', 'c']) hold(user, user === 'b' ? 450 : 400, user);
    ledger.weigh();
    expect([cut, limits]).to.deep.equal([
      ['b', 'a'],
      ['buffered_bytes', 'buffered_bytes'],
    ]);
  });

  it('checks the sum only once the bytes that have passed could exceed it', async () => {
    const { ledger, hold, cut } = createLedger(64_000);
    const keeper = hold('unknown', 0, undefined);
    // Even at its fastest growth, it is noticed before it exceeds the limit by half.
    for (; cut.length === 0; keeper.bytes += 100) {
      expect(keeper.bytes).to.be.below(12_000);
      ledger.note(100);
      await Promise.resolve();
    }
    expect(keeper.bytes).to.be.below(12_000);
  });
});

describe('chunksCost', () => {
  it('counts a document once, however many clients get pieces of it', () => {
    const document = Buffer.alloc(1_000_000);
    const counted = new Set<object>();
    expect(chunksCost([document.subarray(0, 10)], counted)).to.be.within(1_000_000, 1_001_000);
    expect(chunksCost([document, document.subarray(10)], counted)).to.equal(0);
  });
});

describe('the memory that clients make a proxy hold', function () {
  this.timeout(60_000);
  const authority = createTestAuthority('peers');
  const mebibyte = 1024 * 1024;
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let open: (TLSSocket | RawHttp2)[];
  const start = async (limits: Partial<ProxyLimits>) => {
    proxy = await startProxyUnderTest(authority, home, { limits: { maxBufferedBytes: 4 * mebibyte, ...limits } });
  };
  beforeEach(async () => {
    open = [];
    home = await startLoopbackPeer('home', authority);
  });
  afterEach(async () => {
    for (const one of open) one.destroy();
    await proxy.stop();
    await home.kill();
  });

  const limited = async (limit: string) =>
    Number(new RegExp(`limited_total\\{limit="${limit}"\\} (\\d+)`).exec(await proxy.proxy.metrics.text())?.[1] ?? 0);
  /** A client that sends something and reads no answer. */
  async function say(text: string | Buffer): Promise<TLSSocket> {
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    open.push(socket);
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    socket.write(text);
    return socket;
  }
  /** One HTTP/2 connection whose streams have a window of zero. */
  async function connectUnread(): Promise<RawHttp2> {
    const client = await connectRawHttp2(proxy.port, authority.caPem);
    open.push(client);
    client.write(frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])));
    return client;
  }
  const count = ({ seen }: RawHttp2, sought: number) => seen.filter(({ type }) => type === sought).length;
  const closed = () => open.filter((one) => ('isClosed' in one ? one.isClosed() : one.closed)).length;
  const serves = async (user: string) =>
    expect((await proxy.get('/version', { Authorization: `Bearer ${user}` })).status).to.equal(200);
  const fill = (bytes: number) =>
    Array.from({ length: Math.ceil(bytes / 1_000) }, (_, at) => `X-${at}: ${'a'.repeat(990)}\r\n`).join('');

  it('limits heads that never end, over all connections', async () => {
    await start({});
    await serves('known');
    for (let at = 0; at < 20; at++) await say(`GET /version HTTP/1.1\r\nHost: a\r\n${fill(50_000)}`);
    await eventually(() => closed() > 10);
    expect(await limited('unauthenticated_buffered_bytes')).to.be.above(10);
    await serves('known');
    await serves('new');
  });

  it('limits heads that arrive byte by byte, which cost many times their length', async () => {
    await start({ maxBufferedBytes: mebibyte });
    for (let at = 0; at < 8; at++) {
      const socket = await say('GET /version HTTP/1.1\r\nHost: a\r\nX: ');
      for (let byte = 0; byte < 500 && !socket.destroyed; byte++) {
        socket.write('a');
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await eventually(() => closed() > 0);
  });

  it('limits heads of idle connections', async () => {
    await start({});
    for (let at = 0; at < 60; at++) {
      const socket = await say(
        `GET /version?${at} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer one\r\n${fill(12_000)}\r\n`,
      );
      socket.resume();
      await eventually(() => home.seen.length === at + 1 || socket.closed);
      if (socket.closed) break;
    }
    await eventually(() => closed() > 5);
    expect(await limited('user_buffered_bytes')).to.be.above(5);
    await serves('other');
  });

  for (const [what, path] of [
    ['watches', '/api/v1/pods?watch=1'],
    ['answers', '/api/v1/pods'],
  ] as const) {
    it(`limits ${what} of one user that are not read, over HTTP/1.1, and serves others`, async () => {
      await start({});
      home.answer = (request, response) =>
        response.end(request.headers.authorization === 'Bearer flood' ? Buffer.alloc(12 * mebibyte) : 'home');
      await serves('other');
      for (let at = 0; at < 10; at++) {
        const socket = await say(`GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer flood\r\n\r\n`);
        socket.pause();
      }
      while ((await limited('user_buffered_bytes')) < 3) await new Promise((resolve) => setImmediate(resolve));
      await serves('other');
    });

    it(`limits ${what} of one user that are not read, over HTTP/2, and serves others on the same connection`, async () => {
      await start({});
      home.answer = (request, response) =>
        response.end(request.headers.authorization === 'Bearer flood' ? Buffer.alloc(3 * mebibyte) : 'home');
      await serves('flood');
      const client = await connectUnread();
      const fields = literals(requestFields([[':path', path] as const, ['authorization', 'Bearer flood'] as const]));
      for (let at = 0; at < 40; at++) {
        client.write(frame(frameTypes.headers, flags.endHeaders | flags.endStream, 2 * at + 1, fields));
        await eventually(() => count(client, frameTypes.headers) > at);
      }
      await eventually(() => count(client, frameTypes.reset) > 3);
      expect(await limited('user_buffered_bytes')).to.equal(count(client, frameTypes.reset));
      await serves('other');
      expect(client.isClosed()).to.equal(false);
    });
  }

  it('holds little of a long answer that was written at once, over HTTP/1.1', async () => {
    await start({});
    home.answer = (_request, response) => response.end(Buffer.alloc(mebibyte, 'x'));
    const { body, headers } = await proxy.get('/api/v1/pods', { Authorization: 'Bearer one' });
    expect([body.length, headers['content-length'] ?? '']).to.deep.equal([mebibyte, String(mebibyte)]);
    expect(await limited('user_buffered_bytes')).to.equal(0);
  });
});
