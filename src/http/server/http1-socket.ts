import type { Duplex } from 'node:stream';
import { DiscardedBytes } from '../discarded-bytes.ts';
import { headerValue, type RawHeaders } from '../fields.ts';
import type { RequestParser, RequestProblem } from '../llhttp/request-parser.ts';
import { statusLine } from './answer-head.ts';
import type { HttpConnection } from './exchange.ts';
import type { FrontOptions, UpgradeRequest } from './front-options.ts';
import type { HeadRoom } from './head-room.ts';
import { type Counted, type Keeper, pieceCost, unsentCost } from './held-bytes.ts';
import { Http1Exchange, type Http1Wire } from './http1-exchange.ts';
import { examineHead, type HeadFacts } from './objections.ts';
import { type HttpRefusal, noHeadRoom } from './refusal.ts';
import { RepeatedHead } from './repeated-head.ts';
import { RequestBody } from './request-body.ts';
import { splice } from './splice.ts';
import type { Turns } from './turns.ts';

/** State that all connections of a front share. */
export interface Http1Shared<Connection extends HttpConnection> extends FrontOptions<Connection> {
  readonly room: HeadRoom;
  readonly turns: Turns;
  isDraining(): boolean;
  flushSoon(exchange: Http1Exchange<Connection>): void;
  /** Calls {@link Http1Socket.takeNext} when it is this connection's turn. */
  waitForTurn(socket: Http1Socket<Connection>): void;
  onClosed(socket: Http1Socket<Connection>): void;
}

/**
 * The event that a connection waits for: its first request, the next one, the rest of a head, the end of a request with
 * its answer, a peer's answer to an upgrade, or the client's end after this side's.
 */
type Phase = 'fresh' | 'idle' | 'head' | 'busy' | 'upgrading' | 'lingering' | 'over';

/** How long a client may take to close a connection that this side has ended. Closing at once might lose the answer. */
const lingerMs = 5_000;

/** Bytes of pipelined requests that may be read before the answer is complete. */
const maxAheadBytes = 64 * 1024;

/**
 * One client connection over HTTP/1.x.
 *
 * It handles one request at a time: pipelined requests are read up to a limit, and parsed only once the previous answer
 * is complete. Bytes after a refused request are never parsed.
 */
export class Http1Socket<Connection extends HttpConnection> implements Http1Wire<Connection>, Keeper {
  readonly client: Connection;
  readonly #socket: Duplex;
  readonly #parser: RequestParser;
  readonly #shared: Http1Shared<Connection>;
  readonly #repeated = new RepeatedHead();
  #phase: Phase = 'fresh';
  /** When the phase began; set by the next sweep. */
  #since: number | undefined;
  #exchange: Http1Exchange<Connection> | undefined;
  #body: RequestBody | undefined;
  /** Bytes reserved for the present head. */
  #headBytes = 0;
  /** Remaining bytes of a body with Content-Length; undefined for a chunked one. */
  #left: number | undefined = 0;
  /** True while the reader of the body accepts no more. */
  #isFull = false;
  /** Bytes that the client sent before the present answer was complete. */
  #ahead: Buffer[] = [];
  #aheadBytes = 0;
  /** True while a partial head waits for its turn. */
  #waits = false;
  readonly #discarded = new DiscardedBytes();
  /** The server's side of a connection that was handed over. */
  #peer: Duplex | undefined;

  constructor(socket: Duplex, client: Connection, parser: RequestParser, shared: Http1Shared<Connection>) {
    this.#socket = socket;
    this.client = client;
    this.#parser = parser;
    this.#shared = shared;
    parser.reset();
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
    socket.on('end', this.#onEnd);
    socket.on('data', this.#onData);
  }

  /** Ends a wait that has passed its deadline. */
  sweep(now: number): void {
    if (this.#phase === 'busy' || this.#phase === 'upgrading' || this.#phase === 'over') return;
    if (this.#since === undefined) {
      this.#since = now;
      return;
    }
    const { idleTimeoutMs, readHeaderTimeoutMs } = this.#shared.limits;
    const took = now - this.#since;
    if (this.#phase === 'lingering') {
      if (took >= lingerMs) this.#socket.destroy();
    } else if (this.#phase === 'idle') {
      if (took < idleTimeoutMs) return;
      this.#shared.onLimit('idle_timeout');
      this.#linger();
    } else if (took >= readHeaderTimeoutMs)
      this.#refuse('header_timeout', { status: 408, message: 'the request head did not come in time' });
  }

  get owner(): string | undefined {
    return this.client.owner;
  }

  keptBytes(counted: Counted): number {
    const ahead = this.#aheadBytes + pieceCost * this.#ahead.length;
    const passing = bufferedBytes(this.#socket) + (this.#peer === undefined ? 0 : bufferedBytes(this.#peer));
    return ahead + passing + this.#parser.heldBytes + this.#repeated.size + this.#shared.memoryOf(this.client, counted);
  }

  /** Ends the connection if it has nothing to do. */
  closeIfIdle(): void {
    if (this.#phase === 'idle' && this.#ahead.length === 0) this.#linger();
  }

  isClosing(): boolean {
    return this.#shared.isDraining() || this.client.isLeaving === true || this.#shared.sendsAway();
  }

  send(bytes: Uint8Array, last: boolean): void {
    if (this.#socket.destroyed) return;
    if (!last) this.#socket.write(bytes);
    else if (bytes.length > 0) this.#socket.write(bytes, this.#onSent);
    else queueMicrotask(this.#onSent);
  }

  flushSoon(exchange: Http1Exchange<Connection>): void {
    this.#shared.flushSoon(exchange);
  }

  waiting(): number {
    return this.#socket.writableLength;
  }

  sendInterim(head: string): void {
    this.#socket.write(head, 'latin1');
  }

  onAnswered(exchange: Http1Exchange<Connection>): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    this.#body = undefined;
    this.#resizeHead(0);
    if (exchange.isLast || this.#shared.isDraining()) {
      this.#linger();
      return;
    }
    this.#enter('idle');
    this.#parser.reset();
    // Otherwise, a request that is answered at once would be finished before any other connection is read.
    if (this.#ahead.length > 0) this.#shared.waitForTurn(this);
  }

  /** Reads the pipelined bytes, up to the end of the next request. */
  takeNext(): void {
    if (this.#phase !== 'idle') return;
    const ahead = this.#ahead;
    this.#ahead = [];
    this.#aheadBytes = 0;
    for (const chunk of ahead) this.#onData(chunk);
    // Only then, because each answer would otherwise trigger the next read, whatever has arrived.
    this.#readOn();
  }

  /** Waits with bytes of a head until it is this connection's turn. */
  #waitWith(chunk: Buffer): void {
    this.#waits = true;
    this.#keepAhead(chunk);
    this.#socket.pause();
    this.#shared.turns.wait(this.#onTurn);
  }

  readonly #onTurn = (): void => {
    this.#waits = false;
    const ahead = this.#ahead;
    this.#ahead = [];
    this.#aheadBytes = 0;
    for (const chunk of ahead) this.#onData(chunk);
    this.#readOn();
  };

  #readOn(): void {
    if (this.#waits) return;
    if (this.#phase !== 'upgrading' && !this.#isFull && !this.#hasEnough()) this.#socket.resume();
  }

  /** Below, reading continues, so that the client's end is noticed. */
  #hasEnough(): boolean {
    return (
      this.#aheadBytes + pieceCost * this.#ahead.length > Math.min(maxAheadBytes, this.#shared.limits.maxHeaderBytes)
    );
  }

  cut(): void {
    this.#socket.destroy();
  }

  /** The reader of the body wants more. */
  onRoom(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#socket.resume();
  }

  readonly #onSent = (error?: Error | null): void => {
    // On an error the connection's end reports it.
    if (!error) this.#exchange?.onSent();
  };

  readonly #onDrain = (): void => {
    this.#exchange?.onDrained();
  };

  readonly #onData = (chunk: Buffer): void => {
    switch (this.#phase) {
      case 'fresh':
      case 'idle':
      case 'head':
        // Bytes that arrived before are read first.
        if (this.#ahead.length > 0) this.#keepAhead(chunk);
        else if (this.client.owner !== undefined || this.#shared.turns.take(chunk.length)) this.#parse(chunk);
        else this.#waitWith(chunk);
        return;
      case 'busy':
        if (this.#body === undefined || this.#body.complete) this.#keepAhead(chunk);
        else this.#takeBody(this.#body, chunk, 0);
        return;
      case 'upgrading':
        this.#keepAhead(chunk);
        return;
      case 'lingering':
      case 'over':
        this.#discarded.drop(this.#socket, chunk.length);
        return;
    }
  };

  readonly #onEnd = (): void => {
    switch (this.#phase) {
      case 'fresh':
      case 'idle':
        this.#linger();
        return;
      case 'head':
        this.#refuse('ambiguous', { status: 400, message: 'the client left in the middle of a head' });
        return;
      case 'busy':
      case 'upgrading':
        // A pending answer still arrives.
        if (this.#exchange?.ended() === true) this.#exchange.isLast = true;
        else this.#socket.destroy();
        return;
      case 'lingering':
      case 'over':
        return;
    }
  };

  readonly #onError = (error: Error): void => {
    this.#shared.log.debug('client connection failed', { error: error.message, client: this.client.remoteAddress });
  };

  readonly #onClose = (): void => {
    if (this.#phase !== 'over') this.#parser.free();
    this.#phase = 'over';
    this.#resizeHead(0);
    this.#shared.onClosed(this);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.abandon();
  };

  /** False if there is no room for a head of this size. */
  #resizeHead(bytes: number): boolean {
    if (!this.#shared.room.resize(this.#headBytes, bytes)) return false;
    this.#headBytes = bytes;
    return true;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#since = undefined;
  }

  /** Ends this side, and waits for the client's end. */
  #linger(): void {
    this.#enter('lingering');
    // Nothing more is read, so a partial head need not be kept until the client closes.
    this.#parser.reset();
    this.#resizeHead(0);
    this.#ahead = [];
    this.#socket.resume();
    if (!this.#socket.writableEnded) this.#socket.end();
  }

  /** Answers a request that cannot be read to its end. `refusal` contains nothing that the client sent. */
  #refuse(limit: string, refusal: HttpRefusal): void {
    const { log, onLimit, writeRefusal } = this.#shared;
    log.debug('malformed request', { error: refusal.message, client: this.client.remoteAddress });
    onLimit(limit);
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange !== undefined && exchange.status() !== 0) this.#socket.destroy();
    else {
      this.#socket.write(lastAnswer(refusal, writeRefusal(refusal), exchange?.method !== 'HEAD'), 'latin1');
      this.#linger();
    }
    exchange?.abandon();
  }

  #refuseFor(problem: RequestProblem): void {
    const { reason } = this.#parser;
    if (problem === 'malformed') this.#refuse('ambiguous', { status: 400, message: reason });
    else this.#refuse('header_bytes', { status: 431, message: reason });
  }

  #parse(chunk: Buffer): void {
    const parser = this.#parser;
    // Only a head that begins with its chunk can be remembered, or match the remembered one.
    const isFirst = !parser.begun;
    const target = isFirst ? this.#repeated.match(chunk, this.#shared.limits.maxHeaderBytes) : undefined;
    if (target !== undefined) {
      const { rawHeaders } = this.#repeated;
      const request = { method: 'GET', target, rawHeaders, version: '1.1', body: undefined, waitsForContinue: false };
      this.#exchange = new Http1Exchange(this, request, false);
      this.#phase = 'busy';
      this.#handle(this.#exchange);
      return;
    }
    const at = parser.read(chunk, 0);
    if (parser.problem !== undefined) this.#refuseFor(parser.problem);
    else if (!this.#resizeHead(parser.headBytes)) this.#refuse('long_heads', noHeadRoom);
    else if (parser.headComplete) this.#start(chunk, at, isFirst);
    else if (parser.begun && this.#phase === 'fresh') this.#phase = 'head';
    else if (parser.begun && this.#phase === 'idle') this.#enter('head');
  }

  #start(chunk: Buffer, at: number, isFirst: boolean): void {
    const parser = this.#parser;
    const { method, target, version, rawHeaders } = parser;
    const facts = examineHead(parser);
    const { chunked, length } = facts;
    const asksToSwitch = parser.upgrade && version === '1.1';
    const body = chunked || length > 0 ? new RequestBody(this) : undefined;
    const isUpgrade =
      asksToSwitch && this.#shared.isUpgrade(protocolOf(rawHeaders), method, target, { hasBody: body !== undefined });
    const waitsForContinue = facts.expect !== undefined && version === '1.1';
    const request = { method, target, rawHeaders, version, body, waitsForContinue };
    const exchange = new Http1Exchange(this, request, asksToSwitch || !parser.keepAlive);
    this.#exchange = exchange;
    this.#phase = 'busy';
    if (this.#isObjectedTo(exchange, facts, isUpgrade)) return;
    const isWhole = isFirst && at === chunk.length;
    if (isWhole && method === 'GET' && body === undefined && !exchange.isLast && !waitsForContinue)
      this.#repeated.remember(chunk, rawHeaders);
    if (isUpgrade) {
      this.#startUpgrade(exchange, chunk.subarray(at));
      return;
    }
    this.#body = body;
    if (body !== undefined) {
      this.#left = chunked ? undefined : length;
      if (at < chunk.length) this.#takeBody(body, chunk, at);
      // The exchange may have broken meanwhile.
      if (this.#exchange !== exchange) return;
    } else if (at < chunk.length) this.#keepAhead(chunk.subarray(at));
    this.#handle(exchange);
  }

  /** Answers a request that must not be handled. */
  #isObjectedTo(exchange: Http1Exchange<Connection>, { objection, expect }: HeadFacts, isUpgrade: boolean): boolean {
    const { maxHeaderFields } = this.#shared.limits;
    if (this.#parser.fieldCount > maxHeaderFields) {
      this.#reject(exchange, 'header_fields', { status: 431, message: `more than ${maxHeaderFields} header fields` });
      return true;
    }
    const found =
      objection ?? (isUpgrade && exchange.hasBody ? 'a request to upgrade must not have a body' : undefined);
    if (found !== undefined) this.#reject(exchange, 'ambiguous', { status: 400, message: found });
    else if (exchange.protocol === 'HTTP/1.1' && expect !== undefined && expect.toLowerCase() !== '100-continue')
      this.#reject(exchange, 'ambiguous', {
        status: 417,
        message: 'the only Expect that is supported is 100-continue',
      });
    else return false;
    return true;
  }

  #handle(exchange: Http1Exchange<Connection>, upgrade?: UpgradeRequest): void {
    try {
      this.#shared.onExchange(exchange, upgrade);
    } catch (error) {
      this.#shared.log.error('a request could not be handled', { error: String(error) });
      exchange.destroy();
    }
  }

  #reject(exchange: Http1Exchange<Connection>, limit: string, refusal: HttpRefusal): void {
    this.#shared.onLimit(limit);
    // The following bytes may be a part of it that another server would read differently, so they are ignored.
    exchange.isLast = true;
    this.#shared.onRefusal(exchange, refusal);
  }

  #startUpgrade(exchange: Http1Exchange<Connection>, rest: Buffer): void {
    this.#phase = 'upgrading';
    const socket = this.#socket;
    // Bytes that the client sends before the answer are for the peer. After a refusal they are dropped.
    socket.pause();
    this.#handle(exchange, {
      protocol: protocolOf(exchange.rawHeaders),
      accept: (rawHeaders, peer) => {
        if (this.#phase !== 'upgrading') {
          peer.destroy();
          return;
        }
        this.#phase = 'over';
        this.#resizeHead(0);
        this.#parser.free();
        this.#peer = peer;
        peer.on('data', (chunk: Buffer) => this.client.keptBytes?.note(chunk.length));
        socket.off('data', this.#onData);
        socket.off('end', this.#onEnd);
        socket.off('drain', this.#onDrain);
        splice(socket, Buffer.concat([rest, ...this.#ahead]), rawHeaders, peer);
      },
    });
  }

  #keepAhead(chunk: Buffer): void {
    this.#ahead.push(chunk);
    this.#aheadBytes += chunk.length;
    if (this.#hasEnough()) this.#socket.pause();
  }

  #takeBody(body: RequestBody, chunk: Buffer, from: number): void {
    const left = this.#left;
    const wants =
      left === undefined ? this.#takeChunked(body, chunk, from) : this.#takeCounted(body, chunk, from, left);
    if (wants || this.#phase !== 'busy') return;
    this.#isFull = true;
    this.#socket.pause();
  }

  #takeCounted(body: RequestBody, chunk: Buffer, from: number, before: number): boolean {
    const end = Math.min(chunk.length, from + before);
    const left = before - (end - from);
    this.#left = left;
    const wants = body.push(chunk.subarray(from, end));
    if (left > 0) return wants;
    body.finish();
    if (end < chunk.length) this.#keepAhead(chunk.subarray(end));
    return true;
  }

  #takeChunked(body: RequestBody, chunk: Buffer, from: number): boolean {
    const parser = this.#parser;
    const at = parser.read(chunk, from);
    const { pieces } = parser;
    if (parser.problem !== undefined) {
      this.#refuseFor(parser.problem);
      return true;
    }
    const wants = pieces.length === 0 || body.push(joinPieces(chunk, pieces));
    if (!parser.messageComplete) return wants;
    body.finish();
    if (at < chunk.length) this.#keepAhead(chunk.subarray(at));
    return true;
  }
}

/** The last answer of a connection, as latin1. */
function lastAnswer(
  { status, retryAfterSeconds }: HttpRefusal,
  { contentType, body }: { readonly contentType: string; readonly body: Buffer },
  withBody: boolean,
): string {
  const about = `Content-Type: ${contentType}\r\nContent-Length: ${body.length}\r\nCache-Control: no-cache, private\r\n`;
  const retry = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`;
  const head = `${statusLine(status)}${about}${retry}Connection: close\r\n\r\n`;
  return withBody ? head + body.toString('latin1') : head;
}

/** The memory of a socket: received bytes that were not accepted, and bytes to send. */
function bufferedBytes({ readableLength, writableLength }: Duplex): number {
  return readableLength + unsentCost * writableLength;
}

function protocolOf(rawHeaders: RawHeaders): string {
  return headerValue(rawHeaders, 'upgrade') ?? '';
}

/** The data of chunks as one piece; a copy if a small piece would keep a large buffer in memory. */
function joinPieces(chunk: Buffer, pieces: readonly number[]): Uint8Array {
  if (pieces.length === 2 && (pieces[1] ?? 0) - (pieces[0] ?? 0) > chunk.length / 2)
    return chunk.subarray(pieces[0], pieces[1]);
  const parts: Buffer[] = [];
  for (let at = 0; at + 1 < pieces.length; at += 2) parts.push(chunk.subarray(pieces[at], pieces[at + 1]));
  return Buffer.concat(parts);
}
