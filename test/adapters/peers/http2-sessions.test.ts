import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { flags, frame, frameTypes, literals } from '../../../lab/raw-http2.ts';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';
import { createPeerTls } from '../../../src/adapters/peers/peer-tls.ts';
import { createPeerTransport } from '../../../src/adapters/peers/peer-transport.ts';
import type { Fault } from '../../../src/http/client/dispatch.ts';
import { createHttp2Pool, type Http2Limits, type Http2Pool } from '../../../src/http/client/http2-pool.ts';
import type { PeerRequest, PeerTransport } from '../../../src/proxy/ports.ts';
import { eventually } from '../../support/manual-clock.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

interface Outcome {
  status: number;
  interim: string[];
  rawHeaders: string[];
  body: string;
  trailers: string[] | undefined;
  fault: Fault | undefined;
}

describe('requests over HTTP/2', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  const { certPem, keyPem } = authority.issue({ commonName: 'peer', dnsNames: ['kubernetes.default.svc'] });
  let server: Http2SecureServer;
  let transport: PeerTransport;
  let sessions: ServerHttp2Session[];
  let streams: { stream: ServerHttp2Stream; rawHeaders: string[] }[];
  let connections: Set<Socket>;
  let onStream: (stream: ServerHttp2Stream) => void;

  const answerHttp1 = () =>
    server.on('request', (request, response) => {
      if (request.httpVersionMajor === 1) response.end('over HTTP/1.1');
    });
  const ask = (request: Partial<PeerRequest> = {}) => {
    const seen: Outcome = { status: 0, interim: [], rawHeaders: [], body: '', trailers: undefined, fault: undefined };
    const call = transport.dispatch(
      {
        id: 'peer',
        address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
        serverName: 'kubernetes.default.svc',
        pinned: true,
      },
      {
        method: 'GET',
        path: '/api/v1/pods?watch=1',
        rawHeaders: ['Host', 'h', 'X-Remote-Group', 'a', 'X-Remote-Group', 'b'],
        body: null,
        longRunning: true,
        mayShare: true,
        connectAs: 'anonymous',
        upgrade: undefined,
        ...request,
      },
      {
        onInterim: (_status, interim) => Object.assign(seen, { interim }),
        onHead: (status, rawHeaders) => Object.assign(seen, { status, rawHeaders }),
        onData: (chunk) => {
          seen.body += String(chunk);
        },
        onEnd: (trailers) => Object.assign(seen, { trailers }),
        onFault: (fault) => Object.assign(seen, { fault }),
        onUpgrade: () => {},
      },
    );
    return { call, seen };
  };

  beforeEach(async () => {
    sessions = [];
    streams = [];
    connections = new Set();
    onStream = (stream) => {
      stream.respond([':status', '200', 'x-list', 'a', 'x-list', 'b']);
      stream.write('event');
    };
    server = createSecureServer({ cert: certPem, key: keyPem, allowHTTP1: true });
    server.on('connection', (socket: Socket) => connections.add(socket));
    server.on('session', (session) => {
      session.on('error', () => {});
      // Go's and nginx's servers do the same: they open the connection's window at once.
      session.setLocalWindowSize(1_000_000);
      sessions.push(session);
    });
    server.on('stream', (stream: ServerHttp2Stream, _headers, _flags, rawHeaders) => {
      stream.on('error', () => {});
      streams.push({ stream, rawHeaders: [...(rawHeaders as unknown as string[])] });
      onStream(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    transport = createPeerTransport({
      tls: createPeerTls({ ca: authority.caPem, frontProxy: undefined }),
      addressPolicy: createAddressPolicy([]),
    });
  });
  afterEach(async () => {
    await transport.close();
    for (const socket of connections) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('fail for fields that cannot be sent, without harm to the session', async () => {
    const rawHeaders = ['Host', 'h', 'A', 'b\r\nC: d'];
    const first = ask({ rawHeaders });
    await eventually(() => first.seen.fault !== undefined);
    const second = ask({ rawHeaders });
    await eventually(() => second.seen.fault !== undefined);
    expect([first.seen.fault?.kind, second.seen.fault?.kind]).to.deep.equal(['request', 'request']);
    expect(first.seen.fault?.sent).to.equal(false);
    const watch = ask();
    await eventually(() => streams.length > 0);
    expect(watch.seen.fault).to.equal(undefined);
  });

  it('share a connection, and keep repeated fields in both directions', async () => {
    const watches = Array.from({ length: 90 }, () => ask());
    await eventually(() => watches.every(({ seen }) => seen.body === 'event'));
    expect(sessions).to.have.length(1);
    expect(transport.connections().long).to.equal(1);
    expect(watches[0]?.seen.rawHeaders.slice(0, 4)).to.deep.equal(['X-List', 'a', 'X-List', 'b']);
    const { rawHeaders = [] } = streams[0] ?? {};
    expect(rawHeaders.join(' ')).to.include('x-remote-group a x-remote-group b');
    expect(rawHeaders[rawHeaders.indexOf(':authority') + 1]).to.equal('h');
    for (const { call } of watches) call.abort(new Error('enough'));
    await eventually(() => streams.every(({ stream }) => stream.destroyed));
  });

  it("get a further connection when one is full by the proxy's measure", async () => {
    const watches = Array.from({ length: 120 }, () => ask());
    await eventually(() => watches.every(({ seen }) => seen.body === 'event'));
    expect(sessions).to.have.length(2);
  });

  it("respect the server's limit of streams", async () => {
    server.updateSettings({ maxConcurrentStreams: 2 });
    const first = ask();
    await eventually(() => first.seen.body === 'event');
    const watches = Array.from({ length: 5 }, () => ask());
    await eventually(() => watches.every(({ seen }) => seen.body === 'event'));
    expect(sessions.length).to.be.greaterThan(2);
  });

  it('end with trailers, as the server ends them', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
      stream.end('last');
    };
    const { seen } = ask();
    await eventually(() => seen.trailers !== undefined);
    expect(seen).to.deep.include({ status: 200, body: 'last', trailers: ['X-Sum', '1'], fault: undefined });
  });

  it('have header names as Go writes them over HTTP/1.1', async () => {
    onStream = (stream) => {
      stream.additionalHeaders({ ':status': 103, 'x-kubernetes-pf-flowschema-uid': 'early' });
      stream.respond([':status', '200', 'www-authenticate', 'a', 'x--b', '', '3-c_d', ''], { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
      stream.end();
    };
    const names = ['X-Kubernetes-Pf-Flowschema-Uid', 'Www-Authenticate', 'X--B', '3-C_d', 'X-Sum'];
    for (const longRunning of [false, true]) {
      const { seen } = ask({ longRunning });
      await eventually(() => seen.trailers !== undefined);
      const given = [...seen.interim, ...seen.rawHeaders, ...(seen.trailers ?? [])];
      expect(given.filter((name, at) => at % 2 === 0 && name.toLowerCase() !== 'date')).to.deep.equal(names);
    }
  });

  it('are distinguished when cut off, and when refused before processing', async () => {
    answerHttp1();
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half', () => stream.destroy(new Error('cut')));
    };
    const cut = ask();
    await eventually(() => cut.seen.fault !== undefined);
    expect(cut.seen.fault).to.include({ kind: 'answer', sent: true });
    onStream = (stream) => stream.close(7);
    const refused = ask();
    await eventually(() => refused.seen.trailers !== undefined);
    expect(refused.seen).to.deep.include({ body: 'over HTTP/1.1', fault: undefined });
  });

  it('are repeated over another session if they crossed a GOAWAY, and over a session of their own after three', async () => {
    answerHttp1();
    const before = ask();
    await eventually(() => before.seen.body === 'event');
    const usual = onStream;
    let refused = 0;
    onStream = (stream) => {
      if (refused++ < 2) return stream.close(7);
      usual(stream);
    };
    const crossed = ask();
    await eventually(() => crossed.seen.body === 'event');
    expect([refused, crossed.seen.fault, crossed.seen.status]).to.deep.equal([3, undefined, 200]);
    refused = -1_000;
    onStream = (stream) => stream.close(7);
    refused = 0;
    onStream = (stream) => {
      refused++;
      stream.close(7);
    };
    const never = ask();
    await eventually(() => never.seen.trailers !== undefined);
    expect([never.seen.body, refused]).to.deep.equal(['over HTTP/1.1', 3]);
  });

  it('share no connection with requests whose credential was not mayShare, on which a server may send GOAWAY', async () => {
    answerHttp1();
    const watch = ask();
    await eventually(() => watch.seen.body === 'event');
    const newcomer = ask({ mayShare: false });
    await eventually(() => newcomer.seen.body === 'event');
    expect(sessions).to.have.length(2);
    const short = ask({ mayShare: false, longRunning: false });
    await eventually(() => short.seen.trailers !== undefined);
    expect(short.seen.body).to.equal('over HTTP/1.1');
    expect(transport.connections()).to.deep.equal({ short: 1, long: 2 });
  });

  for (const method of ['HEAD', 'DELETE', 'POST'])
    it(`may be ${method}, once, without a body`, async () => {
      onStream = (stream) => {
        stream.respond({ ':status': 202 });
        stream.end();
      };
      const { seen } = ask({ method, longRunning: false });
      await eventually(() => seen.trailers !== undefined);
      expect(seen.status).to.equal(202);
      const { rawHeaders = [] } = streams[0] ?? {};
      expect([streams.length, rawHeaders[rawHeaders.indexOf(':method') + 1]]).to.deep.equal([1, method]);
    });

  it('may have heads of the maximum size, many at once', async () => {
    const rawHeaders = ['Host', 'h', 'X-Long', 'x'.repeat(60_000)];
    const watches = Array.from({ length: 90 }, () => ask({ rawHeaders, longRunning: false }));
    await eventually(() => watches.every(({ seen }) => seen.body === 'event' || seen.fault !== undefined));
    expect(watches.filter(({ seen }) => seen.fault !== undefined)).to.deep.equal([]);
    expect(sessions).to.have.length(1);
  });

  it('go over HTTP/1.1 if they are longer than the server accepts over HTTP/2', async () => {
    server.updateSettings({ maxHeaderListSize: 20_000 });
    answerHttp1();
    const long = ask({ rawHeaders: ['Host', 'h', ...Array.from({ length: 400 }, () => ['X', 'a'.repeat(20)]).flat()] });
    await eventually(() => long.seen.trailers !== undefined || long.seen.fault !== undefined);
    expect([long.seen.status, long.seen.body]).to.deep.equal([200, 'over HTTP/1.1']);
    const fitting = ask({ rawHeaders: ['Host', 'h', 'X', 'a'.repeat(15_000)] });
    await eventually(() => fitting.seen.body === 'event');
    expect(sessions).to.have.length(1);
  });

  it('are given up if they are short and the server is silent; idle connections are closed', async () => {
    await transport.close();
    transport = createPeerTransport({
      tls: createPeerTls({ ca: authority.caPem, frontProxy: undefined }),
      addressPolicy: createAddressPolicy([]),
      shortTimeoutMs: 1_000,
      idleTimeoutMs: 1_000,
    });
    onStream = () => {};
    const { seen } = ask({ longRunning: false });
    await eventually(() => seen.fault !== undefined, 10_000);
    expect(seen.fault).to.include({ kind: 'timeout', sent: true });
    await eventually(() => sessions[0]?.destroyed === true && transport.connections().short === 0, 10_000);
  });

  it('leave no connection behind when the transport is closed', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.end();
    };
    const short = ask({ longRunning: false });
    await eventually(() => short.seen.trailers !== undefined);
    await transport.close();
    await eventually(() => sessions[0]?.destroyed === true);
  });

  it('survive GOAWAY, and new ones use a new connection', async () => {
    const before = ask();
    await eventually(() => before.seen.body === 'event');
    sessions[0]?.goaway(0);
    await eventually(() => {
      const { call } = ask();
      if (sessions.length > 1) return true;
      call.abort(new Error('too early'));
      return false;
    });
    streams[0]?.stream.write(' more');
    await eventually(() => before.seen.body === 'event more');
    expect(before.seen.fault).to.equal(undefined);
  });

  it('end with a fault when the connection breaks', async () => {
    const { seen } = ask();
    await eventually(() => seen.body === 'event');
    sessions[0]?.destroy();
    await eventually(() => seen.fault !== undefined || seen.trailers !== undefined);
    expect(seen.fault).to.include({ kind: 'reset', sent: true });
  });

  it('do not block each other when one is not read', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write(Buffer.alloc(100 * 1024));
    };
    const slow = Array.from({ length: 60 }, () => ask());
    for (const { call } of slow) call.pause();
    await eventually(() => slow.every(({ seen }) => seen.status === 200));
    for (const { call } of slow) call.pause();
    const { seen } = ask();
    await eventually(() => seen.body.length === 100 * 1024);
    expect(sessions).to.have.length(1);
  });

  it('use HTTP/1.1 for bodies, and never share with short requests', async () => {
    answerHttp1();
    async function* body(): AsyncGenerator<Buffer> {
      yield Buffer.from('hello');
    }
    const posted = ask({ method: 'POST', body: body() });
    await eventually(() => posted.seen.trailers !== undefined);
    expect(posted.seen.body).to.equal('over HTTP/1.1');
    const short = ask({ method: 'POST', body: body(), longRunning: false });
    await eventually(() => short.seen.trailers !== undefined);
    expect(sessions).to.have.length(0);
    expect(transport.connections()).to.deep.equal({ short: 1, long: 1 });
  });

  it('share connections only with their kind: short requests have their own', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('short');
    };
    const short = [1, 2, 3].map(() => ask({ longRunning: false }));
    await eventually(() => short.every(({ seen }) => seen.trailers !== undefined));
    expect(short.map(({ seen }) => seen.body)).to.deep.equal(['short', 'short', 'short']);
    const watch = ask();
    await eventually(() => watch.seen.trailers !== undefined);
    expect(sessions).to.have.length(2);
    expect(transport.connections()).to.deep.equal({ short: 1, long: 1 });
  });

  it('receive only one window of an unread answer, and the rest when it is read', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(1024 * 1024));
    };
    const { call, seen } = ask();
    call.pause();
    await eventually(() => seen.body.length >= 64 * 1024);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(seen.body).to.have.length(64 * 1024);
    expect(seen.trailers).to.equal(undefined);
    call.resume();
    await eventually(() => seen.trailers !== undefined);
    expect(seen.body).to.have.length(1024 * 1024);
  });

  it('refuse what HTTP/1.1 refuses', async () => {
    const { seen } = ask({ rawHeaders: ['X', 'a\nb'] });
    await eventually(() => seen.fault !== undefined);
    expect(seen.fault).to.include({ kind: 'request', sent: false });
  });

  describe('on sessions of their own', () => {
    let open: Http2Pool;
    const request = {
      method: 'GET',
      path: '/api/v1/pods?watch=1',
      rawHeaders: ['Host', 'h'],
      body: null,
      longRunning: true,
      connectAs: 'anonymous',
      upgrade: undefined,
    } as const;
    const target = () => ({
      id: 'peer',
      address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      serverName: 'kubernetes.default.svc',
      pinned: true,
    });
    const start = (limits: Partial<Http2Limits>, port = (server.address() as AddressInfo).port) => {
      const connectOne = async () => {
        const socket = tlsConnect({
          host: '127.0.0.1',
          port,
          ca: authority.caPem,
          servername: 'kubernetes.default.svc',
          ALPNProtocols: ['h2'],
        });
        await once(socket, 'secureConnect');
        return socket;
      };
      const usual = {
        ...{ maxStreams: 10, streamsPerConnection: 100, streamWindow: 65_536, answerTimeoutMs: undefined },
        ...{ idleTimeoutMs: 60_000, pingEveryMs: 60_000, pingOwedMs: 1_000, setUpTimeoutMs: 5_000 },
      };
      open = createHttp2Pool(target(), connectOne, { ...usual, ...limits });
      const seen = { status: 0, faults: [] as Fault[], fallbacks: 0 };
      const call = open.dispatch(
        request,
        {
          onHead: (status) => {
            seen.status = status;
          },
          onData: () => {},
          onEnd: () => {},
          onFault: (fault) => seen.faults.push(fault),
          onUpgrade: () => {},
        },
        () => {
          seen.fallbacks++;
          return call;
        },
      );
      return { call, seen };
    };
    afterEach(() => open.close());

    it('fail if the server does not answer a ping, and the session closes', async () => {
      const { seen } = start({});
      await eventually(() => seen.status === 200);
      // From now on the server reads nothing.
      for (const socket of connections) socket.pause();
      open.sweep();
      expect(open.open()).to.equal(1);
      open.sweep();
      await eventually(() => seen.faults.length === 1);
      expect(seen.faults[0]).to.include({ kind: 'reset', sent: true });
      open.sweep();
      expect(open.open()).to.equal(0);
    });

    it('end if the server is silent for too long, except while the client does not read', async () => {
      const slow = start({ answerTimeoutMs: 2_000, pingOwedMs: 60_000 });
      await eventually(() => slow.seen.status === 200);
      slow.call.pause();
      for (let round = 0; round < 5; round++) open.sweep();
      expect(slow.seen.faults).to.deep.equal([]);
      slow.call.resume();
      open.sweep();
      open.sweep();
      expect(slow.seen.faults).to.deep.equal([]);
      open.sweep();
      expect(slow.seen.faults.map(({ kind, sent }) => [kind, sent])).to.deep.equal([['timeout', true]]);
      await eventually(() => streams[0]?.stream.rstCode === 8);
    });

    /** A server with hand-made frames; `onHeaders` returns its answer to each request by stream. */
    async function rawServer(greeting: Buffer, onHeaders: (stream: number) => Buffer, protocols = ['h2']) {
      const seen = { connections: 0, requests: 0 };
      const raw = createTlsServer({ cert: certPem, key: keyPem, ALPNProtocols: protocols }, (socket) => {
        seen.connections++;
        socket.on('error', () => {});
        socket.write(greeting);
        let rest: Buffer = Buffer.alloc(0);
        let begun = false;
        socket.on('data', (chunk: Buffer) => {
          rest = Buffer.concat([rest, chunk]);
          if (!begun && rest.length >= 24) {
            begun = true;
            rest = rest.subarray(24);
          }
          while (begun && rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
            if (rest[3] === frameTypes.headers) {
              seen.requests++;
              socket.write(onHeaders(rest.readUInt32BE(5)));
            }
            rest = rest.subarray(9 + rest.readUIntBE(0, 3));
          }
        });
      });
      raw.on('connection', (socket: Socket) => connections.add(socket));
      await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
      return { seen, port: (raw.address() as AddressInfo).port, close: () => raw.close() };
    }
    const hello = frame(frameTypes.settings, 0, 0);
    const half = (stream: number) =>
      Buffer.concat([
        frame(frameTypes.headers, flags.endHeaders, stream, literals([[':status', '200']])),
        frame(frameTypes.data, 0, stream, Buffer.from('half')),
      ]);

    it('are not repeated after any byte of an answer, whatever the server sends later', async () => {
      const refused = (stream: number) => frame(frameTypes.reset, 0, stream, Buffer.from([0, 0, 0, 7]));
      const gone = () => frame(frameTypes.goaway, 0, 0, Buffer.alloc(8));
      for (const after of [refused, gone]) {
        const raw = await rawServer(hello, (stream) => Buffer.concat([half(stream), after(stream)]));
        const { seen } = start({}, raw.port);
        await eventually(() => seen.faults.length === 1);
        expect(seen.faults[0]).to.include({ kind: 'answer', sent: true });
        expect(raw.seen.requests).to.equal(1);
        open.close();
        raw.close();
      }
    });

    it('use HTTP/1.1 without further connections if a server accepts no requests', async () => {
      const none = frame(frameTypes.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0]));
      const leaving = Buffer.concat([hello, frame(frameTypes.goaway, 0, 0, Buffer.alloc(8))]);
      for (const greeting of [none, leaving]) {
        const raw = await rawServer(greeting, () => Buffer.alloc(0));
        const { seen } = start({}, raw.port);
        await eventually(() => seen.fallbacks === 1);
        expect([seen.faults, open.usable]).to.deep.equal([[], false]);
        // The server is probed again after some minutes.
        for (let sweeps = 0; sweeps < 302; sweeps++) open.sweep();
        expect(open.usable).to.equal(true);
        expect(raw.seen).to.deep.equal({ connections: 1, requests: 0 });
        open.close();
        raw.close();
      }
    });

    it('fail if the pool was closed while they waited', async () => {
      const raw = await rawServer(hello, () => Buffer.alloc(0));
      const { seen } = start({}, raw.port);
      open.close();
      await eventually(() => seen.faults.length === 1);
      expect(seen.faults[0]?.sent).to.equal(false);
      expect(raw.seen.requests).to.equal(0);
      raw.close();
    });

    it('live on while pings are answered, however many there are', async () => {
      const { seen } = start({});
      let pings = 0;
      await eventually(() => seen.status === 200);
      sessions[0]?.on('ping', () => pings++);
      for (let round = 1; round <= 5; round++) {
        open.sweep();
        await eventually(() => pings === round);
        // The answer is on its way; a round trip of another kind follows it.
        await new Promise((resolve) => sessions[0]?.ping(resolve));
      }
      expect([seen.faults, open.open()]).to.deep.equal([[], 1]);
    });

    it('do no harm if the session was destroyed just before the sweep', async () => {
      const { seen } = start({});
      await eventually(() => seen.status === 200);
      for (const session of sessions) session.destroy();
      await eventually(() => seen.faults.length === 1);
      for (let round = 0; round < 3; round++) open.sweep();
      expect(open.open()).to.equal(0);
    });

    it('fail unsent at a server that verifies but never sends its settings', async () => {
      const mute = createTlsServer({ cert: certPem, key: keyPem, ALPNProtocols: ['h2'] }, (socket) => {
        socket.on('error', () => {});
        socket.resume();
      });
      mute.on('connection', (socket: Socket) => connections.add(socket));
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
      const { seen } = start({ setUpTimeoutMs: 100 }, (mute.address() as AddressInfo).port);
      await eventually(() => seen.faults.length === 1);
      expect(seen.faults[0]).to.include({ kind: 'connect', sent: false });
      expect(seen.faults[0]?.error.message).to.match(/closed before HTTP\/2 was set up/);
      expect(open.open()).to.equal(0);
      await new Promise((resolve) => {
        mute.close(resolve);
        for (const socket of connections) socket.destroy();
      });
    });
  });
});
