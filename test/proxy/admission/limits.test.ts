import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { type Socket, connect as tcpConnect } from 'node:net';
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
import type { ProxyLimits } from '../../../src/proxy/limits.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

describe('limits', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let clock: ManualClock;
  let open: Socket[];
  let unread: RawHttp2[];
  const start = async (limits: Partial<ProxyLimits>) => {
    clock = createManualClock();
    proxy = await startProxyUnderTest(authority, home, { limits, clock });
  };
  beforeEach(async () => {
    open = [];
    unread = [];
    home = await startLoopbackPeer('home', authority);
  });
  afterEach(async () => {
    for (const socket of [...open, ...unread]) socket.destroy();
    await proxy.stop();
    await home.kill();
  });

  /** A connection that sends the given bytes; `received` grows with the answer. */
  async function connect(text = ''): Promise<{ socket: TLSSocket; received: () => string; closed: Promise<unknown> }> {
    const socket = tlsConnect({ host: '127.0.0.1', port: proxy.port, ca: authority.caPem, servername: 'localhost' });
    open.push(socket);
    let received = '';
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    const closed = once(socket, 'close');
    await once(socket, 'secureConnect');
    socket.write(text);
    return { socket, received: () => received, closed };
  }
  const limited = async (limit: string) =>
    Number(new RegExp(`limited_total\\{limit="${limit}"\\} (\\d+)`).exec(await proxy.proxy.metrics.text())?.[1] ?? 0);

  it('answers 429 with Retry-After to requests beyond the limit, in the requested encoding, and then serves on', async () => {
    await start({ maxRequests: 2 });
    const held: ServerResponse[] = [];
    home.answer = (_request, response) => held.push(response);
    const running = ['a', 'b'].map((user) => proxy.get('/api/v1/pods', { Authorization: `Bearer ${user}` }));
    await eventually(() => held.length === 2);
    const { status, headers, body } = await proxy.get('/api/v1/pods', { Accept: 'application/yaml' });
    expect([status, headers['retry-after'], headers['content-type']]).to.deep.equal([429, '1', 'application/yaml']);
    expect(body).to.match(/reason: TooManyRequests/);
    expect(await limited('requests')).to.equal(1);
    for (const response of held) response.end('done');
    expect((await Promise.all(running)).map(({ status: code }) => code)).to.deep.equal([200, 200]);
    home.answer = (_request, response) => response.end('home');
    expect((await proxy.get('/api/v1/pods')).status).to.equal(200);
  });

  it('keeps half of its requests for others, when one user floods it over many streams and reads slowly', async () => {
    await start({ maxRequests: 8, maxLongRunning: 8 });
    home.answer = (request, response) => {
      if (request.headers.authorization !== 'Bearer flood') return response.end('home');
      // More than windows and buffers hold, so it ends only when the client reads it.
      return response.end(Buffer.alloc(8 * 1024 * 1024));
    };
    const sessions = [1, 2].map(() => http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem }));
    const statuses: number[] = [];
    for (const session of sessions)
      for (let at = 0; at < 8; at++) {
        const path = at % 2 === 0 ? '/api/v1/pods' : '/api/v1/pods?watch=1';
        const stream = session.request({ ':path': path, authorization: 'Bearer flood' });
        stream.on('error', () => {});
        stream.pause();
        const [headers] = (await once(stream, 'response')) as [Record<string, string>];
        statuses.push(Number(headers[':status']));
      }
    expect(statuses.sort()).to.deep.equal([...Array(8).fill(200), ...Array(8).fill(429)]);
    expect([await limited('user_requests'), await limited('user_long_running_requests')]).to.deep.equal([4, 4]);
    for (const path of ['/api/v1/pods', '/api/v1/pods?watch=1'])
      expect((await proxy.get(path, { Authorization: 'Bearer other' })).status).to.equal(200);
    // The flood's memory is free once it has left, though it read nothing.
    for (const session of sessions) session.destroy();
    await eventually(() => proxy.proxy.inFlight() === 0, 20_000);
    expect((await proxy.get('/version', { Authorization: 'Bearer flood' })).status).to.equal(200);
  });

  it('counts one token as one user, in any spelling and any position', async () => {
    await start({ maxRequests: 8, maxLongRunning: 8 });
    home.answer = (request, response) => {
      if (request.headers.authorization === 'Bearer other') response.end('home');
      else response.write('{}');
    };
    const socketToken = `base64url.bearer.authorization.k8s.io.${Buffer.from('flood').toString('base64url')}`;
    const spellings = [
      'Bearer flood',
      'bearer flood',
      'BEARER flood',
      'bEARER flood',
      'Bearer flood x',
      'Bearer flood y',
    ];
    const fields = [
      ...spellings.map((field) => `Authorization: ${field}`),
      `Sec-WebSocket-Protocol: ${socketToken}`,
      `Sec-WebSocket-Protocol: a, ${socketToken}`,
    ];
    const clients = [];
    for (const field of fields) {
      const client = await connect(`GET /api/v1/pods HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`);
      await eventually(() => client.received() !== '');
      clients.push(client);
    }
    const statuses = clients.map(({ received }) => received().slice(9, 12));
    expect(statuses).to.deep.equal([...Array(4).fill('200'), ...Array(4).fill('429')]);
    expect((await proxy.get('/api/v1/pods', { Authorization: 'Bearer other' })).status).to.equal(200);
  });

  /** Sends requests over connections with a window of zero, so that no answer can be sent. */
  async function sendUnread(headsOf: readonly (readonly (readonly [string, string])[])[], connections = 1) {
    const clients = await Promise.all(
      Array.from({ length: connections }, () => connectRawHttp2(proxy.port, authority.caPem)),
    );
    for (const client of clients) {
      client.write(frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])));
      for (const [at, fields] of headsOf.entries())
        client.write(
          frame(frameTypes.headers, flags.endHeaders | flags.endStream, 2 * at + 1, literals(requestFields(fields))),
        );
    }
    unread.push(...clients);
    const count = ({ seen }: RawHttp2) => seen.filter(({ type }) => type === frameTypes.reset).length;
    return { resets: () => clients.reduce((sum, client) => sum + count(client), 0) };
  }
  /** Seconds pass, until the time of a request and the time of its refusal are over. */
  const passDeadlines = async () => {
    for (let at = 0; at < 105; at++) await clock.advance(1_000);
    await eventually(() => proxy.proxy.inFlight() === 0);
  };
  const madeUp = (count: number, path: string) =>
    Array.from(
      { length: count },
      (_, at) =>
        [
          [':path', path],
          ['authorization', `Bearer made-up-${path}-${at}`],
        ] as const,
    );
  const judge = () => {
    home.answer = (request, response) => {
      if (/good|new/.test(request.headers.authorization ?? '')) response.end('home');
      else response.writeHead(401).end('{}');
    };
  };

  for (const path of [
    '/version',
    '/api/v1/pods?watch=1',
    '/api/v1/pods?watch=1&allowWatchBookmarks=true',
    '/api/v1/namespaces/a/pods/b/log',
  ])
    it(`takes no places from known or new users for made-up tokens whose answers nobody reads: ${path}`, async () => {
      await start({ maxRequests: 8, maxLongRunning: 8, maxUnauthenticated: 4 });
      judge();
      expect((await proxy.get(path, { Authorization: 'Bearer good' })).status).to.equal(200);
      const attack = await sendUnread(madeUp(40, path), 2);
      await eventually(() => attack.resets() >= 72);
      for (const user of ['good', 'new 1', 'new2', 'good'])
        expect((await proxy.get(path, { Authorization: `Bearer ${user}` })).status).to.equal(200);
      // Four admitted requests and four refusals.
      expect(proxy.proxy.inFlight()).to.be.at.most(8);
      // The rest of the flood ends at its deadlines.
      await passDeadlines();
    });

  it('does not take a 401 from a backend of a server for a verdict on the token', async () => {
    await start({ maxRequests: 8, maxLongRunning: 8, maxUnauthenticated: 2 });
    home.answer = (request, response) => {
      if (request.url?.includes('/proxy/')) response.writeHead(401).end('log in first');
      else if (request.headers.authorization === 'Bearer good') response.end('home');
    };
    const good = { Authorization: 'Bearer good' };
    expect((await proxy.get('/version', good)).status).to.equal(200);
    expect((await proxy.get('/api/v1/namespaces/a/pods/b/proxy/', good)).status).to.equal(401);
    await sendUnread(madeUp(6, '/version'));
    while ((await limited('unauthenticated_requests')) < 4) await new Promise((resolve) => setImmediate(resolve));
    expect((await proxy.get('/version', good)).status).to.equal(200);
    await passDeadlines();
  });

  it('serves known users even if servers do not answer made-up tokens', async () => {
    await start({ maxRequests: 8, maxLongRunning: 8, maxUnauthenticated: 4 });
    judge();
    expect((await proxy.get('/version', { Authorization: 'Bearer good' })).status).to.equal(200);
    home.answer = (request, response) => {
      if (request.headers.authorization === 'Bearer good') response.end('home');
    };
    await sendUnread([...madeUp(20, '/version'), ...madeUp(20, '/api/v1/pods?watch=1')]);
    while ((await limited('unauthenticated_requests')) < 32) await new Promise((resolve) => setImmediate(resolve));
    for (const path of ['/version', '/api/v1/pods?watch=1'])
      expect((await proxy.get(path, { Authorization: 'Bearer good' })).status).to.equal(200);
    await passDeadlines();
  });

  it('keeps few refusals that nobody reads, and none for long', async () => {
    await start({ maxUnauthenticated: 4 });
    const attack = await sendUnread(
      Array.from({ length: 20 }, () => [[':path', '/%zz'] as const]),
      2,
    );
    await eventually(() => attack.resets() >= 36);
    expect(proxy.proxy.inFlight()).to.be.at.most(4);
    await passDeadlines();
    expect(await limited('unread_answers')).to.equal(40);
  });

  it('counts watches separately, so that they starve no short request', async () => {
    await start({ maxLongRunning: 1, maxRequests: 1 });
    home.answer = (request, response) => {
      if (request.url?.includes('watch')) response.write('{}\n');
      else response.end('home');
    };
    const { received } = await connect('GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await eventually(() => received().includes('200 OK'));
    expect((await proxy.get('/api/v1/pods?watch=1')).status).to.equal(429);
    expect(await limited('long_running_requests')).to.equal(1);
    expect((await proxy.get('/api/v1/pods')).status).to.equal(200);
  });

  it('returns the place of a watch however it ends, to its own user and to all', async () => {
    await start({ maxLongRunning: 2 });
    let answer: ServerResponse | undefined;
    home.answer = (_request, response) => {
      answer = response;
      response.write('{}\n');
    };
    const watch = 'GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer one\r\n\r\n';
    const ends = [
      (socket: TLSSocket) => socket.destroy(),
      (socket: TLSSocket) => socket.end(),
      () => answer?.end(),
      () => answer?.destroy(),
    ];
    for (const end of ends) {
      const { socket, received } = await connect(watch);
      await eventually(() => received().includes('200 OK'));
      expect((await proxy.get('/api/v1/pods?watch=1', { Authorization: 'Bearer one' })).status).to.equal(429);
      end(socket);
      await eventually(() => proxy.proxy.inFlight() === 0);
    }
    expect(await limited('user_long_running_requests')).to.equal(ends.length);
  });

  it('closes connections beyond the limit, and accepts new ones when others leave', async () => {
    await start({ maxConnections: 2 });
    const [first] = [await connect(), await connect()];
    const third = tcpConnect(proxy.port, '127.0.0.1');
    third.on('error', () => {});
    third.resume();
    await once(third, 'close');
    expect(await limited('connections')).to.equal(1);
    first.socket.destroy();
    await eventually(() => proxy.proxy.server.connections().http1 === 1);
    expect((await proxy.get('/version')).status).to.equal(200);
  });

  // The first bytes of a ClientHello. Source: RFC 8446, section 5.1.
  for (const begun of [Buffer.alloc(0), Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])])
    it(`forgets a client that left in its handshake after ${begun.length} bytes sooner than a slow one`, async () => {
      await start({});
      const begin = async () => {
        const socket = tcpConnect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
        open.push(socket);
        socket.on('error', () => {});
        await once(socket, 'connect');
        socket.resume().write(begun);
        socket.once('end', () => socket.destroy());
        return { socket, closed: once(socket, 'close').then(() => socket) };
      };
      const slow = await begin();
      const gone = await begin();
      gone.socket.end();
      expect(await Promise.race([slow.closed, gone.closed])).to.equal(gone.socket);
    });

  it('ends a connection whose request head does not arrive, even if a byte of it has arrived', async () => {
    await start({ readHeaderTimeoutMs: 100 });
    for (const text of ['', 'GET / HTTP/1.1\r\nHost: a\r\n']) {
      const { socket, received } = await connect(text);
      while (!socket.closed) await clock.advance(100);
      expect(received()).to.match(/^HTTP\/1\.1 408 /);
    }
    expect(await limited('header_timeout')).to.equal(2);
    expect(home.seen).to.have.length(0);
  });

  it('ends a connection that never begins TLS, and one whose client left before TLS', async () => {
    await start({ readHeaderTimeoutMs: 100 });
    const silent = tcpConnect(proxy.port, '127.0.0.1');
    silent.resume();
    let isClosed = false;
    silent.once('close', () => (isClosed = true));
    while (!isClosed) await clock.advance(100);
    const gone = tcpConnect(proxy.port, '127.0.0.1');
    await once(gone, 'connect');
    gone.destroy();
    const count = async () =>
      Number(/client_connections\{protocol="HTTP\/1.1"\} (\d+)/.exec(await proxy.proxy.metrics.text())?.[1]);
    for (let left = await count(); left > 0; left = await count())
      await new Promise((resolve) => setImmediate(resolve));
    expect(await count()).to.equal(0);
  });

  it('ends connections that are idle', async () => {
    await start({ idleTimeoutMs: 100 });
    const { socket, received } = await connect('GET /version HTTP/1.1\r\nHost: a\r\n\r\n');
    while (!socket.closed) await clock.advance(100);
    expect(received()).to.match(/^HTTP\/1\.1 200 /);
    expect(await limited('idle_timeout')).to.equal(1);
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: authority.caPem });
    while (!session.closed) await clock.advance(100);
    expect(await limited('idle_timeout')).to.equal(2);
    expect(await limited('http2_streams')).to.equal(0);
  });

  it('answers 408 if the body does not arrive, and stops the request at the server', async () => {
    await start({ requestTimeoutMs: 60_000 });
    let cut = false;
    home.answer = (request) => request.resume().once('close', () => (cut = true));
    const { received, closed } = await connect(
      'POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nslow',
    );
    await eventually(() => home.seen.length === 1);
    await clock.advance(59_000);
    expect(received()).to.equal('');
    await clock.advance(3_000);
    await closed;
    expect(received()).to.match(/^HTTP\/1\.1 408 /);
    await eventually(() => cut);
    expect(await limited('request_timeout')).to.equal(1);
  });

  it('answers 504 if the server does not answer, but never ends watches and logs', async () => {
    await start({ requestTimeoutMs: 60_000 });
    home.answer = (request, response) => {
      if (request.url?.includes('watch')) response.write('{}\n');
    };
    const watch = await connect('GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n');
    const logs = await connect('GET /api/v1/namespaces/a/pods/b/log HTTP/1.1\r\nHost: a\r\n\r\n');
    const answer = proxy.get('/api/v1/pods');
    await eventually(() => home.seen.length === 3);
    await clock.advance(120_000);
    expect((await answer).status).to.equal(504);
    expect(watch.received()).to.match(/^HTTP\/1\.1 200 /);
    expect([watch.socket.closed, logs.socket.closed]).to.deep.equal([false, false]);
  });

  it('cuts off a client that does not read its answer, and holds little of it meanwhile', async () => {
    await start({ requestTimeoutMs: 60_000 });
    let sent = 0;
    home.answer = (_request, response) => {
      const more = () => {
        while (!response.destroyed) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536))) break;
        }
      };
      response.on('drain', more);
      more();
    };
    const { socket, closed } = await connect();
    socket.pause();
    socket.write('GET /api/v1/pods HTTP/1.1\r\nHost: a\r\n\r\n');
    let before = -1;
    // Full once nothing has moved for some turns.
    for (let still = 0; still < 2_000; ) {
      still = sent === before ? still + 1 : 0;
      before = sent;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent).to.be.above(0);
    expect(sent).to.be.below(32 * 1024 * 1024);
    await clock.advance(62_000);
    await eventually(() => proxy.proxy.inFlight() === 0);
    socket.resume();
    await closed;
    expect(await limited('request_timeout')).to.equal(1);
  });

  it('answers 431 beyond the size and the number of header fields, over HTTP/1.1', async () => {
    await start({ maxHeaderBytes: 16_384, maxHeaderFields: 50 });
    expect(await proxy.sendRaw(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`)).to.match(
      /^HTTP\/1\.1 431 /,
    );
    expect(await proxy.sendRaw(`GET / HTTP/1.1\r\nHost: a\r\n${'X: a\r\n'.repeat(50)}\r\n`)).to.match(
      /^HTTP\/1\.1 431 /,
    );
    expect([await limited('header_bytes'), await limited('header_fields')]).to.deep.equal([1, 1]);
    const close = 'Connection: close\r\n';
    const most = `GET /version HTTP/1.1\r\nHost: a\r\n${close}${'X: a\r\n'.repeat(48)}\r\n`;
    expect(await proxy.sendRaw(most)).to.match(/^HTTP\/1\.1 200 /);
  });

  it('asks for a body only once a server can take it', async () => {
    await start({});
    home.answer = (request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => response.end(body));
    };
    const expects = 'Host: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n';
    const wanted = await connect(`POST /api/v1/pods HTTP/1.1\r\n${expects}`);
    await eventually(() => wanted.received().includes('\r\n\r\n'));
    expect(wanted.received()).to.match(/^HTTP\/1\.1 100 /);
    wanted.socket.write('body');
    await wanted.closed;
    expect(wanted.received()).to.match(/HTTP\/1\.1 200 .*body/s);
    const refused = await connect(`TRACE / HTTP/1.1\r\n${expects}`);
    await refused.closed;
    expect(refused.received()).to.match(/^HTTP\/1\.1 400 /);
    expect(await proxy.sendRaw(`POST / HTTP/1.1\r\n${expects.replace('100-continue', '200-ok')}`)).to.match(
      /^HTTP\/1\.1 417 /,
    );
  });
});
