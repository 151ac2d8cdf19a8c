import { readContentLength } from '../content-length.ts';
import type { RawHeaders } from '../fields.ts';
import { headerValue, isSameHeaders, isWorthKeeping } from '../fields.ts';
import { errorCode } from '../http2/frames.ts';
import { encodeFields, encodeStatus } from '../http2/hpack-encoder.ts';
import type { RequestFields } from '../http2/read-request-fields.ts';
import type { Http2Stream, StreamUser } from '../http2/stream.ts';
import type { HttpConnection, HttpExchange } from './exchange.ts';
import { type Counted, chunksCost, fieldsCost } from './held-bytes.ts';
import { RequestBody } from './request-body.ts';

/** Unread bytes of one of many bodies on a connection above which no more are asked for. */
const bodyBytes = 64 * 1024;

/**
 * One request over HTTP/2 and its answer.
 *
 * More bytes than `Content-Length` says never leave, and fewer reset the stream.
 */
export class Http2Exchange<Connection extends HttpConnection> implements HttpExchange<Connection>, StreamUser {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly protocol = 'HTTP/2';
  readonly connection: Connection;
  readonly hasBody: boolean;
  readonly #stream: Http2Stream;
  readonly #body: RequestBody | undefined;
  #waitsForContinue: boolean;
  #toldToContinue = false;
  #status = 0;
  /** Bytes of the answer still to be written; -1 without a Content-Length. */
  #left = -1;
  #isBodiless = false;
  #drainListener: (() => void) | undefined;
  #closeListeners: ((complete: boolean) => void)[] = [];

  constructor(stream: Http2Stream, request: RequestFields, hasBody: boolean, connection: Connection) {
    const { fields, authority } = request;
    // Both may be there if they agree; two Host fields are refused later. RFC 9113, section 8.3.1.
    if (authority !== undefined && headerValue(fields, 'host') !== authority) fields.unshift('Host', authority);
    // One array for all requests with the same fields: a watch holds on to nothing of its own but its path.
    const before = connection.rawHeaders;
    if (before !== undefined && isSameHeaders(before, fields)) this.rawHeaders = before;
    else {
      this.rawHeaders = fields;
      connection.rawHeaders = isWorthKeeping(fields) ? fields : undefined;
    }
    this.method = request.method;
    this.target = request.path;
    this.connection = connection;
    this.hasBody = hasBody;
    this.#stream = stream;
    this.#body = hasBody ? new RequestBody({ onRoom: () => stream.resume() }, bodyBytes) : undefined;
    this.#waitsForContinue = hasBody && headerValue(fields, 'expect')?.toLowerCase() === '100-continue';
  }

  keptBytes(counted: Counted): number {
    const { chunks, head } = this.#stream;
    const ofBody = this.#body?.held ?? 0;
    const ofAnswer = head.length + (chunks === undefined ? 0 : chunksCost(chunks, counted));
    return 2 * this.target.length + fieldsCost(this.rawHeaders, counted) + ofBody + ofAnswer;
  }

  bodyComplete(): boolean {
    return this.#body === undefined || this.#body.complete;
  }

  body(): AsyncIterable<Uint8Array> | null {
    // A server is there to take the body, so the client may send it. RFC 9110, section 10.1.1.
    if (this.#waitsForContinue && this.#body?.complete === false) this.interim(100, []);
    this.#waitsForContinue = false;
    return this.#body ?? null;
  }

  interim(status: number, rawHeaders: RawHeaders): void {
    if (this.#status !== 0 || (status === 100 && this.#toldToContinue)) return;
    const isInterim = status >= 100 && status <= 199 && status !== 101;
    const fields = isInterim ? encodeFields(withoutFraming(rawHeaders)) : undefined;
    if (fields === undefined) return;
    if (status === 100) this.#toldToContinue = true;
    this.#stream.interim(encodeStatus(status) + fields);
  }

  status(): number {
    return this.#status;
  }

  respond(status: number, rawHeaders: RawHeaders): void {
    if (this.#status !== 0 || this.#stream.isClosed) return;
    this.#status = status;
    const isStatus = status >= 200 && status <= 999;
    const fields = isStatus ? encodeFields(status === 204 ? withoutLength(rawHeaders) : rawHeaders) : undefined;
    const length = readContentLength(rawHeaders);
    if (fields === undefined || length === 'invalid' || length === 'repeated') {
      // A server's answer must not be read as another, nor end this process.
      this.destroy();
      return;
    }
    this.#isBodiless = this.method === 'HEAD' || status === 204 || status === 304;
    if (!this.#isBodiless && length !== undefined) this.#left = length;
    this.#stream.begin(encodeStatus(status) + fields);
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#mayLeave(chunk)) return true;
    this.connection.keptBytes?.note(chunk.length);
    return this.#stream.write(chunk);
  }

  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void {
    const fits = chunk === undefined || this.#mayLeave(chunk);
    if (chunk !== undefined) this.connection.keptBytes?.note(chunk.length);
    // The client must not take a truncated answer for a whole one.
    if (this.#status === 0 || this.#left > 0) {
      this.destroy();
      return;
    }
    const trailers = rawTrailers === undefined || this.#isBodiless ? '' : encodeTrailers(rawTrailers);
    this.#stream.end(fits ? chunk : undefined, trailers);
  }

  destroy(): void {
    this.#stream.reset(errorCode.internal);
  }

  onDrain(listener: () => void): void {
    this.#drainListener = listener;
  }

  onClose(listener: (complete: boolean) => void): void {
    this.#closeListeners.push(listener);
  }

  onData(chunk: Buffer): boolean {
    // A body that arrives after the answer is dropped.
    return this.#body === undefined || this.#body.push(chunk);
  }

  onEnd(): void {
    this.#body?.finish();
  }

  onRoom(): void {
    this.#drainListener?.();
  }

  onClosed(complete: boolean): void {
    this.#body?.fail(new Error(complete ? 'the request has been answered' : 'the client has left'));
    this.#drainListener = undefined;
    const listeners = this.#closeListeners;
    this.#closeListeners = [];
    for (const listener of listeners) listener(complete);
  }

  /** Returns false for bytes that must not be sent. */
  #mayLeave(chunk: Uint8Array): boolean {
    if (this.#isBodiless || this.#stream.isClosed) return false;
    if (this.#left < 0) return true;
    if (chunk.length > this.#left) {
      this.destroy();
      return false;
    }
    this.#left -= chunk.length;
    return true;
  }
}

/** An interim answer has no body, and says nothing of one. */
function withoutFraming(rawHeaders: RawHeaders): RawHeaders {
  return rawHeaders.filter((_text, at) => !/^(content-length|trailer)$/i.test(rawHeaders[at - (at % 2)] ?? ''));
}

function withoutLength(rawHeaders: RawHeaders): RawHeaders {
  return rawHeaders.filter((_text, at) => rawHeaders[at - (at % 2)]?.toLowerCase() !== 'content-length');
}

/** Drops fields that trailers must not have, such as framing. RFC 9110, section 6.5.1. */
function encodeTrailers(rawTrailers: RawHeaders): string {
  let block = '';
  for (let at = 0; at + 1 < rawTrailers.length; at += 2) {
    const name = rawTrailers[at] ?? '';
    if (!/^(content-length|host|trailer)$/i.test(name)) block += encodeFields([name, rawTrailers[at + 1] ?? '']) ?? '';
  }
  return block;
}
