import type { Duplex } from 'node:stream';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { RequestParsers } from '../llhttp/request-parser.ts';
import type { HttpConnection, HttpExchange } from './exchange.ts';
import type { Counted } from './held-bytes.ts';
import type { HttpRefusal } from './refusal.ts';

/** Bounds of connections and heads. */
export interface HttpFrontLimits {
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
  /** Bytes of all heads together beyond 64 KiB each. */
  readonly maxLongHeaderBytes: number;
  readonly maxStreamsPerConnection: number;
  /** The time limit for a head: from the connection, or the head's first byte, to its last byte. */
  readonly readHeaderTimeoutMs: number;
  /** How long a connection may be without a request. */
  readonly idleTimeoutMs: number;
}

/** A request to switch protocols, and how to hand the client's side over. */
export interface UpgradeRequest {
  readonly protocol: string;
  accept(rawHeaders: readonly string[], peer: Duplex): void;
}

/** The dependencies of a front. */
export interface FrontOptions<Connection extends HttpConnection> {
  readonly parsers: RequestParsers;
  readonly limits: HttpFrontLimits;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts the sweeps. */
  readonly signal: AbortSignal;
  /** Answers a request. */
  onExchange(exchange: HttpExchange<Connection>, upgrade?: UpgradeRequest): void;
  /** Answers a request that must not be handled, with this refusal. */
  onRefusal(exchange: HttpExchange<Connection>, refusal: HttpRefusal): void;
  /** A limit has ended or refused a request or connection. */
  onLimit(limit: string): void;
  /** The last answer on a connection whose request cannot be read to its end. */
  writeRefusal(refusal: HttpRefusal): { readonly contentType: string; readonly body: Buffer };
  /** True for protocols that a request may switch to. Other upgrades are ignored. */
  isUpgrade(protocol: string, method: string, target: string, request: { readonly hasBody: boolean }): boolean;
  /** True if the client should reconnect after this request. Called once for each request. */
  sendsAway(): boolean;
  /** Number of bytes remembered for a connection. */
  memoryOf(connection: Connection, counted: Counted): number;
}
