import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { expect } from 'chai';
import { flags, frame, frameTypes, literals } from '../../../lab/raw-http2.ts';
import { seededRandom } from '../../../lab/seeded-random.ts';
import { type ClientUser, Http2ClientConnection } from '../../../src/http/http2/client-connection.ts';
import { encodeAuthority, encodePseudoFields } from '../../../src/http/http2/hpack-encoder.ts';
import { eventually } from '../../support/manual-clock.ts';

/** An answer as the caller got it. */
interface Seen {
  readonly interim: number[];
  status: number;
  fields: string[];
  body: string;
  trailers: string[];
  /** The arguments of each `onClosed`. */
  readonly closed: boolean[];
  resetCode: number | undefined;
  cancel(): void;
}

describe('the client’s side of HTTP/2', function () {
  this.timeout(30_000);
  let server: Server;
  let sockets: Socket[];

  beforeEach(async () => {
    sockets = [];
    server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.resume();
      sockets.push(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  /** A connection whose server has sent its settings, and the server's socket. */
  async function connect(settings: Buffer = frame(frameTypes.settings, 0, 0)) {
    const before = sockets.length;
    const socket = tcpConnect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
    socket.on('error', () => {});
    let isReady = false;
    const owner = {
      onReady: () => {
        isReady = true;
      },
      onRoom: () => {},
      onClose: () => {},
    };
    const limits = { streamWindow: 65_536, maxStreams: 100 };
    const connection = new Http2ClientConnection(socket, owner, limits, () => performance.now());
    await eventually(() => sockets.length > before);
    const peer = sockets.at(-1) as Socket;
    peer.write(settings);
    await eventually(() => isReady);
    return { connection, peer, socket };
  }

  function ask(connection: Http2ClientConnection, { isHead = false, wants = true } = {}): Seen {
    const seen: Seen = {
      ...{ interim: [], status: 0, fields: [], body: '', trailers: [], closed: [], resetCode: undefined },
      cancel: () => stream.reset(8),
    };
    const user: ClientUser = {
      isHead,
      onInterim: (status) => void seen.interim.push(status),
      onAnswer: (status, fields) => Object.assign(seen, { status, fields }),
      onData: (chunk) => {
        seen.body += String(chunk);
        return wants;
      },
      onTrailers: (trailers) => Object.assign(seen, { trailers }),
      onEnd: () => {},
      onRoom: () => {},
      onClosed: (complete) => {
        seen.closed.push(complete);
        seen.resetCode = stream.resetCode;
      },
    };
    const stream = connection.request(encodePseudoFields(isHead ? 'HEAD' : 'GET', '/') + encodeAuthority('a'), user);
    return seen;
  }

  const { headers, data, continuation, reset, goaway, ping } = frameTypes;
  const { endHeaders, endStream } = flags;
  const head = (...fields: (readonly [string, string])[]) => literals([[':status', '200'], ...fields]);
  const whole = endHeaders | endStream;

  it('accepts whole answers: with a body, interim answers and trailers, without, in several frames', async () => {
    const { connection, peer } = await connect();
    const answers = [ask(connection), ask(connection), ask(connection), ask(connection, { isHead: true })];
    const long = head(['x', 'a'.repeat(100)]);
    await new Promise((resolve) => setImmediate(resolve));
    peer.write(
      Buffer.concat([
        frame(headers, endHeaders, 1, literals([[':status', '103']])),
        frame(headers, endHeaders, 1, head(['content-length', '5'], ['x', '1'], ['x', '2'])),
        frame(headers, whole, 3, literals([[':status', '204']])),
        frame(data, 0, 1, Buffer.from('he')),
        frame(headers, 0, 5, long.subarray(0, 30)),
        frame(continuation, endHeaders, 5, long.subarray(30)),
        frame(data, endStream, 5, Buffer.from('end')),
        frame(data, 0, 1, Buffer.from('llo')),
        frame(headers, whole, 1, literals([['y', '3']])),
        frame(headers, whole, 7, head(['content-length', '900'])),
      ]),
    );
    await eventually(() => answers.every(({ closed }) => closed.length > 0));
    expect(answers.map(({ closed }) => closed)).to.deep.equal([[true], [true], [true], [true]]);
    const [first, second, third, last] = answers;
    expect(first).to.deep.include({ status: 200, body: 'hello', trailers: ['y', '3'], interim: [103] });
    expect(first?.fields).to.deep.equal(['content-length', '5', 'x', '1', 'x', '2']);
    expect(second).to.deep.include({ status: 204, body: '' });
    expect(third).to.deep.include({ body: 'end' });
    expect(last).to.deep.include({ body: '', fields: ['content-length', '900'] });
    expect(connection.size()).to.equal(0);
  });

  it('removes the fields of an answer about the connection, which Go’s server sends if a handler sets them', async () => {
    const { connection, peer } = await connect();
    const answer = ask(connection);
    await new Promise((resolve) => setImmediate(resolve));
    const ofConnection = ['connection', 'keep-alive', 'proxy-connection', 'upgrade', 'te'].map(
      (name) => [name, 'x'] as const,
    );
    peer.write(frame(headers, whole, 1, head(['a', '1'], ...ofConnection, ['b', '2'])));
    await eventually(() => answer.closed.length > 0);
    expect(answer).to.deep.include({ closed: [true], status: 200, fields: ['a', '1', 'b', '2'] });
  });

  const broken: Readonly<Record<string, Buffer>> = {
    'a body before its head': frame(data, endStream, 1, Buffer.from('x')),
    'fewer bytes than were announced': Buffer.concat([
      frame(headers, endHeaders, 1, head(['content-length', '5'])),
      frame(data, endStream, 1, Buffer.from('four')),
    ]),
    'more bytes than were announced': Buffer.concat([
      frame(headers, endHeaders, 1, head(['content-length', '3'])),
      frame(data, endStream, 1, Buffer.from('four')),
    ]),
    'no bytes where some were announced': frame(headers, whole, 1, head(['content-length', '3'])),
    'two lengths': frame(headers, whole, 1, head(['content-length', '0'], ['content-length', '1'])),
    'no status': frame(headers, whole, 1, literals([['x', 'a']])),
    'a status that is none': frame(headers, whole, 1, literals([[':status', '2000']])),
    'a switch of protocols': frame(headers, whole, 1, literals([[':status', '101']])),
    'an interim answer that ends': frame(headers, whole, 1, literals([[':status', '100']])),
    'interim answers without end': Buffer.concat(
      Array.from({ length: 20 }, () => frame(headers, endHeaders, 1, literals([[':status', '100']]))),
    ),
    'a pseudo field of requests': frame(headers, whole, 1, head([':path', '/'])),
    'a transfer coding': frame(headers, whole, 1, head(['transfer-encoding', 'chunked'])),
    'a line feed in a value': frame(headers, whole, 1, head(['x', 'a\r\nb'])),
    'trailers that do not end': Buffer.concat([
      frame(headers, endHeaders, 1, head()),
      frame(headers, endHeaders, 1, literals([['x', 'a']])),
    ]),
    'a body of an answer to HEAD': Buffer.concat([
      frame(headers, endHeaders, 1, literals([[':status', '204']])),
      frame(data, endStream, 1, Buffer.from('x')),
    ]),
    'a push': frame(5, endHeaders, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), head()])),
    'a frame that is too long': frame(data, 0, 1, Buffer.alloc(16_385)),
    'HEADERS on an idle stream': frame(headers, whole, 9, head()),
    'more than the window of a stream': Buffer.concat([
      frame(headers, endHeaders, 1, head()),
      ...Array.from({ length: 5 }, () => frame(data, 0, 1, Buffer.alloc(16_000))),
    ]),
    'fields cannot be decoded': frame(headers, whole, 1, Buffer.from([0xff])),
    'its end': Buffer.alloc(0),
  };
  for (const [name, bytes] of Object.entries(broken))
    it(`does not accept an answer with ${name} as whole`, async () => {
      const { connection, peer } = await connect();
      // A caller that does not read opens no window again.
      const seen = ask(connection, { wants: name !== 'more than the window of a stream' });
      await new Promise((resolve) => setImmediate(resolve));
      peer.write(bytes);
      if (name === 'its end') peer.end();
      await eventually(() => seen.closed.length > 0);
      expect(seen.closed).to.deep.equal([false]);
      if (name === 'a body before its head') expect(seen.body).to.equal('');
      expect(connection.size()).to.equal(0);
    });

  it('distinguishes requests that a server refused or never processed from those that it may have carried out', async () => {
    const { connection, peer } = await connect();
    const [first, second, third] = [ask(connection), ask(connection), ask(connection)];
    await new Promise((resolve) => setImmediate(resolve));
    peer.write(frame(reset, 0, 1, Buffer.from([0, 0, 0, 2])));
    await eventually(() => first?.closed.length === 1);
    expect(first?.resetCode).to.equal(2);
    peer.write(frame(goaway, 0, 0, Buffer.from([0, 0, 0, 3, 0, 0, 0, 0])));
    await eventually(() => third?.closed.length === 1);
    expect(third?.resetCode).to.equal(7);
    expect(second?.closed).to.deep.equal([]);
    expect(connection.hasRoom()).to.equal(false);
    peer.write(frame(headers, whole, 3, head()));
    await eventually(() => second?.closed.length === 1);
    expect(second?.closed).to.deep.equal([true]);
    // No stream is left on the connection, so it ends.
    await once(peer, 'end');
  });

  it('does not accept an answer to a request that was not sent yet', async () => {
    const { connection, peer } = await connect();
    const first = ask(connection);
    await new Promise((resolve) => setImmediate(resolve));
    // The second request is made while the answer is read: it is queued, and has not been sent.
    let second: Seen | undefined;
    first.closed.push = (complete: boolean) => {
      second = ask(connection);
      return Array.prototype.push.call(first.closed, complete);
    };
    peer.write(
      Buffer.concat([
        frame(headers, whole, 1, head()),
        frame(headers, endHeaders, 3, head()),
        frame(data, endStream, 3, Buffer.from('foreign')),
      ]),
    );
    await eventually(() => second?.closed.length === 1);
    expect(second).to.deep.include({ status: 0, body: '', closed: [false] });
  });

  it('takes back a limited number of requests from one server’s connection, and then uses another', async () => {
    const { connection, peer } = await connect();
    const running = ask(connection);
    for (let count = 0; count < 100; count++) {
      expect(connection.hasRoom()).to.equal(true);
      const cut = ask(connection);
      await new Promise((resolve) => setImmediate(resolve));
      cut.cancel();
    }
    expect(connection.hasRoom()).to.equal(false);
    expect(running.closed).to.deep.equal([]);
    peer.write(frame(headers, whole, 1, head()));
    await eventually(() => running.closed.length === 1);
    expect(running.closed).to.deep.equal([true]);
  });

  it('closes its socket to a server that broke the protocol, even if the server keeps its side open', async () => {
    const { peer, socket } = await connect();
    peer.write(frame(ping, 0, 1, Buffer.alloc(8)));
    await once(socket, 'close');
  });

  it('opens no more streams than the server accepts, and notices when it answers no pings', async () => {
    const { connection, peer } = await connect(frame(frameTypes.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 2])));
    ask(connection);
    expect(connection.hasRoom()).to.equal(true);
    ask(connection);
    expect(connection.hasRoom()).to.equal(false);
    expect(connection.ping()).to.equal(true);
    expect(connection.ping()).to.equal(false);
    peer.write(frame(ping, flags.ack, 0, Buffer.from('00000001')));
    await eventually(() => connection.ping());
  });

  it('survives any bytes of a server: each request ends once, and is whole only if its answer was', async () => {
    const random = seededRandom(13);
    const below = (most: number) => Math.floor(random() * most);
    const base = Buffer.concat([
      frame(headers, endHeaders, 1, head(['content-length', '10'])),
      frame(data, 0, 1, Buffer.from('01234')),
      frame(ping, 0, 0, Buffer.alloc(8)),
      frame(headers, whole, 3, literals([[':status', '404']])),
      frame(frameTypes.windowUpdate, 0, 0, Buffer.from([0, 0, 1, 0])),
      frame(data, endStream, 1, Buffer.from('56789')),
      frame(reset, 0, 5, Buffer.from([0, 0, 0, 8])),
      frame(goaway, 0, 0, Buffer.from([0, 0, 0, 7, 0, 0, 0, 0])),
      frame(headers, endHeaders, 7, head()),
      frame(data, endStream, 7, Buffer.from('end')),
    ]);
    let whole7 = 0;
    for (let turn = 0; turn < 400; turn++) {
      const { connection, peer, socket } = await connect();
      const answers = Array.from({ length: 4 }, () => ask(connection));
      await new Promise((resolve) => setImmediate(resolve));
      const bytes = Buffer.from(base);
      for (let count = below(4); count > 0; count--) bytes[below(bytes.length)] = below(256);
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, at + 1 + below(60));
        socket.emit('data', bytes.subarray(at, end));
        at = end;
      }
      socket.destroy();
      await once(socket, 'close');
      for (const { closed } of answers) expect(closed).to.have.length(1);
      const [first] = answers;
      const at = first?.fields.indexOf('content-length') ?? -1;
      if (first?.closed[0] === true && at >= 0) expect(first.body).to.have.length(Number(first.fields[at + 1]));
      if (answers[3]?.closed[0] === true) whole7++;
      peer.destroy();
    }
    expect(whole7).to.be.within(50, 350);
  });
});
