import type { Duplex } from 'node:stream';
import type { HttpConnection } from './exchange.ts';
import type { FrontOptions } from './front-options.ts';
import { HeadRoom } from './head-room.ts';
import type { Keeper } from './held-bytes.ts';
import { createHttp1Front } from './http1-front.ts';
import { createHttp2Front } from './http2-front.ts';
import { Turns } from './turns.ts';

/** Serves HTTP on connections that others have accepted. */
export interface HttpFront<Connection extends HttpConnection> {
  accept(socket: Duplex, connection: Connection, protocol: 'h2' | 'http/1.1'): void;
  http2Connections(): number;
  /** The memory of all connections, without their requests. */
  keepers(): Iterable<Keeper>;
  /** Ends idle connections at once, and others with their next answer. HTTP/2 clients get a GOAWAY. */
  drain(): void;
}

/**
 * Serves HTTP/1.x and HTTP/2 within limits, and refuses requests that two servers could read in two ways.
 *
 * It does not know the application: `onExchange` answers.
 */
export function createFront<Connection extends HttpConnection>(
  options: FrontOptions<Connection>,
): HttpFront<Connection> {
  const room = new HeadRoom(options.limits.maxLongHeaderBytes);
  const turns = new Turns();
  const paid: FrontOptions<Connection> = {
    ...options,
    onExchange: (exchange, upgrade) => {
      options.onExchange(exchange, upgrade);
      if (exchange.connection.owner === undefined && exchange.status() === 0) turns.charge();
    },
  };
  const http1 = createHttp1Front(paid, room, turns);
  const http2 = createHttp2Front(paid, room, turns);
  return {
    accept: (socket, connection, protocol) => (protocol === 'h2' ? http2 : http1).accept(socket, connection),
    http2Connections: () => http2.connections(),
    keepers: function* () {
      yield* http1.keepers();
      yield* http2.keepers();
    },
    drain: () => {
      http1.drain();
      http2.drain();
    },
  };
}
