import type { Duplex } from 'node:stream';
import type { RequestParsers } from '../http/llhttp/request-parser.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ClientConnection } from './exchange.ts';
import type { Http1Exchange } from './http1-exchange.ts';
import { type Http1Shared, Http1Socket } from './http1-socket.ts';
import type { Keeper } from './kept-bytes.ts';
import { sweepWhileAny } from './sweep.ts';

/** The HTTP/1.x side of the front. */
export interface Http1Front {
  accept(socket: Duplex, client: ClientConnection): void;
  /** What connections hold, their requests apart. */
  keepers(): Iterable<Keeper>;
  /** Ends idle connections, and each other one with its next answer. */
  drain(): void;
}

/** What it needs. */
export interface Http1FrontOptions
  extends Pick<Http1Shared, 'sendsAway' | 'handler' | 'room' | 'limits' | 'log' | 'metrics'> {
  readonly parsers: RequestParsers;
  readonly clock: Clock;
  /** Ends the sweeps. */
  readonly signal: AbortSignal;
}

/** Serves HTTP/1.x connections within their limits. A regular check of all of them finds those past a deadline. */
export function createHttp1Front({ parsers, clock, signal, ...rest }: Http1FrontOptions): Http1Front {
  const sockets = new Set<Http1Socket>();
  const { limits } = rest;
  let draining = false;
  let unflushed: Http1Exchange[] = [];
  const flushAll = () => {
    const exchanges = unflushed;
    unflushed = [];
    for (const exchange of exchanges) exchange.flush();
  };
  const waiting: Http1Socket[] = [];
  /** One request that was sent ahead, of one connection; then everybody else has a turn. */
  const takeOne = () => {
    waiting.shift()?.takeNext();
    if (waiting.length > 0) setImmediate(takeOne);
  };
  const shared: Http1Shared = {
    ...rest,
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
  const sweep = sweepWhileAny(sockets, limits, clock, signal, rest.log);
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
