import { readContentLength } from '../content-length.ts';
import type { RawHeaders } from '../fields.ts';
import { headerValue, isSameHeaders, isWorthKeeping } from '../fields.ts';
import { errorCode } from '../http2/frames.ts';
import { encodeFields, encodeStatusField } from '../http2/hpack-encoder.ts';
import type { RequestFields } from '../http2/read-request-fields.ts';
import type { Http2Stream, StreamUser } from '../http2/stream.ts';
import { BaseExchange } from './base-exchange.ts';
import { interimFields, mayBeTrailer } from './connection-fields.ts';
import type { HttpConnection, HttpExchange } from './exchange.ts';
import { type Counted, chunksCost } from './held-bytes.ts';
import { RequestBody } from './request-body.ts';

/** With this many unread bytes of one body on a connection with many bodies, no more are requested. */
const bodyBytes = 64 * 1024;

/**
 * One request over HTTP/2 and its answer.
 *
 * It never sends more bytes than `Content-Length` says, and fewer reset the stream.
 */
export class Http2Exchange<Connection extends HttpConnection>
  extends BaseExchange<Connection>
  implements HttpExchange<Connection>, StreamUser
{
  readonly protocol = 'HTTP/2';
  readonly #stream: Http2Stream;
  /** Remaining bytes of the answer; undefined without a Content-Length. */
  #left: number | undefined;
  #isBodiless = false;

  constructor(stream: Http2Stream, request: RequestFields, hasBody: boolean, connection: Connection) {
    const { method, path: target } = request;
    const rawHeaders = fieldsOf(request, connection);
    const body = hasBody ? new RequestBody({ onRoom: () => stream.resume() }, bodyBytes) : undefined;
    const waitsForContinue = hasBody && headerValue(rawHeaders, 'expect')?.toLowerCase() === '100-continue';
    super({ method, target, rawHeaders, body, waitsForContinue }, connection);
    this.#stream = stream;
  }

  protected answerBytes(counted: Counted): number {
    const { chunks, head } = this.#stream;
    return head.length + (chunks === undefined ? 0 : chunksCost(chunks, counted));
  }

  protected sendInterim(status: number, rawHeaders: RawHeaders): boolean {
    const isInterim = status >= 100 && status <= 199 && status !== 101;
    const fields = isInterim ? encodeFields(interimFields(rawHeaders)) : undefined;
    if (fields === undefined) return false;
    this.#stream.interim(encodeStatusField(status) + fields);
    return true;
  }

  respond(status: number, rawHeaders: RawHeaders): void {
    if (this.answered !== 0 || this.#stream.isClosed) return;
    this.answered = status;
    const isStatus = status >= 200 && status <= 999;
    const fields = isStatus ? encodeFields(status === 204 ? withoutLength(rawHeaders) : rawHeaders) : undefined;
    const length = readContentLength(rawHeaders);
    if (fields === undefined || length === 'invalid' || length === 'repeated') {
      // A server's answer must not be read as another, nor end this process.
      this.destroy();
      return;
    }
    this.#isBodiless = this.method === 'HEAD' || status === 204 || status === 304;
    if (!this.#isBodiless) this.#left = length;
    this.#stream.begin(encodeStatusField(status) + fields);
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
    if (this.answered === 0 || (this.#left ?? 0) > 0) {
      this.destroy();
      return;
    }
    const trailers = rawTrailers === undefined || this.#isBodiless ? '' : encodeTrailers(rawTrailers);
    this.#stream.end(fits ? chunk : undefined, trailers);
  }

  destroy(): void {
    this.#stream.reset(errorCode.internal);
  }

  onData(chunk: Buffer): boolean {
    // A body that arrives after the answer is dropped.
    return this.requestBody === undefined || this.requestBody.push(chunk);
  }

  onEnd(): void {
    this.requestBody?.finish();
  }

  onRoom(): void {
    this.drainListener?.();
  }

  onClosed(complete: boolean): void {
    this.noteClose(complete);
  }

  /** Returns false for bytes that must not be sent. */
  #mayLeave(chunk: Uint8Array): boolean {
    if (this.#isBodiless || this.#stream.isClosed) return false;
    if (this.#left === undefined) return true;
    if (chunk.length > this.#left) {
      this.destroy();
      return false;
    }
    this.#left -= chunk.length;
    return true;
  }
}

/** One array for all requests with the same fields, so that a watch keeps only its path in memory. */
function fieldsOf({ fields, authority }: RequestFields, connection: HttpConnection): RawHeaders {
  // Both may be present if they agree. A request with two different Host fields is refused later. RFC 9113, section
  // 8.3.1.
  if (authority !== undefined && headerValue(fields, 'host') !== authority) fields.unshift('Host', authority);
  const before = connection.rawHeaders;
  if (before !== undefined && isSameHeaders(before, fields)) return before;
  connection.rawHeaders = isWorthKeeping(fields) ? fields : undefined;
  return fields;
}

function withoutLength(rawHeaders: RawHeaders): RawHeaders {
  return rawHeaders.filter((_text, at) => rawHeaders[at - (at % 2)]?.toLowerCase() !== 'content-length');
}

function encodeTrailers(rawTrailers: RawHeaders): string {
  let block = '';
  for (let at = 0; at + 1 < rawTrailers.length; at += 2) {
    const name = rawTrailers[at] ?? '';
    if (mayBeTrailer(name)) block += encodeFields([name, rawTrailers[at + 1] ?? '']) ?? '';
  }
  return block;
}
