import type { TLSSocket } from 'node:tls';
import { readContentLength } from '../content-length.ts';
import { MalformedResponse, type ResponseParser } from '../llhttp/response-parser.ts';
import type { AnswerHandler, FaultKind, HttpRequest } from './dispatch.ts';

/** One request on its connection. Only the connection sets `sent` and `settled`. */
export interface Http1Attempt {
  readonly request: HttpRequest;
  readonly handler: AnswerHandler;
  /** True if a byte of the request may have reached the peer. */
  sent: boolean;
  settled: boolean;
}

/** Receives a connection's events. */
export interface Http1Owner {
  /** The connection can take the next request. */
  onIdle(connection: Http1Connection): void;
  /** The connection is unusable. */
  onClosed(connection: Http1Connection): void;
}

/** Maximum number of interim answers before the final one. Each is small, but otherwise there is no end to them. */
const maxInterim = 16;

/**
 * One verified TLS connection with at most one request at a time.
 *
 * It is reused only if the whole request was sent and the answer was complete, unambiguous and kept alive. Any
 * unexpected byte ends it. It never pipelines.
 */
export class Http1Connection {
  /** The owner's sweep in which it became idle or made progress; undefined if that was after the last sweep. */
  seenInSweep: number | undefined = 0;
  readonly #socket: TLSSocket;
  readonly #parser: ResponseParser;
  readonly #owner: Http1Owner;
  #attempt: Http1Attempt | undefined;
  /** The remaining bytes of a body, if its length is known. */
  #left: number | 'untilClose' = 0;
  #interim = 0;
  #requestComplete = true;
  #keepAlive = false;
  #dead = false;
  #closed = false;

  constructor(socket: TLSSocket, parser: ResponseParser, owner: Http1Owner) {
    this.#socket = socket;
    this.#parser = parser;
    this.#owner = owner;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  get dead(): boolean {
    return this.#dead;
  }

  get busy(): boolean {
    return this.#attempt !== undefined;
  }

  /** Sends a request with this head. The connection must be idle. */
  start(attempt: Http1Attempt, head: string): void {
    this.#attempt = attempt;
    this.#left = 0;
    this.#interim = 0;
    this.#keepAlive = false;
    this.#parser.reset(attempt.request.method === 'HEAD');
    attempt.sent = true;
    const { body } = attempt.request;
    this.#requestComplete = body === null;
    this.#socket.write(head, 'latin1');
    if (body !== null) this.#sendBody(attempt, body).catch(() => {});
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Ends the connection, and its request with a fault. */
  destroy(kind: FaultKind, error: Error): void {
    this.#fail(kind, error);
  }

  /** Ends the connection, whatever it is used for, even if upgraded. */
  abandon(error: Error): void {
    this.#fail('timeout', error);
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    const attempt = this.#attempt;
    if (attempt === undefined) {
      this.#fail('reset', new Error('the server sent bytes without a request'));
      return;
    }
    this.seenInSweep = undefined;
    if (this.#left !== 0) {
      this.#takeCounted(attempt, chunk, 0);
      return;
    }
    try {
      this.#parse(attempt, chunk);
    } catch (error) {
      if (!(error instanceof MalformedResponse)) throw error;
      this.#fail('answer', error);
    }
  };

  #parse(attempt: Http1Attempt, chunk: Buffer): void {
    const parser = this.#parser;
    let at = 0;
    while (at < chunk.length) {
      const hadHead = parser.headComplete && !parser.messageComplete;
      at = parser.read(chunk, at);
      const { pieces } = parser;
      for (let index = 0; index + 1 < pieces.length; index += 2) {
        attempt.handler.onData(chunk.subarray(pieces[index], pieces[index + 1]), false);
        if (this.#attempt !== attempt) return;
      }
      if (!hadHead && parser.headComplete) {
        if (this.#takeHead(attempt, chunk, at)) return;
      } else if (hadHead && parser.messageComplete) {
        this.#complete(attempt, at < chunk.length, trailers(parser));
        return;
      }
    }
  }

  /** Returns true if the rest of the chunk has been handled. */
  #takeHead(attempt: Http1Attempt, chunk: Buffer, at: number): boolean {
    const { status, framing, keepAlive, length } = this.#parser;
    if (status < 200) return this.#takeInterim(attempt, status, chunk, at);
    // The end of the connection proves nothing. Only Go's hijacked connections end an answer this way, when they refuse
    // an upgrade.
    if (framing === 'close' && attempt.request.upgrade === undefined)
      throw new MalformedResponse('the answer does not tell its length');
    this.#keepAlive = keepAlive && framing !== 'close';
    if (framing === 'length') this.#left = length;
    else if (framing === 'close') this.#left = 'untilClose';
    attempt.handler.onHead(status, this.#parser.takeFields());
    if (this.#attempt !== attempt) return true;
    if (framing === 'chunked') return false;
    if (this.#left === 0) this.#complete(attempt, at < chunk.length, []);
    else if (at < chunk.length) this.#takeCounted(attempt, chunk, at);
    return true;
  }

  #takeInterim(attempt: Http1Attempt, status: number, chunk: Buffer, at: number): boolean {
    if (status !== 101) {
      if (++this.#interim > maxInterim) throw new MalformedResponse('too many interim answers');
      attempt.handler.onInterim?.(status, this.#parser.takeFields());
      return false;
    }
    if (attempt.request.upgrade === undefined)
      throw new MalformedResponse('the server switched protocols without a request to');
    const socket = this.#socket;
    attempt.settled = true;
    this.#attempt = undefined;
    this.#dead = true;
    this.#parser.free();
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.pause();
    if (at < chunk.length) socket.unshift(chunk.subarray(at));
    attempt.handler.onUpgrade(this.#parser.takeFields(), socket);
    return true;
  }

  #takeCounted(attempt: Http1Attempt, chunk: Buffer, from: number): void {
    const length = chunk.length - from;
    const left = this.#left;
    if (left === 'untilClose' || length < left) {
      if (left !== 'untilClose') this.#left = left - length;
      attempt.handler.onData(from === 0 ? chunk : chunk.subarray(from), false);
      return;
    }
    const end = from + left;
    this.#left = 0;
    this.#complete(
      attempt,
      end < chunk.length,
      [],
      from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end),
    );
  }

  /** The connection is free before the handler is told, so that the handler cannot end it. */
  #complete(attempt: Http1Attempt, hasExtra: boolean, rawTrailers: string[], last?: Buffer): void {
    attempt.settled = true;
    this.#attempt = undefined;
    if (this.#keepAlive && this.#requestComplete && !hasExtra) {
      this.#socket.resume();
      this.#owner.onIdle(this);
    } else this.#discard();
    if (last !== undefined) attempt.handler.onData(last, true);
    attempt.handler.onEnd(rawTrailers);
  }

  #fail(kind: FaultKind, error: Error): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#discard();
    if (attempt === undefined || attempt.settled) return;
    attempt.settled = true;
    attempt.handler.onFault({ kind, sent: attempt.sent, error });
  }

  #discard(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#parser.free();
    this.#socket.destroy();
  }

  readonly #onEnd = (): void => {
    const attempt = this.#attempt;
    // A body that ends with the connection.
    if (attempt !== undefined && this.#left === 'untilClose') this.#complete(attempt, false, []);
    else this.#fail('reset', new Error('the server closed the connection'));
  };

  readonly #onError = (error: Error): void => {
    this.#fail('reset', error);
  };

  readonly #onClose = (): void => {
    this.#fail('reset', new Error('the connection was closed'));
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.onClosed(this);
  };

  async #sendBody(attempt: Http1Attempt, body: AsyncIterable<Uint8Array>): Promise<void> {
    const declared = readContentLength(attempt.request.rawHeaders);
    const length = typeof declared === 'number' ? declared : undefined;
    const socket = this.#socket;
    let sent = 0;
    try {
      for await (const chunk of body) {
        if (this.#attempt !== attempt) return;
        if (chunk.length === 0) continue;
        this.seenInSweep = undefined;
        sent += chunk.length;
        if (length !== undefined && sent > length) throw new Error('the body is longer than Content-Length');
        if (!this.#writePiece(chunk, length === undefined)) await drained(socket);
      }
      if (this.#attempt !== attempt) return;
      if (length !== undefined && sent < length) throw new Error('the body is shorter than Content-Length');
      if (length === undefined) socket.write('0\r\n\r\n', 'latin1');
      this.#requestComplete = true;
    } catch (error) {
      if (this.#attempt === attempt) this.#fail('aborted', error instanceof Error ? error : new Error(String(error)));
    }
  }

  #writePiece(chunk: Uint8Array, chunked: boolean): boolean {
    const socket = this.#socket;
    if (!chunked) return socket.write(chunk);
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    socket.write(chunk);
    const more = socket.write('\r\n', 'latin1');
    socket.uncork();
    return more;
  }
}

/** Resolves when the socket accepts more, or never will. */
function drained(socket: TLSSocket): Promise<void> {
  if (socket.destroyed || !socket.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

/** Trailers must not contain framing. RFC 9110, section 6.5.1. */
function trailers(parser: ResponseParser): string[] {
  const fields = parser.takeFields();
  const kept: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2)
    if (!/^(?:content-length|transfer-encoding|host|connection)$/i.test(fields[at] ?? ''))
      kept.push(fields[at] ?? '', fields[at + 1] ?? '');
  return kept;
}
