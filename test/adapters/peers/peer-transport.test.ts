import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';
import { createPeerTls } from '../../../src/adapters/peers/peer-tls.ts';
import { createPeerTransport, type PeerTransportOptions } from '../../../src/adapters/peers/peer-transport.ts';
import type { Call, Fault } from '../../../src/http/client/dispatch.ts';
import { maxHandshakes } from '../../../src/http/client/waiting-requests.ts';
import type { PeerRequest, PeerTransport } from '../../../src/proxy/ports.ts';
import { eventually } from '../../support/manual-clock.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

/** The result of one request. */
interface Outcome {
  interim: number[];
  status: number;
  rawHeaders: string[];
  body: string;
  trailers: string[] | undefined;
  fault: Fault | undefined;
  upgraded: Duplex | undefined;
}

const get = { method: 'GET', path: '/x', rawHeaders: [], body: null, longRunning: false, upgrade: undefined } as const;

describe('the HTTP/1.1 client for kube-apiservers', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  const { certPem, keyPem } = authority.issue({ commonName: 'peer', dnsNames: ['kubernetes.default.svc'] });
  let transport: PeerTransport;
  let sockets: TLSSocket[] = [];
  /** All bytes that each connection has received. */
  let received: string[] = [];
  /** Called after each piece with everything that its connection has received so far. */
  let script: (socket: TLSSocket, all: string, connection: number) => void;
  const server = createServer({ cert: certPem, key: keyPem, allowHalfOpen: true }, (socket) => {
    const at = sockets.push(socket) - 1;
    received[at] = '';
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      received[at] += chunk.toString('latin1');
      script(socket, received[at] ?? '', at);
    });
  });
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => connections.add(socket));
  const target = () => ({
    id: 'peer',
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    serverName: 'kubernetes.default.svc',
    pinned: true,
  });
  const start = (request: Partial<PeerRequest> = {}): { call: Call; outcome: Promise<Outcome>; seen: Outcome } => {
    const seen: Outcome = {
      interim: [],
      status: 0,
      rawHeaders: [],
      body: '',
      trailers: undefined,
      fault: undefined,
      upgraded: undefined,
    };
    let call: Call | undefined;
    const outcome = new Promise<Outcome>((resolve) => {
      call = transport.dispatch(
        target(),
        { ...get, connectAs: 'anonymous', ...request },
        {
          onInterim: (status) => seen.interim.push(status),
          onHead: (status, rawHeaders) => Object.assign(seen, { status, rawHeaders }),
          onData: (chunk) => {
            seen.body += chunk.toString('latin1');
          },
          onEnd: (trailers) => resolve(Object.assign(seen, { trailers })),
          onFault: (fault) => resolve(Object.assign(seen, { fault })),
          onUpgrade: (rawHeaders, upgraded) => resolve(Object.assign(seen, { rawHeaders, upgraded })),
        },
      );
    });
    if (call === undefined) throw new Error('no call');
    return { call, outcome, seen };
  };
  const ask = (request: Partial<PeerRequest> = {}) => start(request).outcome;
  /** Answers every complete head with these bytes. */
  const answer =
    (text: string): typeof script =>
    (socket, all) => {
      if (all.endsWith('\r\n\r\n')) socket.write(text, 'latin1');
    };
  const okAnswer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  async function* pieces(...parts: readonly string[]): AsyncGenerator<Buffer> {
    for (const part of parts) yield Buffer.from(part);
  }

  const create = (options: Partial<PeerTransportOptions>) =>
    createPeerTransport({
      tls: createPeerTls({ ca: authority.caPem, frontProxy: undefined }),
      addressPolicy: createAddressPolicy([]),
      // No test here is about a machine that is too busy for a handshake.
      connectTimeoutMs: 15_000,
      ...options,
    });

  before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  beforeEach(() => {
    sockets = [];
    received = [];
    transport = create({});
  });
  afterEach(async () => {
    await transport.close();
    for (const socket of connections) socket.destroy();
    connections.clear();
  });
  after(() => new Promise((resolve) => server.close(resolve)));

  it('reuses the connection that became idle last, and sends nothing unasked', async () => {
    script = answer(okAnswer);
    expect(await ask({ rawHeaders: ['Host', 'h', 'X', ''] })).to.include({ status: 200, body: 'ok', fault: undefined });
    await ask();
    expect(sockets).to.have.length(1);
    expect(received[0]).to.equal(
      `GET /x HTTP/1.1\r\nHost: h\r\nX: \r\n\r\nGET /x HTTP/1.1\r\nHost: ${target().address}\r\n\r\n`,
    );
  });

  it('gives each concurrent request its own connection, and separates watches from short requests', async () => {
    script = answer(okAnswer);
    await Promise.all([ask(), ask()]);
    await ask({ longRunning: true });
    expect(sockets).to.have.length(3);
    expect(transport.connections()).to.deep.equal({ short: 2, long: 1 });
  });

  it('serves a flood of requests without flooding the server with handshakes', async () => {
    script = answer(okAnswer);
    let shaking = 0;
    let most = 0;
    const begin = () => {
      shaking++;
      most = Math.max(most, shaking);
    };
    const end = () => shaking--;
    server.on('connection', begin).on('secureConnection', end);
    const outcomes = await Promise.all(Array.from({ length: 400 }, () => ask()));
    server.off('connection', begin).off('secureConnection', end);
    expect(outcomes.filter(({ body }) => body === 'ok')).to.have.length(400);
    expect(most).to.be.within(2, maxHandshakes);
    // Connections that had become idle served the waiting requests.
    expect(sockets.length).to.be.below(400);
  });

  it('uses no new connection for waiting requests after a failed one', async () => {
    const silent = createTcpServer((socket) => connections.add(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    let accepted = 0;
    silent.on('connection', (socket) => {
      socket.resume();
      // The first connection is cut; the others stay open.
      if (++accepted === maxHandshakes) socket.destroy();
    });
    const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const faults: Fault[] = [];
    const calls = Array.from({ length: 300 }, () =>
      transport.dispatch(
        { ...target(), address },
        { ...get, method: 'POST', body: pieces('x'), connectAs: 'anonymous' },
        {
          onHead: () => {},
          onData: () => {},
          onEnd: () => {},
          onFault: (fault) => faults.push(fault),
          onUpgrade: () => {},
        },
      ),
    );
    await eventually(() => faults.length > 0);
    const atOnce = faults.splice(0);
    for (const call of calls) call.abort(new Error('enough'));
    await new Promise((resolve) => {
      silent.close(resolve);
      for (const socket of connections) socket.destroy();
    });
    expect(atOnce).to.have.length(300);
    expect(atOnce.every(({ kind, sent }) => kind === 'connect' && !sent)).to.equal(true);
    expect(accepted).to.be.at.most(maxHandshakes);
  });

  it('reads an answer that arrives byte by byte, with empty values and repeated fields', async () => {
    script = (socket) => {
      const text =
        'HTTP/1.1 200 OK\r\nA: 1\r\nE:\r\nF: \r\nA: 2\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: t\r\n\r\n';
      const next = (at: number): void => {
        if (at < text.length) socket.write(text[at] ?? '', () => next(at + 1));
      };
      next(0);
    };
    const { rawHeaders, body, trailers } = await ask();
    expect(rawHeaders).to.deep.equal(['A', '1', 'E', '', 'F', '', 'A', '2', 'Transfer-Encoding', 'chunked']);
    expect({ body, trailers }).to.deep.equal({ body: 'hello', trailers: ['T', 't'] });
    script = answer(okAnswer);
    await ask();
    expect(sockets).to.have.length(1);
  });

  it('reads chunks of all sizes across pieces of all sizes', async () => {
    const body = 'abcdefghij'.repeat(20_000);
    let text = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    for (let at = 0, size = 1; at < body.length; at += size, size = (size * 7 + 3) % 50_000) {
      if (size === 0) size = 1;
      const part = body.slice(at, at + size);
      text += `${part.length.toString(16)}\r\n${part}\r\n`;
    }
    script = answer(`${text}0\r\n\r\n`);
    expect((await ask()).body === body).to.equal(true);
  });

  it('removes framing fields from trailers', async () => {
    script = answer(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nHost: h\r\nX: y\r\n\r\n',
    );
    const { trailers, fault } = await ask();
    expect(fault === undefined ? trailers : ['X', 'y']).to.deep.equal(['X', 'y']);
  });

  it('knows the answers that have no body', async () => {
    script = (socket, all) => {
      if (all.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n');
    };
    expect(await ask({ method: 'HEAD' })).to.include({ status: 200, body: '', fault: undefined });
    for (const status of [204, 304]) {
      script = answer(`HTTP/1.1 ${status} X\r\nContent-Length: 7\r\n\r\n`);
      expect(await ask()).to.include({ status, body: '', fault: undefined });
    }
    script = answer('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    expect(await ask()).to.include({ status: 200, body: '' });
    expect(sockets).to.have.length(1);
  });

  it('does not reuse a connection that the server wants closed', async () => {
    for (const text of [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
      'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    ]) {
      script = answer(text);
      expect((await ask()).body).to.equal('ok');
    }
    expect(sockets).to.have.length(2);
  });

  const extra: Readonly<Record<string, string>> = {
    'a byte after a body of known length': `${okAnswer}x`,
    'a second answer in one write': okAnswer + okAnswer.replace('200', '201'),
    'a byte after the last chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx',
    'a body where there must be none': 'HTTP/1.1 204 No Content\r\n\r\nok',
  };
  for (const [what, text] of Object.entries(extra))
    it(`never reuses a connection after ${what}`, async () => {
      script = answer(text);
      expect((await ask()).fault).to.equal(undefined);
      script = answer(okAnswer);
      expect(await ask()).to.include({ status: 200, body: 'ok' });
      expect(sockets).to.have.length(2);
    });

  it('never reuses a connection that received bytes while idle', async () => {
    script = answer(okAnswer);
    await ask();
    const closed = new Promise((resolve) => sockets[0]?.once('end', resolve));
    sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
    await closed;
    expect((await ask()).body).to.equal('ok');
    expect(sockets).to.have.length(2);
  });

  const broken: Readonly<Record<string, string>> = {
    garbage: 'SSH-2.0-OpenSSH\r\n\r\n',
    'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'the same length twice': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na',
    'a list of lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na',
    'a signed length': 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na',
    'a length beside chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'chunks beside a length': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n',
    'an unknown coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx',
    'chunked in two fields':
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'chunked in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'chunked that is not last': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
    'a space before the colon': 'HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na',
    'a folded field': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\na',
    'a bare carriage return': 'HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 1\r\n\r\na',
    'a bare line feed': 'HTTP/1.1 200 OK\nContent-Length: 1\n\na',
    'a NUL': 'HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 1\r\n\r\na',
    'no length': 'HTTP/1.1 200 OK\r\n\r\nwhole?',
    'an odd version': 'HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na',
    'a bad chunk size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n',
    'a chunk longer than it says': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n',
    'the server switched protocols without a request to': 'HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    'a head without end': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(1_200_000)}`,
    'a reason without end': `HTTP/1.1 200 ${'x'.repeat(1_200_000)}`,
    'too many fields': `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(2_000)}\r\n`,
    'interim answers without end': 'HTTP/1.1 103 X\r\n\r\n'.repeat(50),
  };
  for (const [what, text] of Object.entries(broken))
    it(`does not reuse a connection whose server has sent ${what}`, async () => {
      script = answer(text);
      const { fault } = await ask();
      expect(fault).to.include({ kind: 'answer', sent: true });
      script = answer(okAnswer);
      expect((await ask()).body).to.equal('ok');
      expect(sockets).to.have.length(2);
    });

  it('reports a truncated answer, however it is delimited', async () => {
    for (const text of [
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha',
      'HTTP/1.1 200 OK\r\nContent-',
    ]) {
      script = (socket) => socket.end(text);
      expect((await ask()).fault).to.include({ kind: 'reset', sent: true });
    }
  });

  it('reports that nothing was sent if nothing could be sent', async () => {
    const away = { ...target(), address: '127.0.0.1:1' };
    const fault = await new Promise<Fault>((resolve) => {
      const nothing = () => {};
      const handler = { onHead: nothing, onData: nothing, onEnd: nothing, onUpgrade: nothing, onFault: resolve };
      transport.dispatch(away, { ...get, connectAs: 'anonymous' }, handler);
    });
    expect(fault).to.include({ kind: 'connect', sent: false });
  });

  const unfit: Readonly<Record<string, Partial<PeerRequest>>> = {
    'a line break in a value': { rawHeaders: ['X', 'a\r\nX-Remote-User: root'] },
    'a character whose low byte is a line break': { rawHeaders: ['X', 'a\u010aX-Remote-User: root'] },
    'a name that is no token': { rawHeaders: ['X: y\r\nZ', 'a'] },
    'a target with a space': { path: '/x HTTP/1.1\r\nX: y' },
    'a target that is none': { path: 'https://other/' },
    'a method that is no token': { method: 'GET /y' },
    'two lengths': { rawHeaders: ['Content-Length', '1', 'content-length', '2'], body: pieces('x') },
    'a length without a body': { rawHeaders: ['Content-Length', '1'] },
    'a coding of its own': { rawHeaders: ['Transfer-Encoding', 'chunked'] },
    'two hosts': { rawHeaders: ['Host', 'a', 'host', 'b'] },
    'a connection option': { rawHeaders: ['Connection', 'X'] },
  };
  for (const [what, request] of Object.entries(unfit))
    it(`refuses to send ${what}`, async () => {
      expect((await ask(request)).fault).to.include({ kind: 'request', sent: false });
      expect(sockets).to.have.length(0);
    });

  it('sends bodies of known length unchanged, and others in chunks', async () => {
    script = (socket, all) => {
      if (all.endsWith('0\r\n\r\n') || all.endsWith('hello')) socket.write(okAnswer);
    };
    await ask({ method: 'PUT', rawHeaders: ['Host', 'h', 'Content-Length', '5'], body: pieces('he', '', 'llo') });
    expect(received[0]).to.equal('PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello');
    await ask({ method: 'PUT', rawHeaders: ['Host', 'h'], body: pieces('he', '', 'llo') });
    expect(received[0]).to.match(/\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n$/);
    expect(sockets).to.have.length(1);
  });

  it('ends a request whose body breaks its declared length, and the connection with it', async () => {
    script = () => {};
    for (const length of ['3', '9']) {
      const body = pieces('he', 'llo');
      const { fault } = await ask({ method: 'PUT', rawHeaders: ['Content-Length', length], body });
      expect(fault?.sent).to.equal(true);
    }
    await eventually(() => sockets.every((socket) => socket.destroyed || socket.readableEnded));
    expect(received.join()).not.to.include('hello');
  });

  it('reads a body only as fast as the server accepts it', async () => {
    script = (socket) => socket.pause();
    let taken = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        taken++;
        yield Buffer.alloc(64 * 1024);
      }
    }
    const { call, outcome } = start({ method: 'PUT', body: endless() });
    let before = -1;
    while (before !== taken || taken === 0) {
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(taken).to.be.below(500);
    call.abort(new Error('enough'));
    expect((await outcome).fault).to.include({ kind: 'aborted', sent: true });
  });

  it('does not reuse a connection whose request was answered before it was sent', async () => {
    script = (socket) => socket.write('HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n');
    let release = () => {};
    async function* stuck(): AsyncGenerator<Buffer> {
      yield Buffer.from('x');
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    }
    expect((await ask({ method: 'PUT', body: stuck() })).status).to.equal(413);
    release();
    script = answer(okAnswer);
    await ask();
    expect(sockets).to.have.length(2);
  });

  it('passes interim answers on, and waits for 100 if the body does', async () => {
    let goOn = () => {};
    async function* patient(): AsyncGenerator<Buffer> {
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      yield Buffer.from('body!');
    }
    script = (socket, all) => {
      if (all.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
      if (all.endsWith('body!')) socket.write(okAnswer);
    };
    const rawHeaders = ['Expect', '100-continue', 'Content-Length', '5'];
    const { outcome, seen } = start({ method: 'PUT', rawHeaders, body: patient() });
    await eventually(() => seen.interim.includes(100));
    expect(seen.interim).to.deep.equal([103, 100]);
    goOn();
    expect(await outcome).to.include({ status: 200, body: 'ok' });
  });

  it('hands over the socket of an upgrade with the bytes received so far, and keeps it half-closed', async () => {
    script = (socket, all) => {
      if (all.includes('Upgrade: spdy') && all.endsWith('\r\n\r\n'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: spdy\r\n\r\nfirst');
      if (all.endsWith('question')) socket.once('end', () => socket.end('answer'));
    };
    const { upgraded } = await ask({ upgrade: 'spdy', longRunning: true });
    let text = '';
    upgraded?.resume();
    upgraded?.on('data', (chunk: Buffer) => {
      text += String(chunk);
      if (text === 'first') upgraded.end('question');
    });
    await new Promise((resolve) => upgraded?.once('end', resolve));
    expect(text).to.equal('firstanswer');
    upgraded?.destroy();
    await eventually(() => transport.connections().long === 0);
  });

  it('slows the server down while paused', async () => {
    let written = 0;
    script = (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      const more = () => {
        while (written < 64 * 1024 * 1024) {
          written += 65_536;
          if (!socket.write(`10000\r\n${'x'.repeat(65_536)}\r\n`)) return void socket.once('drain', more);
        }
      };
      more();
    };
    const { call, outcome, seen } = start();
    await eventually(() => seen.status === 200);
    call.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(written).to.be.below(32 * 1024 * 1024);
    call.abort(new Error('enough'));
    expect((await outcome).fault?.kind).to.equal('aborted');
  });

  it('gives up a short request without an answer, but not a watch', async () => {
    transport = create({ shortTimeoutMs: 500 });
    script = () => {};
    const watch = start({ longRunning: true });
    expect((await ask()).fault).to.include({ kind: 'timeout', sent: true });
    expect(watch.seen.fault).to.equal(undefined);
    watch.call.abort(new Error('enough'));
    await watch.outcome;
  });

  it('forgets a server without a connection for long, and replaced certificates', async () => {
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    await transport.close();
    const tls = createPeerTls({ ca: authority.caPem, frontProxy: undefined });
    transport = create({ tls, idleTimeoutMs: 0, forgetAfterMs: 0 });
    script = answer(okAnswer);
    const seen = new WeakRef(tls.material('anonymous') ?? {});
    expect((await ask()).body).to.equal('ok');
    tls.replace({ ca: authority.caPem, frontProxy: undefined });
    await eventually(() => {
      collect();
      return seen.deref() === undefined;
    }, 15_000);
    expect((await ask()).body, 'and asks it again all the same').to.equal('ok');
  });

  it('probes without a credential over one connection, and distinguishes a refusal and a lost etcd from readiness', async () => {
    for (const [status, text, found] of [
      [200, 'ok', 'ready'],
      [401, '', 'refused'],
      [403, '', 'refused'],
      [500, '[+]ping ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\n', 'away'],
      [500, '[+]ping ok\n[-]etcd-readiness failed: reason withheld\n', 'hung'],
      [500, '[-]etcd failed: reason withheld\n', 'hung'],
    ] as const) {
      script = answer(`HTTP/1.1 ${status} X\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
      expect(await transport.probe(target())).to.equal(found);
    }
    expect(received).to.have.length(1);
    expect(received[0]).to.match(/^(GET \/readyz HTTP\/1\.1\r\nHost: [^\r]+\r\n\r\n){6}$/);
    script = () => {};
    expect(await transport.probe(target())).to.equal('hung');
    await eventually(() => sockets.every((socket: Socket) => socket.destroyed || socket.readableEnded));
  });

  /** Answers `/readyz` depending on the token of the request. */
  const answerByToken =
    (answers: Readonly<Record<string, string>>): typeof script =>
    (socket, all) => {
      if (!all.endsWith('\r\n\r\n')) return;
      const last = all.slice(all.lastIndexOf('GET '));
      const token = /^Authorization: Bearer (.*)\r$/m.exec(last)?.[1] ?? 'none';
      const [status, text = ''] = (answers[token] ?? '401 ').split(/ (.*)/s);
      socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: ${text.length}\r\n\r\n${text}`, 'latin1');
    };
  const withToken = (ownToken: () => Promise<string | undefined>) => create({ probeTimeoutMs: 200, ownToken });
  const tokensSent = () => received.join('').match(/(?<=^Authorization: ).*(?=\r$)/gm) ?? [];

  it('probes with its own token a server that refuses anonymous requests, and then at once', async () => {
    transport = withToken(async () => 'own');
    for (const [answers, found] of [
      [{ none: '403 ', own: '403 ' }, 'refused'],
      [{ none: '200 ok' }, 'ready'],
      [{ own: '500 [-]etcd failed: reason withheld\n' }, 'hung'],
      [{ own: '200 ok' }, 'ready'],
      [{ own: '401 ' }, 'refused'],
    ] as const) {
      script = answerByToken(answers);
      expect(await transport.probe(target())).to.equal(found);
    }
    expect(tokensSent()).to.deep.equal(['Bearer own', 'Bearer own', 'Bearer own', 'Bearer own']);
    expect(received.join('').match(/GET \/readyz/g)).to.have.length(7);
  });

  for (const [title, read] of [
    ['is not there', async () => undefined],
    ['cannot be read', () => Promise.reject(new Error('no such file'))],
    ['is not read in time', () => new Promise<undefined>(() => {})],
  ] as const)
    it(`takes a refusal as such if its own token ${title}`, async () => {
      transport = withToken(read);
      script = answerByToken({ own: '200 ok' });
      expect(await transport.probe(target())).to.equal('refused');
      expect(tokensSent()).to.deep.equal([]);
    });
});
