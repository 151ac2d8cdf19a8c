import type { TLSSocket } from 'node:tls';
import { type ClientUser, Http2ClientConnection } from '../http2/client-connection.ts';
import { canonicalName } from '../http2/common-names.ts';
import { errorCode } from '../http2/frames.ts';
import type { Http2Stream } from '../http2/stream.ts';
import type { AnswerHandler, Call, Dispatcher, FaultKind, HttpOrigin, HttpRequest } from './dispatch.ts';
import { ConnectFault, sweepMs } from './dispatch.ts';
import { encodeRequestFields } from './request-head.ts';
import { WaitingRequests } from './waiting-requests.ts';

/** HTTP/2 connections with one identity to one peer, for one kind of requests without a body. */
export interface Http2Pool extends Omit<Dispatcher, 'dispatch'> {
  /** False for some minutes after the peer turned out not to speak HTTP/2, or to take no request over it. */
  readonly usable: boolean;
  /** Calls `fallback` instead of the handler if the peer turns out not to speak HTTP/2. */
  dispatch(request: HttpRequest, handler: AnswerHandler, fallback: () => Call): Call;
}

/** Limits on the number of streams, and on idle or silent connections. */
export interface Http2Limits {
  readonly maxStreams: number;
  /** Per connection; the server may allow fewer. */
  readonly streamsPerConnection: number;
  /** Unread bytes accepted of one answer. */
  readonly streamWindow: number;
  /** Maximum wait for the head of an answer, or between two pieces of its body; undefined for no limit. */
  readonly answerTimeoutMs: number | undefined;
  readonly idleTimeoutMs: number;
  readonly pingEveryMs: number;
  /** The same while an answer is owed. */
  readonly pingOwedMs: number;
  /** From a verified connection to the server's first frame. */
  readonly setUpTimeoutMs: number;
}

/** How long to wait before trying HTTP/2 again at a server that accepts no requests over it. */
const tryAgainMs = 300_000;

interface Session {
  readonly connection: Http2ClientConnection;
  readonly attempts: Set<Http2Attempt>;
  idleSweeps: number;
  sweepsSincePing: number;
}

/** Multiplexes requests over few verified connections, and opens another when all are full. */
export function createHttp2Pool(target: HttpOrigin, open: () => Promise<TLSSocket>, limits: Http2Limits): Http2Pool {
  const { maxStreams, streamsPerConnection, answerTimeoutMs, idleTimeoutMs, pingEveryMs, pingOwedMs, setUpTimeoutMs } =
    limits;
  const sessions = new Set<Session>();
  let streams = 0;
  let usable = true;
  let sweepsUnusable = 0;
  let closed = false;

  const withRoom = () => {
    for (const held of sessions) if (held.connection.hasRoom()) return held;
    return undefined;
  };
  const startOn = (held: Session, attempt: Http2Attempt) => {
    streams++;
    held.attempts.add(attempt);
    attempt.startOn(held.connection, () => {
      held.attempts.delete(attempt);
      streams--;
    });
  };
  const startSomewhere = (attempt: Http2Attempt) => {
    const held = withRoom();
    if (held !== undefined) startOn(held, attempt);
    else if (closed) attempt.fail('aborted', new Error('the pool is closed'));
    else if (!usable) attempt.fallBack();
    else return false;
    return true;
  };
  const connectOne = async () => {
    try {
      const { connection } = await hold(await open());
      // Another one would be the same, and so on without end.
      if (connection.size() === 0 && !connection.hasRoom()) usable = false;
      if (closed) connection.leave();
    } catch (error) {
      if (!(error instanceof ConnectFault && error.speaksHttp1)) throw error;
      usable = false;
    }
  };
  const waiting = new WaitingRequests<Http2Attempt>({
    perConnection: streamsPerConnection,
    connect: connectOne,
    start: startSomewhere,
  });
  /** Until the server has announced its stream limit, it might refuse another stream. */
  const hold = (socket: TLSSocket) =>
    new Promise<Session>((resolve, reject) => {
      const timer = setTimeout(() => held.connection.destroy('no SETTINGS in time'), setUpTimeoutMs);
      const owner = {
        onReady: () => {
          clearTimeout(timer);
          sessions.add(held);
          resolve(held);
        },
        onRoom: () => {
          if (waiting.size > 0) waiting.serve();
        },
        onClose: () => {
          clearTimeout(timer);
          sessions.delete(held);
          reject(new ConnectFault('connect', `${target.address}: the connection closed before HTTP/2 was set up`));
        },
      };
      // The close event handles everything.
      socket.on('error', () => {});
      const bounds = { streamWindow: limits.streamWindow, maxStreams: streamsPerConnection };
      const connection = new Http2ClientConnection(socket, owner, bounds, () => performance.now());
      const held: Session = { connection, attempts: new Set(), idleSweeps: 0, sweepsSincePing: 0 };
    });
  const again = (attempt: Http2Attempt) => {
    if (!startSomewhere(attempt)) waiting.add(attempt);
  };
  const isFull = () => streams + waiting.size >= maxStreams;
  return {
    get usable() {
      return usable;
    },
    dispatch: (request, handler, fallback) => {
      const attempt = new Http2Attempt(target, request, handler, fallback, again);
      const held = withRoom();
      if (isFull()) waiting.prune();
      if (isFull()) {
        const error = new Error(`all ${maxStreams} streams to ${target.address} are in use`);
        queueMicrotask(() => attempt.fail('saturated', error));
      } else if (held !== undefined) startOn(held, attempt);
      else waiting.add(attempt);
      return attempt;
    },
    open: () => sessions.size + waiting.connecting,
    sweep: () => {
      // After a restart it may speak HTTP/2.
      if (!usable && ++sweepsUnusable > tryAgainMs / sweepMs) {
        usable = true;
        sweepsUnusable = 0;
      }
      for (const held of sessions) {
        const { connection, attempts } = held;
        if (answerTimeoutMs !== undefined)
          for (const attempt of attempts)
            if (++attempt.silentSweeps > answerTimeoutMs / sweepMs)
              attempt.giveUp(new Error(`${target.address}: no bytes for ${answerTimeoutMs} ms`));
        held.idleSweeps = attempts.size === 0 ? held.idleSweeps + 1 : 0;
        if (held.idleSweeps > idleTimeoutMs / sweepMs) {
          // Doesn't wait any longer for a server that does not close its side.
          if (held.idleSweeps > idleTimeoutMs / sweepMs + 5) connection.destroy('idle for too long');
          else connection.leave();
        } else if (++held.sweepsSincePing >= (attempts.size > 0 ? pingOwedMs : pingEveryMs) / sweepMs) {
          held.sweepsSincePing = 0;
          if (!connection.ping()) connection.destroy('no answer to a ping');
        }
      }
    },
    abandon: (error) => {
      waiting.fail('timeout', error);
      for (const { connection, attempts } of sessions) {
        for (const attempt of attempts) attempt.fail('timeout', error);
        connection.destroy(error.message);
      }
    },
    close: () => {
      closed = true;
      for (const { connection } of sessions) connection.leave();
    },
  };
}

/** One request from dispatch to its end. Calls do nothing once it is settled. */
class Http2Attempt implements Call, ClientUser {
  readonly isHead: boolean;
  settled = false;
  /** Sweeps since the last byte. */
  silentSweeps = 0;
  readonly #target: HttpOrigin;
  readonly #request: HttpRequest;
  readonly #handler: AnswerHandler;
  readonly #fallback: () => Call;
  readonly #again: (attempt: Http2Attempt) => void;
  #tries = 3;
  #instead: Call | undefined;
  #connection: Http2ClientConnection | undefined;
  #stream: Http2Stream | undefined;
  #release: () => void = () => {};
  #paused = false;
  #trailers: string[] = [];

  constructor(
    target: HttpOrigin,
    request: HttpRequest,
    handler: AnswerHandler,
    fallback: () => Call,
    again: (attempt: Http2Attempt) => void,
  ) {
    this.isHead = request.method === 'HEAD';
    this.#target = target;
    this.#request = request;
    this.#handler = handler;
    this.#fallback = fallback;
    this.#again = again;
  }

  startOn(connection: Http2ClientConnection, release: () => void): void {
    this.#release = release;
    this.#connection = connection;
    this.silentSweeps = 0;
    const fields = encodeRequestFields(this.#target, this.#request);
    if (fields.kind === 'bad') queueMicrotask(() => this.fail('request', new Error(fields.message)));
    else if (connection.takesFields(fieldBytes(this.#request))) this.#stream = connection.request(fields.text, this);
    else {
      // HTTP/1.1 counts only the bytes of a head, so a server may accept there what is too large here.
      this.#leave();
      this.fallBack();
    }
  }

  onInterim(status: number, rawHeaders: string[]): void {
    this.silentSweeps = 0;
    if (!this.settled) this.#handler.onInterim?.(status, named(rawHeaders));
  }

  onAnswer(status: number, rawHeaders: string[]): void {
    this.silentSweeps = 0;
    if (!this.settled) this.#handler.onHead(status, named(rawHeaders));
  }

  onData(chunk: Buffer): boolean {
    this.silentSweeps = 0;
    if (!this.settled) this.#handler.onData(chunk, false);
    return !this.#paused;
  }

  onTrailers(rawTrailers: string[]): void {
    this.#trailers = named(rawTrailers);
  }

  onEnd(): void {}

  onRoom(): void {}

  onClosed(complete: boolean): void {
    const stream = this.#stream;
    this.#leave();
    if (this.settled) return;
    if (complete) {
      this.settled = true;
      this.#handler.onEnd(this.#trailers);
      return;
    }
    // The server has not processed a refused stream: most likely it crossed a GOAWAY, and it goes over another
    // connection. RFC 9113, section 8.7. If the server has answered anything, it has processed the request, whatever it
    // says later.
    const isAnswered = stream !== undefined && stream.answered !== 0;
    const sent = isAnswered || (stream?.localEnded === true && stream.resetCode !== errorCode.refusedStream);
    if (!sent) {
      this.#stream = undefined;
      // Other requests keep ending this connection; alone, the request is not in their way.
      if (--this.#tries > 0) this.#again(this);
      else this.fallBack();
      return;
    }
    this.settled = true;
    const kind = this.#connection?.isAlive() === true ? 'answer' : 'reset';
    const why = stream?.resetCode === undefined ? 'the connection broke' : `reset with code ${stream.resetCode}`;
    this.#handler.onFault({ kind, sent, error: new Error(`${this.#target.address}: ${why}`) });
  }

  fallBack(): void {
    if (!this.settled) this.#instead = this.#fallback();
    if (this.#paused) this.#instead?.pause();
    this.settled = true;
  }

  fail(kind: FaultKind, error: Error): void {
    this.#leave();
    if (this.settled) return;
    this.settled = true;
    this.#handler.onFault({ kind, sent: this.#stream !== undefined, error });
  }

  /** The server is silent. A client that does not read is not the server's fault. */
  giveUp(error: Error): void {
    if (this.settled || this.#paused) return;
    this.fail('timeout', error);
    this.#stream?.reset(errorCode.cancel);
  }

  pause(): void {
    this.#paused = true;
    this.#instead?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.silentSweeps = 0;
    this.#instead?.resume();
    if (!this.settled) this.#stream?.resume();
  }

  abort(reason: Error): void {
    this.#instead?.abort(reason);
    if (this.settled) return;
    this.settled = true;
    this.#stream?.reset(errorCode.cancel);
    this.#handler.onFault({ kind: 'aborted', sent: this.#stream !== undefined, error: reason });
  }

  #leave(): void {
    this.#release();
    this.#release = () => {};
  }
}

/**
 * Names in HTTP/1.1's usual spelling, because code that passes fields on does not know which protocol they came over.
 */
function named(fields: readonly string[]): string[] {
  return fields.map((text, at) => (at % 2 === 0 ? canonicalName(text) : text));
}

/** The size of a request's fields as HTTP/2 counts it, including pseudo fields. RFC 9113, section 6.5.2. */
function fieldBytes({ method, path, rawHeaders }: HttpRequest): number {
  let bytes = pseudoFieldBytes + method.length + path.length + 16 * rawHeaders.length;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

/** Names, `https`, and 32 bytes for each of `:method`, `:scheme`, `:path` and `:authority`. */
const pseudoFieldBytes = 160;
