import { type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { frame, frameTypes, literals, requestFields } from '../raw-http2.ts';

/** The victim of an attack: one port. */
export interface Victim {
  readonly host: string;
  readonly port: number;
  /** True for TLS. */
  readonly isSecure: boolean;
  /** Verifies the certificate; without it, any certificate will do. */
  readonly ca?: string;
}

/** An attack: what a client without a credential does to one port, until the process ends. */
export type Attack = (victim: Victim) => Promise<void> | void;

/** A connection of an attacker. It reconnects when the other side ends it. */
export interface Hostile {
  /** False while the other side reads no more. */
  write(bytes: Buffer | string): boolean;
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

/** What an attacker does on its connection, beside sending `first`. */
export interface OpenOptions {
  /** Reads the answers; false if absent. */
  readonly reads?: boolean;
  /** Opens another connection when this one has ended; true if absent. */
  readonly again?: boolean;
  /** Sent every second. */
  readonly everySecond?: string;
  readonly protocol?: 'h2';
  readonly onData?: (chunk: Buffer) => void;
}

/** Opens a connection that sends `first` each time it connects, for the life of the process. */
export function openConnection(
  { host, port, isSecure, ca }: Victim,
  first: Buffer | string | (() => Buffer | string),
  { reads = false, again = true, everySecond = '', protocol, onData }: OpenOptions = {},
): Hostile {
  let socket: Socket | undefined;
  const connect = () => {
    if (!isSecure) return tcpConnect({ host, port });
    const verifying = ca === undefined ? { rejectUnauthorized: false } : { ca };
    const options = { host, port, servername: 'localhost', ...verifying };
    return tlsConnect(protocol === undefined ? options : { ...options, ALPNProtocols: [protocol] });
  };
  const open = () => {
    const opened = connect();
    socket = opened;
    let timer: NodeJS.Timeout | undefined;
    opened.on('error', () => {});
    opened.once(isSecure ? 'secureConnect' : 'connect', () => {
      if (!reads) opened.pause();
      opened.write(typeof first === 'function' ? first() : first);
      if (everySecond !== '') timer = setInterval(() => opened.write(everySecond), 1_000);
    });
    if (onData !== undefined) opened.on('data', onData);
    if (reads) opened.resume();
    opened.once('close', () => {
      socket = undefined;
      clearInterval(timer);
      if (again) setTimeout(open, 50);
    });
  };
  open();
  return {
    write: (bytes) => socket?.writable === true && !socket.writableNeedDrain && socket.write(bytes),
  };
}

/** Opens a connection over HTTP/2. */
export function openHttp2(victim: Victim, first: readonly Buffer[], reads = false): Hostile {
  return openConnection(victim, Buffer.concat([http2.preface, ...first]), { protocol: 'h2', reads });
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
  const first = Buffer.concat([http2.preface, http2.window(1_000_000)]);
  const connection = openConnection(victim, first, { protocol: 'h2', reads: true, onData: count });
}

/** Opens a plain TCP connection, whatever the port speaks, and reads until the other side ends it. */
export function openTcp(victim: Victim, first: Buffer): void {
  openConnection({ ...victim, isSecure: false }, first, { reads: true });
}

/** An `Authorization` value that no server knows, another at each call. */
export function madeUpToken(): string {
  return `Bearer made-up-${process.hrtime.bigint()}`;
}

/** Makes this many. */
export function times<Result>(count: number, make: (at: number) => Result): Result[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/** Resolves after this time. An attacker that pauses leaves the CPU to its victim. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first lines of a request over HTTP/1.1, without the empty one at its end. */
export function headOf(line: string, more = ''): string {
  return `${line} HTTP/1.1\r\nHost: localhost\r\n${more}`;
}
