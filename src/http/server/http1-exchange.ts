import { readContentLength } from '../content-length.ts';
import type { RawHeaders } from '../fields.ts';
import { isFieldSafe, statusLine, writeInterimHead } from './answer-head.ts';
import { BaseExchange, type ReceivedRequest } from './base-exchange.ts';
import { interimFields, kindOfField, mayBeTrailer } from './connection-fields.ts';
import type { HttpConnection, HttpExchange } from './exchange.ts';
import { type Counted, chunksCost } from './held-bytes.ts';

/** The connection of an exchange. */
export interface Http1Wire<Connection extends HttpConnection> {
  readonly client: Connection;
  /** True if the connection accepts no further request. */
  isClosing(): boolean;
  /** Sends bytes. If `last`, `onSent` fires once the final bytes have left the process. */
  send(bytes: Uint8Array, last: boolean): void;
  /** Calls `flush` once everything that can be read now has been read. */
  flushSoon(exchange: Http1Exchange<Connection>): void;
  /** Bytes that wait to be sent. */
  waiting(): number;
  /** Sends a complete interim answer at once. */
  sendInterim(head: string): void;
  /** The answer is complete. */
  onAnswered(exchange: Http1Exchange<Connection>): void;
  /** Ends the connection so that the client cannot take a partial answer for a whole one. */
  cut(): void;
}

/** A request over HTTP/1.x. */
export interface Http1Request extends ReceivedRequest {
  readonly version: string;
}

/** How the end of an answer is marked. */
type Framing = 'none' | 'length' | 'chunked' | 'close';

/** `write` returns false above this. */
const highMark = 256 * 1024;
/** Smaller chunks are joined and encrypted as one. Copying longer ones would cost more than it saves. */
const joinedBytes = 8 * 1024;

/**
 * One HTTP/1.x request and its answer.
 *
 * A small answer leaves as one piece with its head, and all writes of one turn of the event loop leave together. It
 * never sends more bytes than `Content-Length` says, and fewer end the connection.
 */
export class Http1Exchange<Connection extends HttpConnection>
  extends BaseExchange<Connection>
  implements HttpExchange<Connection>
{
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1';
  /** True if the connection ends with this answer. */
  isLast: boolean;
  readonly #wire: Http1Wire<Connection>;
  #ended = false;
  /** The last bytes are handed over, or have left the process. */
  #lastGiven = false;
  #sent = false;
  #closed = false;
  #framing: Framing = 'none';
  /** Remaining bytes of a body of known length. */
  #left = 0;
  /** Bytes that have not been sent. */
  #head = '';
  #chunks: Uint8Array[] = [];
  #size = 0;
  #flushing = false;
  #trailers = '';

  constructor(wire: Http1Wire<Connection>, request: Http1Request, isLast: boolean) {
    super(request, wire.client);
    this.#wire = wire;
    this.protocol = request.version === '1.1' ? 'HTTP/1.1' : 'HTTP/1.0';
    // HTTP/1.0 connections are not kept.
    this.isLast = isLast || request.version !== '1.1';
  }

  protected answerBytes(counted: Counted): number {
    return this.#head.length + chunksCost(this.#chunks, counted);
  }

  protected sendInterim(status: number, rawHeaders: RawHeaders): boolean {
    if (this.#closed || this.protocol === 'HTTP/1.0') return false;
    const head = writeInterimHead(status, interimFields(rawHeaders));
    if (head === undefined) return false;
    this.#wire.sendInterim(head);
    return true;
  }

  /** True once the whole answer was handed over. */
  ended(): boolean {
    return this.#ended;
  }

  respond(status: number, rawHeaders: RawHeaders): void {
    if (this.answered !== 0 || this.#closed) return;
    this.answered = status;
    let head = statusLine(status);
    const length = status === 204 ? undefined : readContentLength(rawHeaders);
    let announced = '';
    let isSafe = head !== '' && length !== 'repeated' && length !== 'invalid';
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? '';
      const value = rawHeaders[at + 1] ?? '';
      if (!isFieldSafe(name, value)) isSafe = false;
      const kind = kindOfField(name);
      if (kind === 'hop' || (kind === 'content-length' && status === 204)) continue;
      if (kind === 'trailer') announced += `${name}: ${value}\r\n`;
      else head += `${name}: ${value}\r\n`;
    }
    if (!isSafe) {
      // A server's answer must not be read as another, nor end this process.
      this.destroy();
      return;
    }
    if (this.method === 'HEAD' || status === 204 || status === 304) this.#framing = 'none';
    else if (typeof length === 'number') {
      this.#framing = 'length';
      this.#left = length;
    } else if (this.protocol === 'HTTP/1.1') {
      this.#framing = 'chunked';
      head += `Transfer-Encoding: chunked\r\n${announced}`;
    } else this.#framing = 'close';
    // An unread body would be read as the next request.
    if (!this.bodyComplete() || this.#wire.isClosing()) this.isLast = true;
    this.#head = this.isLast ? `${head}Connection: close\r\n\r\n` : `${head}\r\n`;
    this.#flushSoon();
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#take(chunk)) return true;
    if (this.#size >= joinedBytes) this.flush();
    else this.#flushSoon();
    return this.#size + this.#wire.waiting() < highMark;
  }

  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void {
    if (this.#ended || this.#closed) return;
    if (chunk !== undefined) this.#take(chunk);
    this.#ended = true;
    // The client must not take a truncated answer for a whole one.
    if (this.answered === 0 || (this.#framing === 'length' && this.#left !== 0)) {
      this.destroy();
      return;
    }
    if (rawTrailers !== undefined && this.#framing === 'chunked') this.#trailers = trailerLines(rawTrailers);
    if (!this.#lastGiven) this.flush();
    else if (this.#sent) queueMicrotask(() => this.#finish());
  }

  destroy(): void {
    if (!this.#closed) this.#wire.cut();
  }

  /** More can be sent. */
  onDrained(): void {
    this.flush();
    if (this.#size + this.#wire.waiting() < highMark) this.drainListener?.();
  }

  /** The last bytes of the answer have been sent. */
  onSent(): void {
    this.#sent = true;
    if (this.#ended) this.#finish();
  }

  /** The client has left, or the connection was handed over. */
  abandon(): void {
    this.#close(false);
  }

  /** Sends the written bytes; of a large amount, only as much as the connection accepts now. */
  flush(): void {
    this.#flushing = false;
    if (this.#closed || this.#lastGiven || this.#wire.waiting() >= highMark) return;
    const taken = Math.min(this.#size, highMark);
    const last = this.#isComplete() && taken === this.#size;
    let before = this.#head;
    let after = '';
    if (this.#framing === 'chunked') {
      if (taken > 0) {
        before += `${taken.toString(16)}\r\n`;
        after = '\r\n';
      }
      if (last) after += `0\r\n${this.#trailers}\r\n`;
    }
    const size = before.length + taken + after.length;
    if (size === 0 && !last) return;
    const chunks = this.#takeChunks(taken);
    this.#lastGiven = last;
    this.#head = '';
    const [only] = chunks;
    if (only !== undefined && only.length === size) {
      this.#wire.send(only, last);
      return;
    }
    const bytes = Buffer.allocUnsafe(size);
    let at = bytes.write(before, 0, 'latin1');
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    if (after !== '') bytes.write(after, at, 'latin1');
    this.#wire.send(bytes, last);
  }

  /** The first part of the written bytes. The rest stays. */
  #takeChunks(bytes: number): Uint8Array[] {
    const chunks = this.#chunks;
    if (bytes === this.#size) this.#chunks = [];
    else {
      let left = bytes;
      let used = 0;
      for (; left >= (chunks[used]?.length ?? 0); used++) left -= chunks[used]?.length ?? 0;
      this.#chunks = chunks.splice(used);
      const [cut] = this.#chunks;
      if (cut !== undefined && left > 0) {
        chunks.push(cut.subarray(0, left));
        this.#chunks[0] = cut.subarray(left);
      }
    }
    this.#size -= bytes;
    return chunks;
  }

  /** True once everything has been written. */
  #isComplete(): boolean {
    return this.#ended || this.#framing === 'none' || (this.#framing === 'length' && this.#left === 0);
  }

  /** Returns false for bytes that must not be sent. */
  #take(chunk: Uint8Array): boolean {
    if (this.#ended || this.#closed || chunk.length === 0 || this.#framing === 'none') return false;
    if (this.#framing === 'length') {
      this.#left -= chunk.length;
      if (this.#left < 0) {
        this.destroy();
        return false;
      }
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.connection.keptBytes?.note(chunk.length);
    return true;
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#wire.flushSoon(this);
  }

  #finish(): void {
    if (this.#closed) return;
    this.#close(true);
    this.#wire.onAnswered(this);
  }

  #close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#chunks = [];
    this.noteClose(complete);
  }
}

function trailerLines(rawTrailers: RawHeaders): string {
  let lines = '';
  for (let at = 0; at + 1 < rawTrailers.length; at += 2) {
    const name = rawTrailers[at] ?? '';
    const value = rawTrailers[at + 1] ?? '';
    if (mayBeTrailer(name) && isFieldSafe(name, value)) lines += `${name}: ${value}\r\n`;
  }
  return lines;
}
