import type { Duplex } from 'node:stream';
import type { HttpConnection } from './exchange.ts';
import type { FrontOptions } from './front-options.ts';
import type { HeadRoom } from './head-room.ts';
import type { Keeper } from './held-bytes.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { type Http1Shared, Http1Socket } from './http1-socket.ts';
import { sweepWhileAny } from './sweep.ts';
import type { Turns } from './turns.ts';

/** The HTTP/1.x side of the front. */
export interface Http1Front<Connection> {
  accept(socket: Duplex, client: Connection): void;
  /** The memory of all connections, without their requests. */
  keepers(): Iterable<Keeper>;
  /** Ends idle connections at once, and others with their next answer. */
  drain(): void;
}

/** Serves HTTP/1.x connections within their limits. A regular sweep finds those past a deadline. */
export function createHttp1Front<Connection extends HttpConnection>(
  options: FrontOptions<Connection>,
  room: HeadRoom,
  turns: Turns,
): Http1Front<Connection> {
  const sockets = new Set<Http1Socket<Connection>>();
  const { parsers, limits, clock, signal, log } = options;
  let draining = false;
  let unflushed: Http1Exchange<Connection>[] = [];
  const flushAll = () => {
    const exchanges = unflushed;
    unflushed = [];
    for (const exchange of exchanges) exchange.flush();
  };
  const waiting: Http1Socket<Connection>[] = [];
  /** Reads one pipelined request of one connection. Then all others have a turn. */
  const takeOne = () => {
    waiting.shift()?.takeNext();
    if (waiting.length > 0) setImmediate(takeOne);
  };
  const shared: Http1Shared<Connection> = {
    ...options,
    room,
    turns,
    isDraining: () => draining,
    flushSoon: (exchange) => {
      if (unflushed.push(exchange) === 1) setImmediate(flushAll);
    },
    waitForTurn: (socket) => {
      if (waiting.push(socket) === 1) setImmediate(takeOne);
    },
    onClosed: (socket) => {
      sockets.delete(socket);
    },
  };
  const sweep = sweepWhileAny(sockets, limits, clock, signal, log);
  return {
    accept: (socket, client) => {
      sockets.add(new Http1Socket(socket, client, parsers.create(limits), shared));
      sweep();
    },
    keepers: () => sockets,
    drain: () => {
      draining = true;
      for (const socket of sockets) socket.closeIfIdle();
    },
  };
}
