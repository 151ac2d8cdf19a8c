import type { Duplex } from 'node:stream';
import { type ConnectionSetting, type Fault, fault, Http2Connection } from './connection.ts';
import { errorCode, preface, setting } from './frames.ts';
import { areTrailers, isConnectionField } from './read-request-fields.ts';
import type { Http2Stream, StreamUser } from './stream.ts';

/** Whose request a stream is. After `onClosed(true)` the answer was complete. */
export interface ClientUser extends StreamUser {
  /** Nothing is said of a body by the head of its answer. */
  readonly isHead: boolean;
  onInterim(status: number, rawHeaders: string[]): void;
  /** `rawHeaders` are flat, and the caller's. */
  onAnswer(status: number, rawHeaders: string[]): void;
  onTrailers(rawTrailers: string[]): void;
}

/** Who made the connection. */
export interface ClientOwner {
  /** The server's settings have come: how many streams it takes is known. */
  onReady(): void;
  /** There may be room for another stream. */
  onRoom(): void;
  /** The socket has closed, or the server broke a rule: nothing more comes of it. */
  onClose(): void;
}

/** Bounds of a connection. */
export interface ClientLimits {
  /** What a server may send of one answer before it is read. */
  readonly streamWindow: number;
  /** Streams at once; the server may allow fewer. */
  readonly maxStreams: number;
}

/** Interim answers before the final one; each is small, but there is no end to them otherwise. */
const maxInterim = 16;
/** Go's server ends a connection when four full sets of requests that were taken back wait behind those that run. */
const maxResets = 100;
const noStreams = Number.POSITIVE_INFINITY;

/**
 * The client's side of a connection, for requests without a body.
 *
 * An answer that is not read holds up no other: the connection's window has room for all streams' windows.
 */
export class ClientConnection extends Http2Connection {
  readonly #owner: ClientOwner;
  readonly #maxStreams: number;
  #allowed = noStreams;
  #isReady = false;
  #next = 1;
  /** The server takes no more, or its owner wants no more of it. */
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

  /** True if a further request can be sent on it. */
  hasRoom(): boolean {
    // Ids are used up at 2^31.
    return (
      this.isAlive() &&
      this.#isReady &&
      !this.#isLeaving &&
      this.streams.size < Math.min(this.#maxStreams, this.#allowed) &&
      this.#next < 2 ** 30
    );
  }

  /** Sends a request, its fields encoded, pseudo fields and all; there must be room. */
  request(block: string, user: ClientUser): Http2Stream {
    const stream = this.openStream(this.#next);
    this.#next += 2;
    stream.user = user;
    stream.begin(block);
    stream.end();
    return stream;
  }

  /** False if the ping before was not answered. */
  ping(): boolean {
    if (this.#pongs < this.#pings) return false;
    this.#pings++;
    this.sendPing(String(this.#pings).padStart(8, '0').slice(-8));
    return true;
  }

  /** Takes no more requests, and ends when those that run have. */
  leave(): void {
    this.#isLeaving = true;
    this.onStreamClosed();
  }

  /** False once nothing more comes of it. */
  isAlive(): boolean {
    return this.state === 'open' && !this.#isFailing && !this.socket.destroyed;
  }

  /** Ends it now, with all that runs on it. */
  destroy(reason: string): void {
    this.fail(fault(errorCode.cancel, reason));
    this.socket.destroy();
  }

  override reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    if (!stream.localEnded) {
      // Of what was not sent yet there is nothing to take back, and the server would call it a fault.
      this.closeStream(stream, false);
      return;
    }
    super.reset(stream, code);
    // A server goes on with what was taken back, and ends a connection with too much of that, others' requests with it.
    if (++this.#resetCount >= maxResets) this.leave();
  }

  protected override isIdle(id: number): boolean {
    return id >= this.#next || id % 2 === 0;
  }

  protected override mayHaveData(stream: Http2Stream): boolean {
    return stream.answered > 0;
  }

  protected override lastOfOther(): number {
    return 0;
  }

  protected override onFields(id: number, ends: boolean): Fault | undefined {
    const { decoder } = this;
    const stream = this.streams.get(id);
    if (stream === undefined)
      return this.isIdle(id) ? fault(errorCode.protocol, 'an answer to nothing') : this.countOddity();
    if (!stream.localEnded) return fault(errorCode.protocol, 'an answer to what was not asked yet');
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
    const length = rawHeaders === undefined ? undefined : readLength(rawHeaders);
    if (status === 0 || status === 101 || rawHeaders === undefined || length === undefined)
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

  /** The answer is still to come. */
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
    // What is above was not looked at. RFC 9113, section 6.8.
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
  }

  protected override onSettings(): void {
    if (this.#isReady) this.#owner.onRoom();
    else {
      this.#isReady = true;
      this.#owner.onReady();
    }
  }

  protected override fail(found: Fault | undefined): void {
    if (found === undefined || this.state !== 'open' || this.#isFailing) return;
    this.#isFailing = true;
    // What was not sent yet is not to be sent on a connection that is given up.
    for (const stream of this.streams.list()) if (!stream.localEnded) this.closeStream(stream, false);
    super.fail(found);
  }

  protected override onFault(): void {
    // Nobody needs to read why, and nobody looks after it any more.
    this.socket.destroy();
    this.#owner.onClose();
  }

  protected override onClosed(): void {
    this.#owner.onClose();
  }
}

/**
 * All but `:status`; undefined if there is another pseudo field, or a word about framing that HTTP/2 has not.
 *
 * Go's server sends fields of a connection if a handler sets them. They mean nothing here, and are left out.
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

/** -1 if it is not said; undefined if it is said in two ways. */
function readLength(rawHeaders: readonly string[]): number | undefined {
  let length = -1;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at] !== 'content-length') continue;
    const value = rawHeaders[at + 1] ?? '';
    if (length >= 0 || !/^[0-9]{1,15}$/.test(value)) return undefined;
    length = Number(value);
  }
  return length;
}

function settingOf({ streamWindow, maxStreams }: ClientLimits): ConnectionSetting {
  return {
    expectedPreface: '',
    ownPreface: preface,
    settings: [
      [setting.enablePush, 0],
      [setting.maxHeaderListSize, 256 * 1024],
    ],
    streamWindow,
    connectionWindow: (maxStreams + 1) * streamWindow,
    maxOwed: Number.POSITIVE_INFINITY,
    // These are our own clients' heads, each of them within its limit; what a server makes us write is counted among oddities.
    maxUnread: Number.POSITIVE_INFINITY,
    maxFieldBytes: 256 * 1024,
    maxFields: 1_000,
    // A server ends what it likes, and asks for little.
    resets: [10_000, 1_000],
    oddities: [10_000, 1_000],
    // Logs of many clients come in small frames.
    trifles: [100_000, 50_000],
  };
}
