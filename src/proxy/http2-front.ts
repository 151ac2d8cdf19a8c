import type { Duplex } from 'node:stream';
import { buildStatus, type StatusError } from '../domain/status-error.ts';
import { fieldBytes } from '../http/fields.ts';
import type { FieldExcess } from '../http/http2/hpack-decoder.ts';
import { ServerConnection, type ServerLimits, type ServerOwner } from '../http/http2/server-connection.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { ClientConnection } from './exchange.ts';
import type { RequestHandler } from './handler.ts';
import { type HeadRoom, refuseLongHead } from './head-room.ts';
import { Http2Exchange } from './http2-exchange.ts';
import { type Counted, type Keeper, memoryCost } from './kept-bytes.ts';
import type { FrontLimits } from './limits.ts';
import { objectToTarget } from './objections.ts';
import type { ProxyMetrics } from './ports.ts';
import { sweepWhileAny } from './sweep.ts';

/** The HTTP/2 side of the front. */
export interface Http2Front {
  accept(socket: Duplex, client: ClientConnection): void;
  connections(): number;
  /** What connections hold, their requests apart. */
  keepers(): Iterable<Keeper>;
  /** Sends GOAWAY. Open streams, and requests on their way, are still served. */
  drain(): void;
}

/** What it needs. */
export interface Http2FrontOptions {
  readonly handler: RequestHandler;
  readonly room: HeadRoom;
  readonly limits: FrontLimits;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Pick<ProxyMetrics, 'limited'>;
  /** Whether the client is to connect anew after this request; asked once for each. */
  readonly sendsAway: () => boolean;
  /** Ends the sweeps. */
  readonly signal: AbortSignal;
}

const ordinaryFields = 10;

/** Serves HTTP/2 connections within their limits. */
export function createHttp2Front({
  handler,
  room,
  limits,
  log,
  clock,
  metrics,
  sendsAway,
  signal,
}: Http2FrontOptions): Http2Front {
  const connections = new Set<ServerConnection>();
  const keepers = new Set<Keeper>();
  const serverLimits: ServerLimits = {
    maxStreams: limits.maxStreamsPerConnection,
    // HTTP/2 counts 32 bytes more for each field; as Go's server, that of an ordinary head is not held against a
    // client.
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

  const refuse = (exchange: Http2Exchange, limit: string, status: StatusError) => {
    metrics.limited.inc({ limit });
    handler.refuse(exchange, status);
  };
  const handle = (exchange: Http2Exchange, excess: FieldExcess | undefined) => {
    if (excess === 'bytes')
      return refuse(exchange, 'header_bytes', buildStatus(431, `more than ${limits.maxHeaderBytes} bytes of header`));
    if (excess === 'fields')
      return refuse(exchange, 'header_fields', buildStatus(431, `more than ${limits.maxHeaderFields} header fields`));
    const objection = objectToTarget(exchange.method, exchange.target, exchange.rawHeaders);
    if (objection !== undefined) return refuse(exchange, 'ambiguous', buildStatus(400, objection));
    const bytes = fieldBytes(exchange.rawHeaders);
    if (!room.resize(0, bytes)) return refuse(exchange, 'long_heads', refuseLongHead());
    exchange.onClose(() => room.resize(bytes, 0));
    try {
      handler.handle(exchange);
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
          // What is on its way, watches included, is served to its end.
          if (sendsAway()) connection.drain();
          return exchange;
        },
        onLimit: (limit) => metrics.limited.inc({ limit }),
        onFault: (reason) => {
          metrics.limited.inc({ limit: 'http2_session' });
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
      const keeper = new ConnectionKeeper(connection, client);
      client.leave = () => connection.drain();
      connections.add(connection);
      keepers.add(keeper);
      if (draining) connection.drain();
      sweep();
    },
  };
}

/** What one connection holds. */
class ConnectionKeeper implements Keeper {
  readonly #connection: ServerConnection;
  readonly #client: ClientConnection;

  constructor(connection: ServerConnection, client: ClientConnection) {
    this.#connection = connection;
    this.#client = client;
  }

  get owner(): string | undefined {
    return this.#client.owner;
  }

  keptBytes(counted: Counted): number {
    return this.#connection.heldBytes() + memoryCost(this.#client, counted);
  }

  cut(): void {
    this.#connection.cut();
  }
}
