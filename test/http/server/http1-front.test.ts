import { once } from 'node:events';
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, connect as tcpConnect } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import type { RequestHandler } from '../../../src/proxy/front/handler.ts';
import type { ClientConnection, Exchange } from '../../../src/proxy/request/exchange.ts';
import { createFrontUnderTest, runFront } from '../../support/http1-runs.ts';
import { createManualClock, eventually } from '../../support/manual-clock.ts';

const token = fc.stringMatching(/^[!#$%&'*+.^`|~0-9A-Za-z_-]{1,12}$/);
const ordinary = token.filter(
  (name) =>
    !/^(host|expect|connection|keep-alive|upgrade|content-length|transfer-encoding|trailer|date|proxy-connection)$/i.test(
      name,
    ),
);
const value = fc.stringMatching(/^([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/);
const fields = fc.array(fc.tuple(ordinary, value), { maxLength: 6 });
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const target = fc.stringMatching(/^\/[!$-\x5b\x5d-\x7e]{0,40}$/);

/** Cuts bytes at positions that depend on their length. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, index) => whole.subarray(start, at[index])).filter(({ length }) => length > 0);
}

const client = (): ClientConnection => ({
  remoteAddress: '::1',
  certificate: undefined,
  home: undefined,
  sticky: new Map(),
});

describe('the HTTP/1.1 front', function () {
  this.timeout(60_000);
  let stops: (() => void)[];
  beforeEach(() => {
    stops = [];
  });
  afterEach(() => {
    for (const stop of stops) stop();
  });

  /** A connection to a front that passes its requests to `handle`; `received` grows with the bytes that arrive. */
  function connect(handle: RequestHandler['handle'], clock = createManualClock()) {
    const front = createFrontUnderTest({ handle }, clock);
    const [server, socket] = duplexPair();
    let received = '';
    let ended = false;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    socket.on('end', () => {
      ended = true;
    });
    socket.on('error', () => {});
    front.accept(server, client());
    stops.push(() => {
      front.stop();
      socket.destroy();
      server.destroy();
    });
    return { front, server, socket, received: () => received, ended: () => ended || server.destroyed };
  }
  const ok = (exchange: Exchange) => {
    exchange.respond(200, ['Content-Length', '2']);
    exchange.end(Buffer.from('ok'));
  };
  const get = (path = '/', more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

  it('accepts the same requests from a connection in any division into pieces', async () => {
    const body = fc.oneof(
      fc.constant(undefined),
      bytes.map((data) => ({ data, chunks: undefined })),
      fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 4 }), fc.boolean()).map(([data, places, extended]) => ({
        data,
        chunks: cut(data, places).map(
          (chunk) => `${chunk.length.toString(16)}${extended ? ';a="b"' : ''}\r\n${chunk.toString('latin1')}\r\n`,
        ),
      })),
    );
    const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY');
    const request = fc.record({ method, target, fields, body });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        async (requests, places) => {
          let text = '';
          const expected = requests.map((one) => {
            const rawHeaders = ['Host', 'a', ...one.fields.flat()];
            if (one.body?.chunks !== undefined) rawHeaders.push('Transfer-Encoding', 'chunked');
            else if (one.body !== undefined) rawHeaders.push('Content-Length', String(one.body.data.length));
            const lines = rawHeaders.map((part, at) => (at % 2 === 0 ? `${part}: ` : `${part}\r\n`)).join('');
            const sent =
              one.body?.chunks === undefined
                ? one.body?.data.toString('latin1')
                : `${one.body.chunks.join('')}0\r\n\r\n`;
            text += `${one.method} ${one.target} HTTP/1.1\r\n${lines}\r\n${sent ?? ''}`;
            const empty = one.body === undefined || (one.body.chunks === undefined && one.body.data.length === 0);
            const read = empty ? undefined : one.body?.data.toString('latin1');
            return { method: one.method, target: one.target, rawHeaders, body: read, upgrade: undefined };
          });
          const { handled, received, ended } = await runFront(cut(Buffer.from(text, 'latin1'), places));
          expect(handled).to.deep.equal(expected);
          const answer = (head: boolean) => `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${head ? '' : 'ok'}`;
          expect(received).to.equal(requests.map((one) => answer(one.method === 'HEAD')).join(''));
          expect(ended).to.equal(false);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('writes answers that Node’s client reads unchanged, one after another on a connection', async () => {
    const given = fc.record({
      method: fc.constantFrom('GET', 'HEAD', 'POST'),
      status: fc.constantFrom(200, 201, 204, 206, 301, 304, 404, 418, 500, 503, 599),
      fields,
      counted: fc.boolean(),
      pieces: fc.array(fc.tuple(bytes, fc.boolean()), { maxLength: 5 }),
      trailers: fields,
      big: fc.boolean(),
    });
    // Node's client drops a connection after an answer to HEAD without a length.
    const answer = given.map((one) => ({ ...one, counted: one.counted || one.method === 'HEAD' }));
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 4 }), async (answers) => {
        let at = 0;
        const handle = async (exchange: Exchange) => {
          const { status, fields: own, counted, pieces, trailers, big } = answers[at++] ?? fail();
          const data = pieces.map(([piece]) => (big ? Buffer.concat(Array(300).fill(piece)) : piece));
          const length = data.reduce((sum, piece) => sum + piece.length, 0);
          exchange.respond(status, [...own.flat(), ...(counted ? ['Content-Length', String(length)] : [])]);
          for (const [index, piece] of data.entries()) {
            if (pieces[index]?.[1]) await new Promise((resolve) => setImmediate(resolve));
            exchange.write(piece);
          }
          exchange.end(undefined, trailers.flat());
        };
        const front = createFrontUnderTest({ handle: (exchange) => void handle(exchange) });
        const [server, socket] = duplexPair();
        front.accept(server, client());
        stops.push(() => front.stop());
        // The socket methods that Node's agent needs.
        const none = () => socket;
        Object.assign(socket, { setKeepAlive: none, setTimeout: none, ref: none, unref: none });
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        let connections = 0;
        agent.createConnection = () => {
          connections++;
          return socket;
        };
        for (const { method, status, fields: own, counted, pieces, trailers, big } of answers) {
          const request: ClientRequest = httpRequest({ agent, method, host: 'a', path: '/' });
          request.end();
          const [response] = (await once(request, 'response')) as [IncomingMessage];
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          const isEmpty = method === 'HEAD' || status === 204 || status === 304;
          const whole = Buffer.concat(pieces.map(([piece]) => (big ? Buffer.concat(Array(300).fill(piece)) : piece)));
          const length = counted && status !== 204 ? ['Content-Length', String(whole.length)] : [];
          expect(response.statusCode).to.equal(status);
          expect(response.rawHeaders).to.deep.equal([
            ...own.flat(),
            ...length,
            ...(isEmpty || counted ? [] : ['Transfer-Encoding', 'chunked']),
          ]);
          expect(Buffer.concat(chunks).equals(isEmpty ? Buffer.alloc(0) : whole)).to.equal(true);
          expect(response.rawTrailers).to.deep.equal(isEmpty || counted ? [] : trailers.flat());
          await new Promise((resolve) => setImmediate(resolve));
        }
        expect(connections).to.equal(1);
        agent.destroy();
      }),
      { numRuns: 100 },
    );
    function fail(): never {
      throw new Error('a request too many');
    }
  });

  it('sends no part of an answer that could be read as another', async () => {
    const cases: readonly [number, string[]][] = [
      [200, ['A', 'b\r\nSet-Cookie: c']],
      [200, ['A', 'b\nc']],
      [200, ['A', 'b\rc']],
      [200, ['A', 'b\0c']],
      [200, ['A', 'b\u010ac']],
      [200, ['A: b\r\nC', 'd']],
      [200, ['', 'd']],
      [200, ['A B', 'd']],
      [200, ['Content-Length', '1', 'Content-Length', '2']],
      [200, ['Content-Length', '+1']],
      [200, ['Content-Length', '']],
      [101, []],
      [99, []],
      [1000, []],
    ];
    for (const [status, headers] of cases) {
      const { socket, received, ended } = connect((exchange) => {
        exchange.respond(status, headers);
        exchange.end(Buffer.from('x'));
      });
      socket.write(get());
      await eventually(ended);
      expect(received(), JSON.stringify([status, headers])).to.equal('');
    }
  });

  it('controls framing and connection fields itself', async () => {
    const { socket, received } = connect((exchange) => {
      const hop = ['Transfer-Encoding', 'gzip', 'Connection', 'close', 'Keep-Alive', 'timeout=1', 'Upgrade', 'h2c'];
      exchange.respond(200, [...hop, 'Content-Length', '2']);
      exchange.end(Buffer.from('ok'));
    });
    socket.write(get());
    await eventually(() => received().endsWith('ok'));
    expect(received()).to.equal('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });

  it('ends the connection after an answer that differs from its declared length, without an extra byte', async () => {
    for (const body of ['too long', 'x']) {
      const closes: boolean[] = [];
      const { socket, received, ended } = connect((exchange) => {
        exchange.onClose((complete) => closes.push(complete));
        exchange.respond(200, ['Content-Length', '3']);
        exchange.write(Buffer.from(body));
        if (body === 'x') exchange.end();
      });
      socket.write(get());
      await eventually(ended);
      expect(received()).not.to.include('too');
      await eventually(() => closes.length === 1);
      expect(closes).to.deep.equal([false]);
    }
  });

  it('removes trailers that are framing, or cannot be sent', async () => {
    const { socket, received } = connect((exchange) => {
      exchange.respond(200, ['Trailer', 'A']);
      const bad = ['Content-Length', '5', 'Transfer-Encoding', 'chunked', 'Host', 'b', 'Trailer', 'c', 'D', 'e\r\nf'];
      exchange.end(Buffer.from('ok'), ['A', 'b', ...bad]);
    });
    socket.write(get());
    await eventually(() => received().endsWith('\r\n0\r\nA: b\r\n\r\n'));
    expect(received()).to.equal(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n',
    );
  });

  it('passes a request on only when the previous answer is complete', async () => {
    const exchanges: Exchange[] = [];
    const { socket, received } = connect((exchange) => exchanges.push(exchange));
    socket.write(get('/1') + get('/2'));
    await eventually(() => exchanges.length === 1);
    exchanges[0]?.respond(200, ['Content-Length', '3']);
    exchanges[0]?.write(Buffer.from('on'));
    await eventually(() => received().endsWith('on'));
    expect(exchanges).to.have.length(1);
    exchanges[0]?.end(Buffer.from('e'));
    await eventually(() => exchanges.length === 2);
    expect(exchanges[1]?.target).to.equal('/2');
  });

  it('reads one pipelined request, then gives others a turn', async () => {
    let looked = 0;
    let turn = 0;
    const lookedIn = new Map<number, number>();
    const handle = (exchange: Exchange) => {
      looked++;
      lookedIn.set(turn, (lookedIn.get(turn) ?? 0) + 1);
      ok(exchange);
    };
    const front = createFrontUnderTest({ handle }, createManualClock());
    // The kernel accepts the write at once, so the answer is over before anything else happens.
    const server = createServer((socket) => front.accept(socket, client()));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = tcpConnect((server.address() as AddressInfo).port, '127.0.0.1');
    stops.push(() => {
      front.stop();
      socket.destroy();
      server.close();
    });
    socket.resume().write(get().repeat(1_000));
    for (; looked < 1_000; turn++) await new Promise((resolve) => setImmediate(resolve));
    // Two if a turn of the front comes before that of the test.
    expect(Math.max(...lookedIn.values())).to.be.at.most(2);
  });

  it('lets unknown clients wait, but never a known one', async () => {
    const fields = Array.from({ length: 40 }, (_, at) => `x-${at}: ${'y'.repeat(170)}\r\n`).join('');
    let strangers = 0;
    let known = 0;
    let worst = 0;
    let before = 0;
    const handle = (exchange: Exchange) => {
      if (exchange.connection.owner === undefined) strangers++;
      else {
        known++;
        // The work for unknown clients between two consecutive requests of a known client.
        worst = Math.max(worst, strangers - before);
        before = strangers;
      }
      ok(exchange);
    };
    const front = createFrontUnderTest({ handle }, createManualClock());
    const owned = { ...client(), owner: 'somebody' };
    const accept = (connection: ClientConnection) => {
      const [server, socket] = duplexPair();
      front.accept(server, connection);
      stops.push(() => socket.destroy());
      return socket.resume();
    };
    stops.push(front.stop);
    const others = Array.from({ length: 100 }, () => accept(client()));
    const user = accept(owned);
    for (const socket of others) socket.write(get('/', fields));
    for (let turn = 0; strangers < 100; turn++) {
      if (known === turn) user.write(get());
      await eventually(() => known > turn || strangers === 100);
    }
    expect(known).to.be.above(3);
    // About seven heads of this length fit into one turn of the event loop.
    expect(worst).to.be.at.most(30);
  });

  it('queries others for one unknown client per turn', async () => {
    let asked = 0;
    const front = createFrontUnderTest({ handle: () => void asked++ }, createManualClock());
    stops.push(front.stop);
    const sockets = Array.from({ length: 100 }, () => {
      const [server, socket] = duplexPair();
      front.accept(server, client());
      stops.push(() => socket.destroy());
      return socket;
    });
    for (const socket of sockets) socket.write(get());
    let most = 0;
    for (let before = asked; asked < 100; before = asked) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, asked - before);
    }
    // Two if a turn of the front comes before that of the test.
    expect(most).to.be.at.most(2);
  });

  it('answers waiting requests before it drains', async () => {
    const fields = Array.from({ length: 40 }, (_, at) => `x-${at}: ${'y'.repeat(170)}\r\n`).join('');
    const clients = Array.from({ length: 60 }, () => client());
    const front = createFrontUnderTest({ handle: ok }, createManualClock());
    let answered = 0;
    const sockets = clients.map((one) => {
      const [server, socket] = duplexPair();
      front.accept(server, one);
      stops.push(() => socket.destroy());
      return socket.on('data', (chunk: Buffer) => {
        if (chunk.includes('HTTP/1.1 200')) answered++;
      });
    });
    stops.push(front.stop);
    for (const socket of sockets) socket.write(get());
    await eventually(() => answered === 60);
    for (const socket of sockets) socket.write(get('/', fields));
    const wait = () => [...front.keepers()].some((keeper) => keeper.keptBytes(new Set()) > 7_000);
    await eventually(wait);
    front.drain();
    await eventually(() => answered === 120);
  });

  it('reads no further ahead than a head may be long', async () => {
    let running: Exchange | undefined;
    const targets: string[] = [];
    const { socket } = connect((exchange) => {
      targets.push(exchange.target);
      if (exchange.target === '/slow') running = exchange;
      else ok(exchange);
    });
    socket.write(get('/slow'));
    await eventually(() => running !== undefined);
    let taken = 0;
    const one = get('/ahead');
    for (let at = 0; at < 60; at++) socket.write(one.repeat(100), () => taken++);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(taken).to.be.within(1, 40);
    if (running !== undefined) ok(running);
    await eventually(() => targets.length === 6_001, 20_000);
  });

  it('returns false to a writer whose client does not read, and reports when there is room again', async () => {
    let exchange: Exchange | undefined;
    const { socket, received } = connect((given) => {
      exchange = given;
    });
    socket.pause();
    socket.write(get());
    await eventually(() => exchange !== undefined);
    exchange?.respond(200, []);
    let drained = 0;
    exchange?.onDrain(() => drained++);
    let written = 0;
    const chunk = Buffer.alloc(16 * 1024, 'x');
    while (written < 64 && exchange?.write(chunk) === true) written++;
    expect(written).to.be.within(8, 32);
    expect(drained).to.equal(0);
    socket.resume();
    await eventually(() => drained === 1);
    exchange?.end();
    await eventually(() => received().endsWith('0\r\n\r\n'));
    expect(received().match(/x/g)).to.have.length((written + 1) * chunk.length);
  });

  it('stops reading a body that no handler takes, and continues when one does', async () => {
    let exchange: Exchange | undefined;
    const { socket, received } = connect((given) => {
      exchange = given;
    });
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    let taken = 0;
    const piece = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    for (let at = 0; at < 100; at++) socket.write(piece, () => taken++);
    socket.write('0\r\n\r\n');
    for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(taken).to.be.within(10, 30);
    let size = 0;
    for await (const chunk of exchange?.body() ?? []) size += chunk.length;
    expect(size).to.equal(100 * 0x4000);
    if (exchange !== undefined) ok(exchange);
    await eventually(() => received().endsWith('ok'));
    expect(received()).not.to.include('Connection: close');
  });

  it('reports the end of an exchange once, and ends an incomplete body', async () => {
    for (const leave of [(socket: Duplex) => socket.destroy(), (socket: Duplex) => socket.end()]) {
      const closes: boolean[] = [];
      let broken: unknown;
      const { socket, server } = connect((exchange) => {
        exchange.onClose((complete) => closes.push(complete));
        void (async () => {
          for await (const _ of exchange.body() ?? []);
        })().catch((error: unknown) => {
          broken = error;
        });
      });
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal');
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
      leave(socket);
      // With two streams in memory, neither learns that the other was destroyed.
      if (socket.destroyed) server.destroy();
      await eventually(() => closes.length === 1 && broken !== undefined);
      expect(closes).to.deep.equal([false]);
    }
  });

  it('cuts an answer off so that it does not look complete', async () => {
    const { socket, received, ended } = connect((exchange) => {
      exchange.respond(200, []);
      exchange.write(Buffer.from('part'));
      setImmediate(() => setImmediate(() => exchange.destroy()));
    });
    socket.write(get());
    await eventually(ended);
    expect(received()).not.to.match(/0\r\n\r\n$/);
  });

  it('ends a connection whose request failed after its answer began, without a second answer', async () => {
    const { socket, received, ended } = connect((exchange) => {
      exchange.respond(200, []);
      exchange.write(Buffer.from('part'));
    });
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
    await eventually(() => received().includes('part'));
    socket.write('zz\r\n');
    await eventually(ended);
    expect(received().match(/HTTP\/1\.1/g)).to.have.length(1);
  });

  it('does not begin a request whose body is already invalid', async () => {
    let handled = 0;
    const { socket, received, ended } = connect(() => handled++);
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n');
    await eventually(ended);
    expect(received()).to.match(/^HTTP\/1\.1 400 /);
    expect(handled).to.equal(0);
  });

  it('gives the reason for the end in a Status, and repeats nothing that the client sent', async () => {
    const odd = 'zzqx';
    const cases: readonly [string, number][] = [
      [`${odd} / HTTP/1.1\r\nHost: a\r\n\r\n`, 400],
      [get(`/${odd}\xe4`), 400],
      [get('/', `${odd}(\x01: ${odd}\r\n`), 400],
      [get('/', `A: ${odd}\x01\r\n`), 400],
      [`GET / HTTP/1.2\r\nA: ${odd}\r\n\r\n`, 400],
      ['GET / HTTP/1.2\r\n\r\n', 400],
      [`POST /${odd} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${odd}\r\n`, 400],
      [get('/', `A: ${odd.repeat(4_000)}\r\n`), 431],
    ];
    for (const [text, code] of cases) {
      const { socket, received, ended } = connect(ok);
      socket.write(text, 'latin1');
      await eventually(ended);
      const [head = '', body = ''] = received().split('\r\n\r\n');
      expect(head.split('\r\n').slice(1), text.slice(0, 80)).to.deep.equal([
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
        'Cache-Control: no-cache, private',
        'Connection: close',
      ]);
      expect(head).to.match(new RegExp(`^HTTP/1\\.1 ${code} [A-Z]`));
      const status: { message: string } = JSON.parse(body);
      expect(status).to.include({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code });
      expect(status.message).to.match(/^[\w ,.'’/-]+$/);
      expect(received()).not.to.include(odd);
    }
  });

  it('reports a late head in the same way', async () => {
    const clock = createManualClock();
    const { socket, received, ended } = connect(ok, clock);
    socket.write('GET / HTTP/1.1\r\n');
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (let step = 0; step < 60 && !ended(); step++) await clock.advance(1_000);
    await eventually(ended);
    const [head = '', body = ''] = received().split('\r\n\r\n');
    expect(head).to.match(/^HTTP\/1\.1 408 Request Timeout\r\nContent-Type: application\/json\r\n/);
    expect(JSON.parse(body)).to.include({
      kind: 'Status',
      reason: 'Timeout',
      message: 'the request head did not come in time',
      code: 408,
    });
  });

  it('sends no body for a HEAD request with invalid chunks', async () => {
    const { socket, received, ended } = connect(() => {});
    socket.write('HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n');
    await eventually(ended);
    expect(received()).to.match(/^HTTP\/1\.1 400 .*\r\n\r\n$/s);
  });

  it('continues to read after its last answer, so that a client that still sends does not lose it', async () => {
    const { socket, received, ended, server } = connect((exchange) => {
      exchange.respond(413, ['Content-Length', '3']);
      exchange.end(Buffer.from('big'));
    });
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n');
    await eventually(() => received().endsWith('big'));
    expect(received()).to.include('Connection: close');
    let taken = 0;
    for (let at = 0; at < 20; at++) socket.write(Buffer.alloc(50_000), () => taken++);
    await eventually(() => taken === 20);
    await eventually(ended);
    socket.end();
    await eventually(() => server.destroyed);
  });

  it('reads little from a client that continues to send after its last answer', async () => {
    const { server, socket, received } = connect(ok);
    socket.write('GET /%zz HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\nTransfer-Encoding: chunked\r\n\r\n');
    await eventually(() => received().includes('HTTP/1.1 400'));
    let taken = 0;
    server.on('data', (chunk: Buffer) => (taken += chunk.length));
    for (let at = 0; at < 100; at++) {
      socket.write(Buffer.alloc(64 * 1024));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => server.isPaused());
    expect(taken).to.be.within(1024 * 1024, 1536 * 1024);
  });

  it('passes the bytes after an upgrade to the peer unchanged, and keeps a half-closed side open', async () => {
    const [peer, far] = duplexPair();
    let heard = '';
    far.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
    });
    let accept: (() => void) | undefined;
    const closes: boolean[] = [];
    const { socket, received, ended } = connect((exchange, upgrade) => {
      exchange.onClose((complete) => closes.push(complete));
      accept = () => upgrade?.accept(['Connection', 'Upgrade', 'Upgrade', 'websocket'], peer);
    });
    socket.write(`${get('/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')}GET /`);
    await eventually(() => accept !== undefined);
    socket.write(' first');
    accept?.();
    socket.write(' second');
    socket.end(' last');
    await eventually(() => heard === 'GET / first second last');
    far.write('late');
    await eventually(() => received().endsWith('late'));
    expect(received()).to.match(
      /^HTTP\/1\.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n/,
    );
    expect(ended()).to.equal(false);
    far.end();
    await eventually(ended);
    await eventually(() => closes.length === 1);
  });

  it('ends idle connections when it drains, and answers a head that has begun', async () => {
    const [idle, begun] = [connect(ok), connect(ok)];
    idle.socket.write(get());
    await eventually(() => idle.received().endsWith('ok'));
    begun.socket.write('GET / HTTP/1.1\r\nHo');
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    idle.front.drain();
    begun.front.drain();
    await eventually(idle.ended);
    expect(begun.ended()).to.equal(false);
    begun.socket.write('st: a\r\n\r\n');
    await eventually(begun.ended);
    expect(begun.received()).to.match(/^HTTP\/1\.1 200 OK\r\n.*Connection: close\r\n\r\nok$/s);
  });

  it('has no open timer without a connection, so that it does not keep the process alive', async () => {
    const clock = createManualClock();
    const front = createFrontUnderTest({ handle: ok }, clock);
    stops.push(() => front.stop());
    expect(clock.sleeping).to.equal(0);
    for (let turn = 0; turn < 2; turn++) {
      const [server, other] = duplexPair();
      front.accept(server, client());
      expect(clock.sleeping).to.equal(1);
      server.destroy();
      other.destroy();
      await clock.advance(2_000);
      expect(clock.sleeping).to.equal(0);
    }
  });

  it('continues after a handler throws', async () => {
    const handled: string[] = [];
    const { socket, ended, front } = connect((exchange) => {
      handled.push(exchange.target);
      throw new Error('a fault');
    });
    socket.write(get('/1'));
    await eventually(ended);
    const [server, other] = duplexPair();
    other.resume();
    front.accept(server, client());
    other.write(get('/2'));
    await eventually(() => handled.length === 2);
    server.destroy();
  });
});
