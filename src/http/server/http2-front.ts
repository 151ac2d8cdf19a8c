import type { Duplex } from 'node:stream';
import { fieldBytes } from '../fields.ts';
import type { FieldExcess } from '../http2/hpack-decoder.ts';
import { ServerConnection, type ServerLimits, type ServerOwner } from '../http2/server-connection.ts';
import type { HttpConnection } from './exchange.ts';
import type { FrontOptions } from './front-options.ts';
import type { HeadRoom } from './head-room.ts';
import type { Counted, Keeper } from './held-bytes.ts';
import { Http2Exchange } from './http2-exchange.ts';
import { objectToTarget } from './objections.ts';
import { type HttpRefusal, noHeadRoom } from './refusal.ts';
import { sweepWhileAny } from './sweep.ts';
import type { Turns } from './turns.ts';

/** The HTTP/2 side of the front. */
export interface Http2Front<Connection> {
  accept(socket: Duplex, client: Connection): void;
  connections(): number;
  /** The memory of all connections, without their requests. */
  keepers(): Iterable<Keeper>;
  /** Sends GOAWAY. Open streams, and requests on their way, are still served. */
  drain(): void;
}

const ordinaryFields = 10;

/** Serves HTTP/2 connections within their limits. */
export function createHttp2Front<Connection extends HttpConnection>(
  options: FrontOptions<Connection>,
  room: HeadRoom,
  turns: Turns,
): Http2Front<Connection> {
  const { limits, log, clock, signal, onExchange, onRefusal, onLimit, sendsAway, memoryOf } = options;
  const connections = new Set<ServerConnection>();
  const keepers = new Set<Keeper>();
  const serverLimits: ServerLimits = {
    maxStreams: limits.maxStreamsPerConnection,
    // HTTP/2 counts 32 bytes more for each field. Like Go's server, this front does not count them for an ordinary
    // head.
    fieldRoom: room,
    maxFieldBytes: limits.maxHeaderBytes + 32 * ordinaryFields,
    // Pseudo fields are not counted.
    maxFields: limits.maxHeaderFields + 4,
    fieldsTimeoutMs: limits.readHeaderTimeoutMs,
    idleTimeoutMs: limits.idleTimeoutMs,
  };
  const now = () => clock.now();
  let draining = false;
  const sweep = sweepWhileAny(connections, limits, clock, signal, log);

  const refuse = (exchange: Http2Exchange<Connection>, limit: string, refusal: HttpRefusal) => {
    onLimit(limit);
    onRefusal(exchange, refusal);
  };
  const handle = (exchange: Http2Exchange<Connection>, excess: FieldExcess | undefined) => {
    if (excess === 'bytes')
      return refuse(exchange, 'header_bytes', {
        status: 431,
        message: `more than ${limits.maxHeaderBytes} bytes of header`,
      });
    if (excess === 'fields')
      return refuse(exchange, 'header_fields', {
        status: 431,
        message: `more than ${limits.maxHeaderFields} header fields`,
      });
    const objection = objectToTarget(exchange.method, exchange.target, exchange.rawHeaders);
    if (objection !== undefined) return refuse(exchange, 'ambiguous', { status: 400, message: objection });
    const bytes = fieldBytes(exchange.rawHeaders);
    if (!room.resize(0, bytes)) return refuse(exchange, 'long_heads', noHeadRoom);
    exchange.onClose(() => room.resize(bytes, 0));
    try {
      onExchange(exchange);
    } catch (error) {
      log.error('a request could not be handled', { error: String(error) });
      exchange.destroy();
    }
  };
  return {
    connections: () => connections.size,
    keepers: () => keepers,
    drain: () => {
      draining = true;
      for (const connection of connections) connection.drain();
    },
    accept: (socket, client) => {
      const owner: ServerOwner = {
        onRequest: (stream, request, hasBody, excess) => {
          const exchange = new Http2Exchange(stream, request, hasBody, client);
          handle(exchange, excess);
          // Requests on their way, watches included, are served to their end.
          if (sendsAway()) connection.drain();
          return exchange;
        },
        takeTurn: (bytes, goOn) => {
          if (client.owner !== undefined || turns.take(bytes)) return true;
          turns.wait(goOn);
          return false;
        },
        onLimit,
        onFault: (reason) => {
          onLimit('http2_session');
          log.debug('HTTP/2 connection ended', { reason, client: client.remoteAddress });
        },
        onClose: () => {
          connections.delete(connection);
          keepers.delete(keeper);
        },
      };
      socket.on('error', (error) => {
        log.debug('client connection failed', { error: error.message, client: client.remoteAddress });
      });
      const connection = new ServerConnection(socket, owner, serverLimits, now);
      const keeper = new ConnectionKeeper(connection, client, (counted) => memoryOf(client, counted));
      client.leave = () => connection.drain();
      connections.add(connection);
      keepers.add(keeper);
      if (draining) connection.drain();
      sweep();
    },
  };
}

/** The memory of one connection. */
class ConnectionKeeper implements Keeper {
  readonly #connection: ServerConnection;
  readonly #client: HttpConnection;
  readonly #memory: (counted: Counted) => number;

  constructor(connection: ServerConnection, client: HttpConnection, memory: (counted: Counted) => number) {
    this.#connection = connection;
    this.#client = client;
    this.#memory = memory;
  }

  get owner(): string | undefined {
    return this.#client.owner;
  }

  keptBytes(counted: Counted): number {
    return this.#connection.heldBytes() + this.#memory(counted);
  }

  cut(): void {
    this.#connection.cut();
  }
}
