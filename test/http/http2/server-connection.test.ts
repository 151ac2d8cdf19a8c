import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants, type Settings } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { expect } from 'chai';
import { flags, frame, frameTypes, literals, requestFields } from '../../../lab/raw-http2.ts';
import { seededRandom } from '../../../lab/seeded-random.ts';
import { encodeFields, encodeStatusField } from '../../../src/http/http2/hpack-encoder.ts';
import type { RequestFields } from '../../../src/http/http2/read-request-fields.ts';
import { ServerConnection, type ServerLimits } from '../../../src/http/http2/server-connection.ts';
import type { Http2Stream, StreamUser } from '../../../src/http/http2/stream.ts';
import { eventually } from '../../support/manual-clock.ts';

const limits: ServerLimits = {
  maxStreams: 100,
  maxFieldBytes: 64 * 1024,
  maxFields: 200,
  fieldsTimeoutMs: 20_000,
  idleTimeoutMs: 180_000,
};

/** A request as the server saw it. */
interface Seen extends RequestFields {
  readonly stream: Http2Stream;
  readonly chunks: Buffer[];
  ended: boolean;
  closed: boolean | undefined;
  roomy: number;
}

/** Integers from 0 up to the argument, exclusive. */
function randomBelow(seed: number): (most: number) => number {
  const random = seededRandom(seed);
  return (most) => Math.floor(random() * most);
}

describe('the server’s side of HTTP/2', function () {
  this.timeout(60_000);
  let server: Server;
  let port: number;
  let seen: Seen[];
  let faults: string[];
  let exceeded: string[];
  let connections: ServerConnection[];
  let sockets: Socket[];
  /** Handles a request while its body is read. */
  let answer: (request: Seen) => void;
  let maxStreams: number;
  /** False if heads must wait; `waiting` has a callback for each. */
  let hasTurn: () => boolean;
  let waiting: (() => void)[];
  /** False stops reading a body. */
  let wants: (request: Seen) => boolean;

  beforeEach(async () => {
    seen = [];
    faults = [];
    exceeded = [];
    connections = [];
    sockets = [];
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end();
    };
    wants = () => true;
    hasTurn = () => true;
    waiting = [];
    maxStreams = 100;
    server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      connections.push(new ServerConnection(socket, owner, { ...limits, maxStreams }, () => performance.now()));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const owner = {
    onRequest: (stream: Http2Stream, request: RequestFields): StreamUser => {
      const entry: Seen = { ...request, stream, chunks: [], ended: false, closed: undefined, roomy: 0 };
      seen.push(entry);
      answer(entry);
      return {
        onData: (chunk) => {
          entry.chunks.push(chunk);
          return wants(entry);
        },
        onEnd: () => {
          entry.ended = true;
        },
        onRoom: () => {
          entry.roomy++;
        },
        onClosed: (complete) => {
          expect(entry.closed).to.equal(undefined);
          entry.closed = complete;
        },
      };
    },
    takeTurn: (_bytes: number, goOn: () => void) => {
      if (hasTurn()) return true;
      waiting.push(goOn);
      return false;
    },
    onLimit: (limit: string) => void exceeded.push(limit),
    onFault: (reason: string) => void faults.push(reason),
    onClose: () => {},
  };

  async function withNode<T>(work: (session: ClientHttp2Session) => Promise<T>, settings: Settings = {}): Promise<T> {
    const session = connect(`http://127.0.0.1:${port}`, {
      settings,
      maxHeaderListPairs: 1_000,
      // Frames of odd lengths.
      paddingStrategy: constants.PADDING_STRATEGY_MAX,
    });
    session.on('error', () => {});
    try {
      return await work(session);
    } finally {
      session.destroy();
    }
  }

  it('reads little from a client that continues to send after its connection has ended', async () => {
    const client = tcpConnect({ port, host: '127.0.0.1' });
    client.on('error', () => {});
    await once(client, 'connect');
    client.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0)]));
    // PRIORITY on stream 0.
    client.write(frame(frameTypes.priority, 0, 0, Buffer.alloc(5)));
    await eventually(() => faults.length === 1);
    const block = Buffer.alloc(64 * 1024);
    for (let at = 0; at < 200; at++) {
      client.write(block);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [socket] = sockets;
    await eventually(() => socket?.isPaused() === true);
    expect(socket?.bytesRead).to.be.below(3 * 1024 * 1024);
    // The client's time to read the reason ends.
    connections[0]?.sweep(0);
    connections[0]?.sweep(5_000);
    expect(socket?.destroyed).to.equal(true);
    client.destroy();
  });

  const connectPlainly = async () => {
    const client = tcpConnect({ port, host: '127.0.0.1' });
    client.on('error', () => {});
    await once(client, 'connect');
    client.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0)]));
    return client;
  };

  it('reads one head in each turn, and loses nothing that arrives meanwhile', async () => {
    let turns = 0;
    hasTurn = () => turns-- > 0;
    const client = await connectPlainly();
    const head = (stream: number) => frame(frameTypes.headers, 5, stream, literals(requestFields()));
    client.write(Buffer.concat([1, 3, 5].map(head)));
    for (const stream of [1, 3, 5]) {
      await eventually(() => waiting.length > 0);
      expect(sockets[0]?.isPaused()).to.equal(true);
      expect(seen).to.have.length((stream - 1) / 2);
      client.write(head(stream + 6));
      turns = 1;
      waiting.shift()?.();
      expect(seen.at(-1)?.stream.id).to.equal(stream);
    }
    expect(connections[0]?.heldBytes()).to.be.above(0);
    hasTurn = () => true;
    for (const goOn of waiting) goOn();
    await eventually(() => seen.length === 6);
    expect(seen.map(({ stream }) => stream.id)).to.deep.equal([1, 3, 5, 7, 9, 11]);
    expect(sockets[0]?.isPaused()).to.equal(false);
    client.destroy();
  });

  const costly: Readonly<Record<string, Buffer>> = {
    'frames that nobody knows': frame(0xee, 0, 0, Buffer.alloc(16 * 1024)),
    SETTINGS: frame(frameTypes.settings, 0, 0, Buffer.alloc(6 * 2_730)),
    GOAWAY: frame(frameTypes.goaway, 0, 0, Buffer.alloc(16 * 1024)),
  };
  for (const [name, one] of Object.entries(costly))
    it(`reads a megabyte of ${name} and no more`, async () => {
      const client = await connectPlainly();
      for (let at = 0; at < 200 && faults.length === 0; at++) {
        client.write(one);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await eventually(() => faults.length === 1);
      await eventually(() => sockets[0]?.destroyed === true);
      expect(faults).to.deep.equal(['too many frames that do nothing']);
      expect(sockets[0]?.bytesRead).to.be.below(2 * 1024 * 1024);
      client.destroy();
    });

  it('reads nothing more from a client that has cost too much', async () => {
    const client = await connectPlainly();
    const block = Buffer.concat(Array.from({ length: 1_100 }, () => frame(0xee, 0, 0)));
    client.write(block);
    await eventually(() => faults.length === 1);
    expect(sockets[0]?.isPaused()).to.equal(true);
    client.destroy();
  });

  it('reads less than a hundred megabytes of DATA for an ended stream', async () => {
    const client = await connectPlainly();
    client.write(frame(frameTypes.headers, 4, 1, literals(requestFields([[':method', 'POST']]))));
    await eventually(() => seen[0]?.closed === true);
    const block = Buffer.concat(
      Array.from({ length: 16 }, () => frame(frameTypes.data, 0, 1, Buffer.alloc(16 * 1024))),
    );
    let sent = 0;
    for (; sent < 400 && faults.length === 0; sent++) {
      if (!client.write(block)) await Promise.race([once(client, 'drain'), once(client, 'close')]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(faults).to.deep.equal(['too many frames for what they do']);
    client.destroy();
  });

  it('reads the output of Node’s client: any fields, in one frame or several, known or new', async () => {
    const below = randomBelow(7);
    const names = Array.from({ length: 40 }, (_, at) => `x-field-${at}`);
    const text = (most: number) =>
      Array.from({ length: below(most) }, () => String.fromCharCode(0x21 + below(0x5e))).join('');
    await withNode(async (session) => {
      for (let turn = 0; turn < 200; turn++) {
        const fields: string[] = [];
        for (let at = below(12); at > 0; at--)
          fields.push(names[below(names.length)] ?? '', below(4) === 0 ? text(3_000) : `v${below(5)}`);
        const path = `/${text(60)}`;
        const raw = [':method', 'GET', ':scheme', 'http', ':authority', 'a', ':path', path, ...fields];
        const stream = session.request(raw as unknown as Record<string, string>, { endStream: true });
        const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
        expect(headers[':status']).to.equal(200);
        const got = seen.at(-1);
        expect(got?.path).to.equal(path);
        expect(got?.fields).to.deep.equal(fields);
      }
    });
    expect(faults).to.deep.equal([]);
  });

  it('moves bodies both ways, complete and within both sides’ windows, with many streams at once', async () => {
    const below = randomBelow(11);
    wants = (request) => {
      // Pauses from time to time, and continues a little later.
      if (below(5) > 0) return true;
      setImmediate(() => request.stream.resume());
      return false;
    };
    answer = (request) => {
      request.stream.begin(encodeStatusField(200));
      const finish = () => {
        if (!request.ended) return void setImmediate(finish);
        const body = Buffer.concat(request.chunks);
        // Sends back the body in pieces of any length.
        let at = 0;
        const next = (): void => {
          while (at < body.length) {
            const end = Math.min(body.length, at + 1 + below(40_000));
            const goesOn = request.stream.write(body.subarray(at, end));
            at = end;
            if (!goesOn) {
              const before = request.roomy;
              const wait = (): void => (request.roomy > before ? next() : void setImmediate(wait));
              wait();
              return;
            }
          }
          request.stream.end(undefined, encodeFields(['x-length', String(body.length)]));
        };
        next();
      };
      finish();
    };
    for (const initialWindowSize of [1, 1_000, 65_535, 1_000_000])
      await withNode(
        async (session) => {
          const streams = Array.from({ length: 20 }, async (_, at) => {
            const body = randomBytes(at === 0 ? 0 : initialWindowSize === 1 ? below(2_000) : below(600_000));
            const stream = session.request({ ':method': 'POST', ':path': `/${at}` });
            let trailers: Record<string, unknown> = {};
            stream.once('trailers', (fields) => {
              trailers = fields;
            });
            const received: Buffer[] = [];
            stream.on('data', (chunk: Buffer) => received.push(chunk));
            for (let from = 0; from < body.length; ) {
              const end = Math.min(body.length, from + 1 + below(50_000));
              stream.write(body.subarray(from, end));
              from = end;
            }
            stream.end();
            await once(stream, 'close');
            const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
            expect(digest(Buffer.concat(received))).to.equal(digest(body));
            expect(trailers['x-length']).to.equal(String(body.length));
          });
          await Promise.all(streams);
        },
        { initialWindowSize },
      );
    expect(faults).to.deep.equal([]);
    expect(new Set(seen.map(({ closed }) => closed))).to.deep.equal(new Set([true]));
  });

  it('holds little of a body that no handler reads, and lets others pass', async () => {
    wants = ({ path }) => path !== '/slow';
    answer = () => {};
    await withNode(async (session) => {
      const slow = session.request({ ':method': 'POST', ':path': '/slow' });
      slow.on('error', () => {});
      slow.write(Buffer.alloc(4 * 1024 * 1024));
      await eventually(() => (seen[0]?.chunks.length ?? 0) > 0);
      const fast = session.request({ ':method': 'POST', ':path': '/fast' });
      fast.end(Buffer.alloc(3 * 1024 * 1024));
      await eventually(() => seen[1]?.ended === true);
      expect(Buffer.concat(seen[1]?.chunks ?? [])).to.have.length(3 * 1024 * 1024);
      expect(Buffer.concat(seen[0]?.chunks ?? []).length).to.be.at.most(256 * 1024);
    });
  });

  it('holds no more of all bodies of a connection together than permitted', async () => {
    wants = () => false;
    answer = () => {};
    await withNode(async (session) => {
      const streams = Array.from({ length: 100 }, (_, at) => {
        const stream = session.request({ ':method': 'POST', ':path': `/${at}` });
        stream.on('error', () => {});
        stream.write(Buffer.alloc(512 * 1024));
        return stream;
      });
      const held = () => seen.reduce((sum, { chunks }) => sum + chunks.reduce((all, { length }) => all + length, 0), 0);
      let before = -1;
      while (held() !== before || before === 0) {
        before = held();
        for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(before).to.be.within(7 * 1024 * 1024, 11 * 1024 * 1024);
      // And continues once some are gone.
      for (const stream of streams.slice(0, 90)) stream.close(constants.NGHTTP2_CANCEL);
      await eventually(() => seen.slice(90).every(({ chunks }) => Buffer.concat(chunks).length >= 256 * 1024), 10_000);
    });
  });

  it('slows down a writer whose client does not read, and holds little for it', async () => {
    let written = 0;
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      while (stream.write(Buffer.alloc(16 * 1024))) written += 16 * 1024;
    };
    await withNode(async (session) => {
      const stream = session.request({ ':path': '/' });
      stream.on('error', () => {});
      await once(stream, 'response');
      expect(written).to.be.below(256 * 1024);
      expect(seen[0]?.roomy).to.equal(0);
      stream.resume();
      await eventually(() => (seen[0]?.roomy ?? 0) > 0);
    });
  });

  it('tells a client that still sends after the whole answer to stop, without an error', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(413));
      stream.end(Buffer.from('enough'));
    };
    await withNode(async (session) => {
      const stream = session.request({ ':method': 'POST', ':path': '/' });
      let body = '';
      stream.on('data', (chunk) => (body += String(chunk)));
      stream.write(Buffer.alloc(1024));
      await once(stream, 'close');
      expect([body, stream.rstCode]).to.deep.equal(['enough', 0]);
      // Frames that were on their way do not count against the connection.
      const next = session.request({ ':path': '/next' });
      const [headers] = (await once(next, 'response')) as [Record<string, unknown>];
      expect(headers[':status']).to.equal(413);
    });
    expect(faults).to.deep.equal([]);
  });

  it('gives back the windows of dropped bodies, so that later ones have room', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(413));
      stream.end();
    };
    const client = await connectByHand(window(65_535));
    let sent = 0;
    // Together, they exceed the connection's window, and there are more frames than permitted faults.
    for (let stream = 1; stream < 40; stream += 2) {
      const pieces = Array.from({ length: 15 }, () => frame(frameTypes.data, 0, stream, Buffer.alloc(16_000)));
      const head = frame(frameTypes.headers, flags.endHeaders, stream, literals(requestFields([[':method', 'POST']])));
      await eventually(() => client.granted() - sent >= 240_000);
      client.socket.write(head);
      // The answer is there, and the stream was reset, before any part of the body.
      await eventually(() => seen.at(-1)?.stream.id === stream && seen.at(-1)?.closed === true);
      client.socket.write(Buffer.concat(pieces));
      sent += 240_000;
    }
    await eventually(() => client.granted() - sent >= 1024 * 1024);
    expect(sent).to.be.above(2 * 1024 * 1024);
    expect(faults).to.deep.equal([]);
    client.socket.destroy();
  });

  it('holds nothing against clients that got many early answers and had sent on meanwhile', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(429));
      stream.end();
    };
    const client = await connectByHand(window(65_535));
    const head = literals(requestFields([[':method', 'POST']]));
    for (let wave = 0; wave < 10; wave++) {
      const ids = Array.from({ length: 90 }, (_, at) => 2 * (90 * wave + at) + 1);
      client.socket.write(Buffer.concat(ids.map((id) => frame(frameTypes.headers, flags.endHeaders, id, head))));
      await eventually(() => seen.length === 90 * (wave + 1) && seen.every(({ closed }) => closed === true));
      const more = ids.flatMap((id) => [
        frame(frameTypes.data, 0, id, Buffer.alloc(100)),
        frame(frameTypes.data, 0, id, Buffer.alloc(100)),
        frame(frameTypes.headers, flags.endHeaders | flags.endStream, id, literals([['x', 'trailer']])),
      ]);
      client.socket.write(Buffer.concat(more));
    }
    client.ask(1999);
    await eventually(() => seen.at(-1)?.stream.id === 1999);
    expect(faults).to.deep.equal([]);
    client.socket.destroy();
  });

  it('refuses streams beyond the limit that a client does not know yet, without ending the connection', async () => {
    maxStreams = 20;
    answer = () => {};
    await withNode(async (session) => {
      const codes = Array.from({ length: 90 }, async (_, at) => {
        const stream = session.request({ ':path': `/${at}` });
        stream.on('error', () => {});
        await new Promise((resolve) => stream.once('close', resolve));
        return stream.rstCode;
      });
      await eventually(() => seen.length === 20);
      for (const { stream } of seen) stream.reset(constants.NGHTTP2_CANCEL);
      expect([...new Set(await Promise.all(codes))]).to.have.members([
        constants.NGHTTP2_CANCEL,
        constants.NGHTTP2_REFUSED_STREAM,
      ]);
    });
    expect(exceeded).to.deep.equal(Array.from({ length: 70 }, () => 'http2_streams'));
    expect(faults).to.deep.equal([]);
  });

  it('reports no answer as sent if the socket was gone', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end(Buffer.from('answer'));
      sockets.at(-1)?.destroy();
    };
    const client = await connectByHand(Buffer.alloc(0));
    client.ask(1);
    await eventually(() => seen[0]?.closed !== undefined);
    expect(seen[0]?.closed).to.equal(false);
  });

  it('ends only the one connection whose handler throws', async () => {
    answer = () => {
      throw new Error('a fault of ours');
    };
    const client = await connectByHand(Buffer.alloc(0));
    client.ask(1);
    await once(client.socket, 'close');
    expect(faults[0]).to.contain('a fault of ours');
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end();
    };
    await withNode(async (session) => void (await once(session.request({ ':path': '/' }), 'response')));
  });

  it('writes to clients without a dynamic table', async () => {
    await withNode(
      async (session) => {
        for (let turn = 0; turn < 3; turn++) {
          const [headers] = (await once(session.request({ ':path': '/' }), 'response')) as [Record<string, unknown>];
          expect(headers[':status']).to.equal(200);
        }
      },
      { headerTableSize: 0 },
    );
  });

  /** A client with hand-made frames that has sent its settings and counts DATA by stream. */
  async function connectByHand(settings: Buffer) {
    const socket = tcpConnect({ port, host: '127.0.0.1', noDelay: true });
    let rest: Buffer = Buffer.alloc(0);
    const data = new Map<number, number>();
    let granted = 65_535;
    let pongs = 0;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const length = rest.readUIntBE(0, 3);
        const id = rest.readUInt32BE(5);
        if (rest[3] === frameTypes.ping) pongs++;
        if (rest[3] === frameTypes.windowUpdate && id === 0) granted += rest.readUInt32BE(9);
        if (rest[3] === frameTypes.data) data.set(id, (data.get(id) ?? 0) + length);
        rest = rest.subarray(9 + length);
      }
    });
    await once(socket, 'connect');
    socket.write(
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0, settings)]),
    );
    return {
      socket,
      /** The bytes that the server has ever permitted, over all streams. */
      granted: () => granted,
      ask: (stream: number) =>
        socket.write(frame(frameTypes.headers, flags.endHeaders | flags.endStream, stream, literals(requestFields()))),
      /** Waits until this much has arrived, with everything in the same packet. Returns all of it. */
      data,
      settle: async (wanted: number) => {
        const sum = () => [...data.values()].reduce((all, length) => all + length, 0);
        await eventually(() => sum() >= wanted, 10_000);
        // After the second of two pings, everything that would have been sent has been sent.
        for (let turn = 0; turn < 2; turn++) {
          const before = pongs;
          socket.write(frame(frameTypes.ping, 0, 0, Buffer.alloc(8)));
          await eventually(() => pongs > before, 10_000);
        }
        return sum();
      },
    };
  }
  const window = (bytes: number) => {
    const payload = Buffer.alloc(6);
    payload.writeUInt16BE(4);
    payload.writeUInt32BE(bytes, 2);
    return payload;
  };
  const more = (stream: number, bytes: number) => frame(frameTypes.windowUpdate, 0, stream, window(bytes).subarray(2));

  it('sends exactly as many bytes as the windows of the connection and of each stream permit', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end(Buffer.alloc(500_000));
    };
    const client = await connectByHand(window(1_000_000));
    for (const stream of [1, 3]) client.ask(stream);
    expect(await client.settle(65_535)).to.equal(65_535);
    client.socket.write(more(0, 1_000));
    expect(await client.settle(66_535)).to.equal(66_535);
    client.socket.write(more(0, 10_000_000));
    expect(await client.settle(1_000_000)).to.equal(1_000_000);
    // Later streams start with their own window, which then changes for open streams.
    client.socket.write(frame(frameTypes.settings, 0, 0, window(10)));
    client.ask(5);
    expect(await client.settle(1_000_010)).to.equal(1_000_010);
    client.socket.write(frame(frameTypes.settings, 0, 0, window(0)));
    client.socket.write(more(5, 15));
    expect(await client.settle(1_000_015)).to.equal(1_000_015);
    client.socket.write(frame(frameTypes.settings, 0, 0, window(100)));
    expect(await client.settle(1_000_115)).to.equal(1_000_115);
    client.socket.destroy();
  });

  it('gives streams turns, so that none starves if the connection’s window or the socket is short', async () => {
    answer = ({ stream, path }) => {
      stream.begin(encodeStatusField(200));
      if (path === '/watch') stream.write(Buffer.from('an event'));
      else stream.end(Buffer.alloc(4_000_000));
    };
    const client = await connectByHand(window(10_000_000));
    const downloads = Array.from({ length: 20 }, (_, at) => 2 * at + 1);
    for (const stream of downloads) client.ask(stream);
    await client.settle(65_535);
    const head = literals(requestFields([[':path', '/watch']]));
    client.socket.write(frame(frameTypes.headers, flags.endHeaders | flags.endStream, 99, head));
    // Windows that are large enough only for some at a time.
    for (let turn = 1; turn <= 60; turn++) {
      client.socket.write(more(0, 32_768));
      await client.settle(65_535 + turn * 32_768);
    }
    expect(client.data.get(99)).to.equal(8);
    const shares = downloads.map((stream) => client.data.get(stream) ?? 0);
    expect(Math.max(...shares) - Math.min(...shares)).to.be.at.most(2 * 16_384);
    // And a socket that accepts everything.
    client.socket.pause();
    client.socket.write(more(0, 2 ** 30));
    await eventually(() => (sockets.at(-1)?.writableLength ?? 0) > 0);
    client.socket.resume();
    await eventually(() => [...client.data.values()].reduce((all, length) => all + length, 0) >= 40_000_000);
    const later = downloads.map((stream) => client.data.get(stream) ?? 0);
    expect(Math.max(...later) - Math.min(...later)).to.be.at.most(20 * 16_384);
    client.socket.destroy();
  });

  it('obeys the last of many windows in one frame', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end(Buffer.alloc(500_000));
    };
    const client = await connectByHand(window(10));
    client.ask(1);
    expect(await client.settle(10)).to.equal(10);
    client.socket.write(
      frame(
        frameTypes.settings,
        0,
        0,
        Buffer.concat([...Array.from({ length: 2_000 }, () => window(1_000_000)), window(15)]),
      ),
    );
    expect(await client.settle(15)).to.equal(15);
    client.socket.destroy();
  });

  it('puts only a little into a socket that is not read', async () => {
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end(Buffer.alloc(32 * 1024 * 1024));
    };
    const client = await connectByHand(window(2 ** 31 - 1));
    client.socket.write(more(0, 2 ** 30));
    client.socket.pause();
    for (const stream of [1, 3, 5]) client.ask(stream);
    await eventually(() => (sockets.at(-1)?.writableLength ?? 0) > 0);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(sockets.at(-1)?.writableLength).to.be.at.most(300 * 1024);
    client.socket.resume();
    expect(await client.settle(96 * 1024 * 1024)).to.equal(96 * 1024 * 1024);
    client.socket.destroy();
  });

  /** Sends bytes in pieces of these lengths. Returns everything that was seen and answered. */
  async function sendPieces(bytes: Buffer, lengthOf: () => number): Promise<string> {
    seen = [];
    const socket = tcpConnect({ port, host: '127.0.0.1', noDelay: true });
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('error', () => {});
    await once(socket, 'connect');
    await eventually(() => sockets.length > 0);
    const mine = sockets.at(-1);
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + lengthOf());
      // As if it had arrived like this.
      mine?.emit('data', bytes.subarray(at, end));
      at = end;
    }
    await new Promise((resolve) => setImmediate(resolve));
    const all = seen.map(({ method, path, fields, chunks, ended }) => [
      ...[method, path, fields.join('|'), Buffer.concat(chunks).toString('latin1'), String(ended)],
    ]);
    socket.destroy();
    return JSON.stringify(all);
  }

  it('reads the same in any division into pieces', async () => {
    const below = randomBelow(3);
    const padded = Buffer.concat([Buffer.from([7]), literals(requestFields([['x', 'padded']])), Buffer.alloc(7)]);
    const block = literals(requestFields([['x', 'a'.repeat(100)]]));
    const bytes = Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
      frame(frameTypes.headers, flags.endHeaders | flags.endStream, 1, literals(requestFields())),
      frame(frameTypes.headers, flags.endHeaders | 8, 3, padded),
      frame(frameTypes.data, 0, 3, Buffer.from('hello')),
      frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
      frame(frameTypes.data, 8, 3, Buffer.concat([Buffer.from([3]), Buffer.from(' there'), Buffer.alloc(3)])),
      frame(frameTypes.data, 0, 3),
      frame(0x99, 0xff, 3, Buffer.from('unknown')),
      frame(frameTypes.headers, flags.endStream, 5, block.subarray(0, 20)),
      frame(frameTypes.continuation, 0, 5, block.subarray(20, 30)),
      frame(frameTypes.continuation, flags.endHeaders, 5, block.subarray(30)),
      frame(frameTypes.data, flags.endStream, 3, Buffer.from('!')),
    ]);
    const whole = await sendPieces(bytes, () => bytes.length);
    expect(whole).to.contain('hello there!').and.contain('padded').and.contain('a'.repeat(100));
    expect(await sendPieces(bytes, () => 1)).to.equal(whole);
    for (let turn = 0; turn < 50; turn++) expect(await sendPieces(bytes, () => 1 + below(40))).to.equal(whole);
    expect(faults).to.deep.equal([]);
  });

  it('survives any bytes: random changes end the connection, or are a request, or nothing', async () => {
    const below = randomBelow(5);
    const base = Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
      frame(frameTypes.headers, flags.endHeaders, 1, literals(requestFields([[':method', 'POST']]))),
      frame(frameTypes.data, 0, 1, Buffer.from('some data')),
      frame(frameTypes.windowUpdate, 0, 1, Buffer.from([0, 0, 1, 0])),
      frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
      frame(frameTypes.headers, flags.endHeaders | flags.endStream, 1, literals([['x', 'trailer']])),
      frame(frameTypes.priority, 0, 1, Buffer.alloc(5)),
      frame(frameTypes.reset, 0, 1, Buffer.alloc(4)),
      frame(frameTypes.goaway, 0, 0, Buffer.alloc(8)),
      frame(frameTypes.headers, flags.endHeaders | flags.endStream, 3, literals(requestFields())),
    ]);
    answer = ({ stream }) => {
      stream.begin(encodeStatusField(200));
      stream.end(Buffer.from('answer'));
    };
    const outcomes = { faults: 0, requests: 0 };
    for (let turn = 0; turn < 1_500; turn++) {
      const bytes = Buffer.from(base);
      for (let count = 1 + below(4); count > 0; count--) bytes[24 + below(bytes.length - 24)] = below(256);
      faults = [];
      await sendPieces(bytes, () => 1 + below(200));
      outcomes.faults += faults.length;
      outcomes.requests += seen.length;
      expect(faults.length).to.be.at.most(1);
    }
    // Both occur, so that neither case covers everything.
    expect(outcomes.faults).to.be.above(300);
    expect(outcomes.requests).to.be.above(1_000);
    await eventually(() => connections.every((connection) => connection.size() === 0));
    await withNode(async (session) => {
      const [headers] = (await once(session.request({ ':path': '/' }), 'response')) as [Record<string, unknown>];
      expect(headers[':status']).to.equal(200);
    });
  });
});
