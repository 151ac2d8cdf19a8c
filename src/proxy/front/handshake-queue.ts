import type { Duplex } from 'node:stream';
import { networkOf } from '../../domain/address.ts';

/** A connection as it was accepted. */
export type Accepted = Duplex & { readonly remoteAddress?: string | undefined };

interface Waiting {
  readonly socket: Accepted;
  readonly since: number;
}

const perTurn = 4;
/** A TLS record is at most this long, with its head. RFC 8446, 5.1. */
const maxRecordBytes = 5 + 16 * 1024;
const handshakeRecord = 22;
const clientHello = 1;

/**
 * Begins a TLS handshake once the client's whole ClientHello has arrived: a few in each turn of the event loop, one
 * client network after another. Each costs this side a signature, so clients on open connections have their turns in
 * between.
 */
export class HandshakeQueue<Connection extends Accepted> {
  readonly #helloTimeoutMs: number;
  readonly #begin: (socket: Connection) => void;
  readonly #now: () => number;
  /** Connections whose ClientHello is incomplete. */
  readonly #silent = new Set<Waiting>();
  /** Connections whose ClientHello is complete, by client network. The first network is the next one. */
  readonly #ready = new Map<string, Connection[]>();
  #isScheduled = false;

  /**
   * `helloTimeoutMs` is from the connection to the last byte of the ClientHello. `begin` gets a socket from which the
   * ClientHello can be read. `now` gives milliseconds.
   */
  constructor(helloTimeoutMs: number, begin: (socket: Connection) => void, now: () => number) {
    this.#helloTimeoutMs = helloTimeoutMs;
    this.#begin = begin;
    this.#now = now;
  }

  /** Accepts a new connection. */
  add(socket: Connection): void {
    const waiting = { socket, since: this.#now() };
    this.#silent.add(waiting);
    let hello: Buffer = Buffer.alloc(0);
    const onReadable = () => {
      // The stream emits `readable` again only after `read` has returned null.
      for (let piece: Buffer | null = socket.read(); piece !== null; piece = socket.read())
        hello = Buffer.concat([hello, piece]);
      if (!isWholeHello(hello)) return;
      socket.removeListener('readable', onReadable);
      this.#silent.delete(waiting);
      socket.unshift(hello);
      this.#enqueue(socket);
    };
    socket.on('readable', onReadable);
    socket.on('error', () => {});
    socket.once('close', () => this.#silent.delete(waiting));
  }

  /** Ends connections whose ClientHello is late. Call it about every second. */
  sweep(now: number): void {
    for (const { socket, since } of this.#silent) {
      // The first is the oldest.
      if (now - since < this.#helloTimeoutMs) return;
      socket.destroy();
    }
  }

  #enqueue(socket: Connection): void {
    const network = networkOf(socket.remoteAddress ?? '');
    const others = this.#ready.get(network);
    if (others === undefined) this.#ready.set(network, [socket]);
    else others.push(socket);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ready.size === 0) return;
    this.#isScheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isScheduled = false;
    for (let begun = 0; begun < perTurn && this.#ready.size > 0; begun++) this.#beginNext();
    this.#schedule();
  };

  #beginNext(): void {
    for (const [network, sockets] of this.#ready) {
      this.#ready.delete(network);
      const socket = sockets.shift();
      // After all other networks.
      if (sockets.length > 0) this.#ready.set(network, sockets);
      if (socket !== undefined && !socket.destroyed) this.#begin(socket);
      return;
    }
  }
}

/** True if the ClientHello is complete, or if the bytes are not a ClientHello: TLS then refuses them. */
export function isWholeHello(said: Buffer): boolean {
  let hello = 0;
  let length: number | undefined;
  for (let at = 0; at + 5 <= said.length; ) {
    const record = said.readUInt16BE(at + 3);
    if (said[at] !== handshakeRecord || record === 0 || 5 + record > maxRecordBytes) return true;
    const from = at + 5;
    at = from + record;
    // The head of the message is in the first record. RFC 8446, 4.
    if (length === undefined) {
      if (said.length < from + 4) return false;
      if (record < 4 || said[from] !== clientHello) return true;
      length = 4 + said.readUIntBE(from + 1, 3);
      if (length > maxRecordBytes) return true;
    }
    if (at > said.length) return false;
    hello += record;
    if (hello >= length) return true;
  }
  return said.length > 2 * maxRecordBytes;
}
