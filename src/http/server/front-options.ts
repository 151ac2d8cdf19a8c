import type { Duplex } from 'node:stream';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { RequestParsers } from '../llhttp/request-parser.ts';
import type { HttpConnection, HttpExchange } from './exchange.ts';
import type { Counted } from './held-bytes.ts';
import type { Refusal } from './refusal.ts';

/** Bounds of connections and heads. */
export interface HttpFrontLimits {
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
  /** Bytes of all heads together beyond 64 KiB each. */
  readonly maxLongHeaderBytes: number;
  readonly maxStreamsPerConnection: number;
  /** From the connection, or the first byte of a head, to its last. */
  readonly readHeaderTimeoutMs: number;
  /** How long a connection may have no request. */
  readonly idleTimeoutMs: number;
}

/** A request to switch protocols, and how to hand the client's side over. */
export interface UpgradeRequest {
  readonly protocol: string;
  accept(rawHeaders: readonly string[], peer: Duplex): void;
}

/** What a front needs. */
export interface FrontOptions<Connection extends HttpConnection> {
  readonly parsers: RequestParsers;
  readonly limits: HttpFrontLimits;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the sweeps. */
  readonly signal: AbortSignal;
  /** Answers a request. */
  onExchange(exchange: HttpExchange<Connection>, upgrade?: UpgradeRequest): void;
  /** Answers a request that must not be handled, with what the refusal says. */
  onRefusal(exchange: HttpExchange<Connection>, refusal: Refusal): void;
  /** A limit ended or refused something. */
  onLimit(limit: string): void;
  /** The last answer on a connection whose request cannot be read to its end. */
  writeRefusal(refusal: Refusal): { readonly contentType: string; readonly body: Buffer };
  /** True if a request to switch to this protocol is one; else it is answered as any other. */
  isUpgrade(protocol: string, method: string, target: string, request: { readonly hasBody: boolean }): boolean;
  /** Whether the client is to connect anew after this request; asked once for each. */
  sendsAway(): boolean;
  /** Bytes that are remembered of a connection. */
  memoryOf(connection: Connection, counted: Counted): number;
}
