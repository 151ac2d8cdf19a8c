import { connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { frame, frameTypes, literals, requestFields } from '../raw-http2.ts';

/** The victim of an attack. */
export interface Victim {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
}

/** A connection of an attacker. It reconnects when the other side ends it. */
export interface Hostile {
  /** False while the other side reads no more. */
  write(bytes: Buffer | string): boolean;
  /** The number of connections made so far. */
  readonly made: number;
}

/** HTTP/2 frames for attackers. */
export const http2 = {
  preface: Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  /** A SETTINGS frame that sets INITIAL_WINDOW_SIZE. */
  window: (bytes: number) => frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, ...uint32(bytes)])),
  head: (more: readonly (readonly [string, string])[]) => literals(requestFields(more)),
};

/** Four bytes, big-endian. */
export function uint32(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}

/** Yields to other work, because one process sends for all connections. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Opens a connection that sends `first` each time it connects, for the life of the process. Without `reads`, it reads
 * nothing.
 */
export function openTls(
  { host, port, ca }: Victim,
  first: Buffer | string,
  {
    reads = false,
    again = true,
    onData,
    ...options
  }: ConnectionOptions & { reads?: boolean; again?: boolean; onData?: (chunk: Buffer) => void } = {},
): Hostile {
  let socket: ReturnType<typeof tlsConnect> | undefined;
  let made = 0;
  const open = () => {
    const opened = tlsConnect({ host, port, ca, servername: 'localhost', ...options });
    socket = opened;
    made++;
    opened.on('error', () => {});
    opened.once('secureConnect', () => {
      if (!reads) opened.pause();
      opened.write(first);
    });
    if (onData !== undefined) opened.on('data', onData);
    if (reads) opened.resume();
    opened.once('close', () => {
      socket = undefined;
      if (again) setTimeout(open, 50);
    });
  };
  open();
  return {
    write: (bytes) => socket?.writable === true && !socket.writableNeedDrain && socket.write(bytes),
    get made() {
      return made;
    },
  };
}

/** Opens a connection over HTTP/2. */
export function openHttp2(victim: Victim, first: readonly Buffer[], reads = false): Hostile {
  return openTls(victim, Buffer.concat([http2.preface, ...first]), { ALPNProtocols: ['h2'], reads });
}

/** Opens an HTTP/2 connection that sends `next()` after that many answers to the previous batch. */
export function openAgain(victim: Victim, answers: number, next: () => Buffer): void {
  let left = 0;
  let rest: Buffer = Buffer.alloc(0);
  const count = (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = 0; at + 9 <= rest.length; at = end) {
      end = at + 9 + rest.readUIntBE(at, 3);
      if (end > rest.length) break;
      const type = rest[at + 3] ?? 0;
      // A stream has ended or was reset, or the connection has begun.
      if (type === frameTypes.reset || (type <= frameTypes.headers && ((rest[at + 4] ?? 0) & 1) === 1)) left--;
      if (type === frameTypes.settings && ((rest[at + 4] ?? 0) & 1) === 0) left = 0;
    }
    rest = rest.subarray(at);
    if (left > 0) return;
    left = answers;
    connection.write(next());
  };
  const options = { ALPNProtocols: ['h2'], reads: true, onData: count };
  const connection = openTls(victim, Buffer.concat([http2.preface, http2.window(1_000_000)]), options);
}

/** Opens a plain TCP connection, without TLS. */
export function openTcp({ host, port }: Victim, first: Buffer): void {
  const open = () => {
    const socket = tcpConnect({ host, port }, () => socket.write(first));
    socket.on('error', () => {});
    socket.once('close', () => setTimeout(open, 50));
  };
  open();
}
