import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { PeerCall, PeerFaultKind, PeerHandler, PeerRequest, PeerTarget } from '../../proxy/ports.ts';
import { ConnectFault } from './connect-peer.ts';
import { maxHandshakes, sweepMs } from './http1-pool.ts';
import { toHttp2Headers } from './request-head.ts';

/** HTTP/2 sessions to one peer with one identity, for requests that last and have no body. */
export interface Http2Sessions {
  /** False once the peer was seen not to speak HTTP/2. */
  readonly usable: boolean;
  /** `fallback` is called instead of the handler if the peer turns out not to speak HTTP/2. */
  dispatch(request: PeerRequest, handler: PeerHandler, fallback: () => PeerCall): PeerCall;
  /** Sessions that stand or are being made. */
  open(): number;
  /** Ends what is idle for too long or does not answer a ping; to be called every `sweepMs`. */
  sweep(): void;
  close(): void;
}

/** How many streams, and how long a session may be idle or say nothing. */
export interface Http2Limits {
  readonly maxStreams: number;
  readonly idleTimeoutMs: number;
  readonly pingEveryMs: number;
  /** From a verified connection to the server's first frame. */
  readonly setUpTimeoutMs: number;
}

/** Few enough that all of them, unread, do not fill the session's window and stop each other. */
const streamsPerSession = 100;
const streamWindow = 64 * 1024;
const sessionWindow = (streamsPerSession + 1) * streamWindow;

interface Session {
  readonly session: ClientHttp2Session;
  readonly socket: TLSSocket;
  streams: number;
  /** The peer has said that it takes no more. RFC 9113, section 6.8. */
  leaving: boolean;
  idleSweeps: number;
  sweepsSincePing: number;
  pinged: boolean;
}

/** Multiplexes long requests over few verified connections, a further one whenever all are full. */
export function createHttp2Sessions(
  target: PeerTarget,
  open: () => Promise<TLSSocket>,
  { maxStreams, idleTimeoutMs, pingEveryMs, setUpTimeoutMs }: Http2Limits,
): Http2Sessions {
  const sessions = new Set<Session>();
  const waiting: Http2Attempt[] = [];
  let connecting = 0;
  let streams = 0;
  let usable = true;
  let closed = false;

  const roomIn = (held: Session) =>
    !held.leaving &&
    !held.session.closed &&
    !held.session.destroyed &&
    held.streams < Math.min(streamsPerSession, held.session.remoteSettings?.maxConcurrentStreams ?? streamsPerSession);
  const withRoom = () => {
    for (const held of sessions) if (roomIn(held)) return held;
    return undefined;
  };
  const startOn = (held: Session, attempt: Http2Attempt) => {
    held.streams++;
    streams++;
    attempt.startOn(held.session, () => {
      held.streams--;
      streams--;
    });
  };
  const serveWaiting = () => {
    while (waiting.length > 0) {
      const held = withRoom();
      if (held === undefined) break;
      const attempt = waiting.shift();
      if (attempt !== undefined && !attempt.settled) startOn(held, attempt);
    }
    // Each session that is being made will take its share.
    while (usable && connecting < maxHandshakes && waiting.length > connecting * streamsPerSession) void connectOne();
  };
  const connectOne = async () => {
    connecting++;
    try {
      const socket = await open();
      await hold(socket);
      if (closed) for (const { session } of sessions) session.close();
    } catch (error) {
      const fault = error instanceof ConnectFault ? error : new ConnectFault('connect', String(error), error);
      if (fault.speaksHttp1) usable = false;
      for (const attempt of waiting.splice(0)) {
        if (fault.speaksHttp1) attempt.fallBack();
        else attempt.fail(fault.kind, fault);
      }
    } finally {
      connecting--;
    }
    serveWaiting();
  };
  const hold = async (socket: TLSSocket) => {
    const session = connect(`https://${target.address}`, {
      createConnection: () => socket,
      maxSessionMemory: 64,
      maxHeaderListPairs: 1_000,
      settings: { enablePush: false, initialWindowSize: streamWindow, maxHeaderListSize: 256 * 1024 },
    });
    const held: Session = {
      session,
      socket,
      streams: 0,
      leaving: false,
      idleSweeps: 0,
      sweepsSincePing: 0,
      pinged: false,
    };
    session.setLocalWindowSize(sessionWindow);
    session.on('error', () => {});
    session.on('goaway', () => {
      held.leaving = true;
      session.close();
    });
    session.once('close', () => sessions.delete(held));
    // Until the server has said how many streams it takes, a further one would wait in vain.
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new ConnectFault('connect', `${target.address}: HTTP/2 was not set up`));
      const timer = setTimeout(() => {
        session.destroy();
        socket.destroy();
        fail();
      }, setUpTimeoutMs);
      session.once('remoteSettings', () => resolve());
      session.once('close', fail);
      for (const event of ['remoteSettings', 'close'] as const) session.once(event, () => clearTimeout(timer));
    });
    sessions.add(held);
  };
  const ping = (held: Session) => {
    if (held.pinged) return held.session.destroy(new Error('no answer to a ping'), constants.NGHTTP2_CANCEL);
    held.pinged = true;
    held.sweepsSincePing = 0;
    held.session.ping(() => {
      held.pinged = false;
    });
  };
  const again = (attempt: Http2Attempt) => {
    waiting.push(attempt);
    serveWaiting();
  };
  return {
    get usable() {
      return usable;
    },
    dispatch: (request, handler, fallback) => {
      const attempt = new Http2Attempt(target, request, handler, fallback, again);
      // Whose client has left meanwhile waits for nothing any more.
      while (waiting[0]?.settled === true) waiting.shift();
      const held = withRoom();
      if (streams + waiting.length >= maxStreams) {
        const error = new Error(`all ${maxStreams} streams to ${target.address} are in use`);
        queueMicrotask(() => attempt.fail('saturated', error));
      } else if (held !== undefined) startOn(held, attempt);
      else {
        waiting.push(attempt);
        serveWaiting();
      }
      return attempt;
    },
    open: () => sessions.size + connecting,
    sweep: () => {
      for (const held of sessions) {
        // A session that was destroyed while it was leaving is not closed before its server answers, if it ever does.
        if (held.session.destroyed) {
          sessions.delete(held);
          held.socket.destroy();
          continue;
        }
        held.idleSweeps = held.streams === 0 ? held.idleSweeps + 1 : 0;
        if (held.idleSweeps > idleTimeoutMs / sweepMs) held.session.close();
        else if (++held.sweepsSincePing >= pingEveryMs / sweepMs) ping(held);
      }
    },
    close: () => {
      closed = true;
      for (const { session } of sessions) session.close();
    },
  };
}

/** One request from dispatch to its end; a call on it does nothing once it is settled. */
class Http2Attempt implements PeerCall {
  settled = false;
  readonly #target: PeerTarget;
  readonly #request: PeerRequest;
  readonly #handler: PeerHandler;
  readonly #fallback: () => PeerCall;
  readonly #again: (attempt: Http2Attempt) => void;
  #tries = 3;
  #instead: PeerCall | undefined;
  #stream: ClientHttp2Stream | undefined;
  #release: () => void = () => {};
  #paused = false;
  #ended = false;
  #trailers: string[] = [];

  constructor(
    target: PeerTarget,
    request: PeerRequest,
    handler: PeerHandler,
    fallback: () => PeerCall,
    again: (attempt: Http2Attempt) => void,
  ) {
    this.#target = target;
    this.#request = request;
    this.#handler = handler;
    this.#fallback = fallback;
    this.#again = again;
  }

  startOn(session: ClientHttp2Session, release: () => void): void {
    this.#release = release;
    const headers = toHttp2Headers(this.#target, this.#request);
    if (headers.kind === 'bad') {
      queueMicrotask(() => this.fail('request', new Error(headers.message)));
      return;
    }
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(headers.rawHeaders, { endStream: true });
    } catch (error) {
      // Node refuses what it takes for a mistake of its caller, such as two User-Agent fields; it is the client's.
      queueMicrotask(() => this.fail('request', error instanceof Error ? error : new Error(String(error))));
      return;
    }
    this.#stream = stream;
    stream.on('response', (_headers, _flags, raw) => this.#onResponse(raw as unknown as string[]));
    stream.on('trailers', (_headers, _flags, raw) => {
      this.#trailers = [...(raw as unknown as string[])];
    });
    stream.once('end', () => {
      this.#ended = true;
    });
    stream.on('error', () => {});
    stream.once('close', () => this.#onClose(stream));
  }

  #onResponse(raw: readonly string[]): void {
    if (this.settled) return;
    const fields: string[] = [];
    let status = 0;
    for (let at = 0; at + 1 < raw.length; at += 2) {
      if (raw[at] === ':status') status = Number(raw[at + 1]);
      else fields.push(raw[at] ?? '', raw[at + 1] ?? '');
    }
    this.#handler.onHead(status, fields);
    if (this.settled) return;
    this.#stream?.on('data', (chunk: Buffer) => {
      if (!this.settled) this.#handler.onData(chunk, false);
    });
    if (this.#paused) this.#stream?.pause();
  }

  #onClose(stream: ClientHttp2Stream): void {
    this.#release();
    this.#release = () => {};
    if (this.settled) return;
    if (this.#ended && stream.rstCode === constants.NGHTTP2_NO_ERROR) {
      this.settled = true;
      this.#handler.onEnd(this.#trailers);
      return;
    }
    // A refused stream was not looked at: it crossed a GOAWAY, most likely, and goes over another session. RFC 9113, 8.7.
    const sent = stream.rstCode !== constants.NGHTTP2_REFUSED_STREAM;
    if (!sent && --this.#tries > 0) {
      this.#stream = undefined;
      this.#again(this);
      return;
    }
    this.settled = true;
    const error = new Error(`${this.#target.address}: the HTTP/2 stream ended with code ${stream.rstCode}`);
    this.#handler.onFault({ kind: 'reset', sent, error });
  }

  fallBack(): void {
    if (!this.settled) this.#instead = this.#fallback();
    if (this.#paused) this.#instead?.pause();
    this.settled = true;
  }

  fail(kind: PeerFaultKind, error: Error): void {
    this.#release();
    this.#release = () => {};
    if (this.settled) return;
    this.settled = true;
    this.#handler.onFault({ kind, sent: this.#stream !== undefined, error });
  }

  pause(): void {
    this.#paused = true;
    this.#instead?.pause();
    if (!this.settled) this.#stream?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#instead?.resume();
    if (!this.settled) this.#stream?.resume();
  }

  abort(reason: Error): void {
    this.#instead?.abort(reason);
    if (this.settled) return;
    this.settled = true;
    this.#stream?.close(constants.NGHTTP2_CANCEL);
    this.#handler.onFault({ kind: 'aborted', sent: this.#stream !== undefined, error: reason });
  }
}
