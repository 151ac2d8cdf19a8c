import type { Duplex } from 'node:stream';
import type { RawHeaders } from '../fields.ts';
import type { WrittenFields } from './written-fields.ts';

/** A server that requests are sent to. */
export interface HttpOrigin {
  /** `host:port`; IPv6 hosts in brackets. */
  readonly address: string;
}

/** The request to send. Header values are latin1 strings in a flat array. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly rawHeaders: RawHeaders;
  /** Always the same object with the same `rawHeaders`; undefined if they will not be sent again. */
  readonly written?: WrittenFields | undefined;
  /** Read only once the connection is established, so that an earlier failure leaves it complete. */
  readonly body: AsyncIterable<Uint8Array> | null;
  /** Protocol to switch to. */
  readonly upgrade: string | undefined;
}

/**
 * Why a server could not answer.
 *
 * - `address`: the address is not allowed; no connection was made.
 * - `connect`, `certificate`: no byte was sent.
 * - `answer`: the server is there, and what it answered cannot be passed on, or it gave up on this request alone.
 * - `reset`: the connection broke; `sent` says whether the request may have been received.
 * - `timeout`: no answer in time.
 * - `request`: the request itself cannot be sent.
 * - `aborted`: this side gave up.
 * - `saturated`: too many connections to this server already; no byte was sent.
 */
export type FaultKind =
  | 'address'
  | 'connect'
  | 'certificate'
  | 'reset'
  | 'answer'
  | 'timeout'
  | 'request'
  | 'aborted'
  | 'saturated';

/** A failure of one attempt. */
export interface Fault {
  readonly kind: FaultKind;
  /** True if a byte of the request may have reached the server. */
  readonly sent: boolean;
  readonly error: Error;
}

/**
 * Takes a server's answer: any number of `onInterim`, `onHead`, then data, then `onEnd`; or `onFault`, once, at any
 * point.
 */
export interface AnswerHandler {
  /** An interim answer: 100 for a request with `Expect`, whose body is read meanwhile, or another 1xx. */
  onInterim?(status: number, rawHeaders: string[]): void;
  onHead(status: number, rawHeaders: string[]): void;
  /** `isLast` means that only `onEnd` without trailers follows, at once. False does not mean that more follows. */
  onData(chunk: Buffer, isLast: boolean): void;
  onEnd(rawTrailers: string[]): void;
  onFault(fault: Fault): void;
  /** The server switched protocols; the socket is the handler's from here on, and nothing else is called. */
  onUpgrade(rawHeaders: string[], socket: Duplex): void;
}

/** One running attempt. */
export interface Call {
  pause(): void;
  resume(): void;
  /** Does nothing once the handler has heard of the end. */
  abort(reason: Error): void;
}

/** Connections of one kind to one server. */
export interface Dispatcher {
  dispatch(request: HttpRequest, handler: AnswerHandler): Call;
  /** Number of open and opening connections. */
  open(): number;
  /** Ends connections and requests that have been silent for too long. Call it every `sweepMs`. */
  sweep(): void;
  /** Ends every connection, and all running and waiting requests, with a timeout. */
  abandon(error: Error): void;
  /** Ends idle connections now, and the rest as they become idle. */
  close(): void;
}

/** One sweep covers all pools, so that requests need no timers. */
export const sweepMs = 1_000;

/** A failure before the connection was established, with its kind as a value instead of text. */
export class ConnectFault extends Error {
  override readonly name = 'ConnectFault';
  readonly kind: FaultKind;
  /** True if the server was verified but speaks only HTTP/1.1. */
  speaksHttp1 = false;
  constructor(kind: FaultKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}
