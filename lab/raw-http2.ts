import { connect as tlsConnect } from 'node:tls';

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
};
export const flags = { endStream: 1, ack: 1, endHeaders: 4 };

/** One HTTP/2 frame as bytes, even an invalid one. RFC 9113, section 4.1. */
export function frame(type: number, flagBits: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flagBits;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Fields as HPACK literals without indexing. Bytes are sent unchanged. RFC 7541, section 6.2.2. */
export function literals(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1');
    if (bytes.length >= 127) throw new Error('too long for this encoder');
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  };
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])));
}

/** A GET of `/version`. These fields replace or follow its own. */
export function requestFields(more: readonly (readonly [string, string])[] = []): (readonly [string, string])[] {
  const fields = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/version'],
    [':authority', 'a'],
  ] as const;
  const pseudo = more.filter(([name]) => name.startsWith(':'));
  return [
    ...fields.map(
      ([name, value]): readonly [string, string] => pseudo.find(([other]) => other === name) ?? [name, value],
    ),
    ...pseudo.filter(([name]) => !fields.some(([known]) => known === name)),
    ...more.filter(([name]) => !name.startsWith(':')),
  ];
}

/** A received frame. */
export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A connection with hand-made HTTP/2 frames. */
export interface RawHttp2 {
  /** False while the server reads no more. */
  write(bytes: Buffer): boolean;
  readonly seen: readonly SeenFrame[];
  readonly closed: Promise<void>;
  isClosed(): boolean;
  destroy(): void;
}

/** Connects, and sends the preface with empty settings. */
export async function connectRawHttp2(port: number, ca: string): Promise<RawHttp2> {
  const socket = tlsConnect({ host: '127.0.0.1', port, ca, servername: 'localhost', ALPNProtocols: ['h2'] });
  const seen: SeenFrame[] = [];
  let rest = Buffer.alloc(0);
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9) {
      const end = 9 + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      seen.push({
        type: rest[3] ?? 0,
        flags: rest[4] ?? 0,
        stream: rest.readUInt32BE(5),
        payload: Buffer.from(rest.subarray(9, end)),
      });
      rest = rest.subarray(end);
    }
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      isClosed = true;
      resolve();
    }),
  );
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0)]));
  return {
    write: (bytes) => socket.write(bytes),
    seen,
    closed,
    isClosed: () => isClosed,
    destroy: () => socket.destroy(),
  };
}
