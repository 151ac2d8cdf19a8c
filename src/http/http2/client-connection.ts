import type { Duplex } from 'node:stream';
import { readContentLength } from '../content-length.ts';
import { type ConnectionSetting, fault, Http2Connection, type Http2Fault } from './connection.ts';
import { errorCode, preface, setting } from './frames.ts';
import { areTrailers, isConnectionField } from './read-request-fields.ts';
import type { Http2Stream, StreamUser } from './stream.ts';

/** Receives one answer. `onClosed(true)` means that the answer was complete. */
export interface ClientUser extends StreamUser {
  /** True for a HEAD request: its answer has no body, whatever its Content-Length says. */
  readonly isHead: boolean;
  onInterim(status: number, rawHeaders: string[]): void;
  /** `rawHeaders` alternates names and values. The callee owns it. */
  onAnswer(status: number, rawHeaders: string[]): void;
  onTrailers(rawTrailers: string[]): void;
}

/** Receives the events of the connection. */
export interface ClientOwner {
  /** The server's SETTINGS have arrived, so its stream limit is known. */
  onReady(): void;
  /** Another stream may fit now. */
  onRoom(): void;
  /** The socket has closed, or the server broke the protocol. The connection is unusable. */
  onClose(): void;
}

/** Bounds of a connection. */
export interface ClientLimits {
  /** Bytes of one answer that the server may send before this side reads any. */
  readonly streamWindow: number;
  /** Concurrent streams; the server may allow fewer. */
  readonly maxStreams: number;
}

/** As much as Go's servers accept in a request by default (`DefaultMaxHeaderBytes` of `net/http`). */
const maxAnswerFieldBytes = 1024 * 1024;
/** Interim (1xx) answers allowed before the final one. Without a limit, a server could send them forever. */
const maxInterim = 16;
/** Resets after which the connection is retired. Go's server closes one whose queue holds 4 x its limit of them. */
const maxResets = 100;

/**
 * The client's side of a connection, for requests without a body.
 *
 * An unread answer blocks no other one: the connection window is as large as all stream windows together.
 */
export class Http2ClientConnection extends Http2Connection {
  readonly #owner: ClientOwner;
  readonly #maxStreams: number;
  /** The server sets no limit until it says one. RFC 9113, section 6.5.2. */
  #allowed = Number.POSITIVE_INFINITY;
  #maxFieldBytes = Number.POSITIVE_INFINITY;
  #isReady = false;
  #next = 1;
  /** True if the connection takes no new request, by the server's choice or the owner's. */
  #isLeaving = false;
  #pings = 0;
  #pongs = 0;
  #resetCount = 0;
  #isFailing = false;

  constructor(socket: Duplex, owner: ClientOwner, limits: ClientLimits, now: () => number) {
    super(socket, settingOf(limits), now);
    this.#owner = owner;
    this.#maxStreams = limits.maxStreams;
  }

  /** True if the connection can take another request. */
  hasRoom(): boolean {
    // Stream ids end at 2^31.
    return (
      this.isAlive() &&
      this.#isReady &&
      !this.#isLeaving &&
      this.streams.size < Math.min(this.#maxStreams, this.#allowed) &&
      this.#next < 2 ** 30
    );
  }

  /** Sends a request. `block` holds all its fields, encoded, with the pseudo fields. Requires `hasRoom()`. */
  request(block: string, user: ClientUser): Http2Stream {
    const stream = this.openStream(this.#next);
    this.#next += 2;
    stream.user = user;
    stream.begin(block);
    stream.end();
    return stream;
  }

  /**
   * True if the server accepts fields of this size: names and values, and 32 bytes for each. RFC 9113, section 6.5.2.
   */
  takesFields(bytes: number): boolean {
    return bytes <= this.#maxFieldBytes;
  }

  /** Sends a PING. Returns false if the previous one is still unanswered. */
  ping(): boolean {
    if (this.#pongs < this.#pings) return false;
    this.#pings++;
    this.sendPing(String(this.#pings).padStart(8, '0').slice(-8));
    return true;
  }

  /** Takes no new request, and closes when the running ones have ended. */
  leave(): void {
    this.#isLeaving = true;
    this.onStreamClosed();
  }

  /** False once the connection is unusable. */
  isAlive(): boolean {
    return this.state === 'open' && !this.#isFailing && !this.socket.destroyed;
  }

  /** Closes the connection now, with every stream on it. */
  destroy(reason: string): void {
    this.fail(fault(errorCode.cancel, reason));
    this.socket.destroy();
  }

  override reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    if (!stream.localEnded) {
      // A request that was never sent needs no reset, and the server would treat one as an error.
      this.closeStream(stream, false);
      return;
    }
    super.reset(stream, code);
    // A server keeps working on reset requests. With too many of them it closes the connection and all its streams.
    if (++this.#resetCount >= maxResets) this.leave();
  }

  protected override isIdle(id: number): boolean {
    return id >= this.#next || id % 2 === 0;
  }

  protected override mayHaveData(stream: Http2Stream): boolean {
    return stream.answered > 0;
  }

  protected override mayReadHead(): boolean {
    return true;
  }

  protected override lastOfOther(): number {
    return 0;
  }

  protected override onFields(id: number, ends: boolean): Http2Fault | undefined {
    const { decoder } = this;
    const stream = this.streams.get(id);
    if (stream === undefined)
      return this.isIdle(id) ? fault(errorCode.protocol, 'HEADERS on an idle stream') : this.countOddity();
    if (!stream.localEnded) return fault(errorCode.protocol, 'HEADERS before the request has ended');
    const user = stream.user as ClientUser;
    const { fields } = decoder;
    if (decoder.malformed || decoder.excess !== undefined) return this.refuse(id, errorCode.protocol);
    if (stream.answered > 0) {
      if (!ends || !areTrailers(fields)) return this.refuse(id, errorCode.protocol);
      user.onTrailers(fields);
      return this.endRemote(stream);
    }
    const status = fields[0] === ':status' && /^[1-9][0-9]{2}$/.test(fields[1] ?? '') ? Number(fields[1]) : 0;
    const rawHeaders = readAnswerFields(fields);
    const length = rawHeaders === undefined ? 'invalid' : readContentLength(rawHeaders);
    if (status === 0 || status === 101 || rawHeaders === undefined || length === 'invalid' || length === 'repeated')
      return this.refuse(id, errorCode.protocol);
    if (status < 200) {
      if (ends || --stream.answered < -maxInterim) return this.refuse(id, errorCode.protocol);
      user.onInterim(status, rawHeaders);
      return undefined;
    }
    stream.answered = status;
    stream.awaited = user.isHead || status === 204 || status === 304 ? 0 : length;
    user.onAnswer(status, rawHeaders);
    return ends && !stream.isClosed ? this.endRemote(stream) : undefined;
  }

  /** Nothing to do: the answer is still to come. */
  protected override onLocalEnd(): void {}

  protected override onRemoteEnd(stream: Http2Stream): void {
    this.closeStream(stream, true);
  }

  protected override onStreamClosed(): void {
    if (this.state !== 'open' || this.#isFailing) return;
    if (!this.#isLeaving) this.#owner.onRoom();
    else if (this.streams.size === 0) this.finish();
  }

  protected override onGoaway(last: number): void {
    this.#isLeaving = true;
    // The server has not processed streams above `last`. RFC 9113, section 6.8.
    for (const stream of this.streams.list())
      if (stream.id > last) {
        stream.resetCode = errorCode.refusedStream;
        this.closeStream(stream, false);
      }
    this.onStreamClosed();
  }

  protected override onPong(): void {
    this.#pongs++;
  }

  protected override onSetting(id: number, value: number): void {
    if (id === setting.maxConcurrentStreams) this.#allowed = value;
    else if (id === setting.maxHeaderListSize) this.#maxFieldBytes = value;
  }

  protected override onSettings(): void {
    if (this.#isReady) this.#owner.onRoom();
    else {
      this.#isReady = true;
      this.#owner.onReady();
    }
  }

  protected override fail(found: Http2Fault | undefined): void {
    if (found === undefined || this.state !== 'open' || this.#isFailing) return;
    this.#isFailing = true;
    // Unsent requests must not leave on a connection that is being given up.
    for (const stream of this.streams.list()) if (!stream.localEnded) this.closeStream(stream, false);
    super.fail(found);
  }

  protected override onFault(): void {
    // The server does not need the reason for the end, so there is nothing to wait for.
    this.socket.destroy();
    this.#owner.onClose();
  }

  protected override onClosed(): void {
    this.#owner.onClose();
  }
}

/**
 * Returns all fields but `:status`; undefined for another pseudo field or a framing field that HTTP/2 forbids.
 *
 * Go's server sends connection-specific fields if a handler sets them. They mean nothing in HTTP/2 and are dropped.
 */
function readAnswerFields(fields: readonly string[]): string[] | undefined {
  const kept: string[] = [];
  for (let at = 2; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? '';
    if (name.charCodeAt(0) === 0x3a || name === 'transfer-encoding') return undefined;
    if (!isConnectionField(name) && name !== 'te') kept.push(name, fields[at + 1] ?? '');
  }
  return kept;
}

function settingOf({ streamWindow, maxStreams }: ClientLimits): ConnectionSetting {
  return {
    expectedPreface: '',
    ownPreface: preface,
    settings: [
      [setting.enablePush, 0],
      [setting.maxHeaderListSize, maxAnswerFieldBytes],
    ],
    streamWindow,
    connectionWindow: (maxStreams + 1) * streamWindow,
    maxOwed: Number.POSITIVE_INFINITY,
    // Only our own clients' request heads wait here, each within its limit. Answers to control frames are rare.
    maxUnread: Number.POSITIVE_INFINITY,
    maxFieldBytes: maxAnswerFieldBytes,
    maxFields: 64 * 1024,
    // A server may reset any stream, and its control frames cost little.
    resets: [10_000, 1_000],
    oddities: [10_000, 1_000],
    // The logs of many clients arrive in small frames.
    trifles: [100_000, 50_000],
  };
}
