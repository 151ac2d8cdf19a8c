import type { Duplex } from 'node:stream';
import { type ConnectionSetting, type Fault, fault, Http2Connection } from './connection.ts';
import { errorCode, maxWindow, preface, setting } from './frames.ts';
import type { FieldExcess } from './hpack-decoder.ts';
import { areTrailers, type RequestFields, readRequestFields } from './read-request-fields.ts';
import type { Http2Stream, StreamUser } from './stream.ts';

/** Bounds of a connection. */
export interface ServerLimits {
  readonly maxStreams: number;
  readonly maxFieldBytes: number;
  readonly maxFields: number;
  /** From the connection, or from the first frame of a list of fields, to its last. */
  readonly fieldsTimeoutMs: number;
  /** How long a connection without streams may say nothing. */
  readonly idleTimeoutMs: number;
}

/** Who answers requests, and hears of the connection. */
export interface ServerOwner {
  /**
   * A request has come. Its body, if there is one, and its end are for the user that is given back; what that sends
   * meanwhile is its answer. `excess` says that fields are missing, and why.
   */
  onRequest(stream: Http2Stream, request: RequestFields, hasBody: boolean, excess: FieldExcess | undefined): StreamUser;
  /** A stream beyond those that there may be at once was refused, or the connection is told to go as it is idle. */
  onLimit(limit: 'http2_streams' | 'idle_timeout'): void;
  /** The client broke a rule or a limit, and the connection is ended for it. */
  onFault(reason: string): void;
  /** The socket has closed. */
  onClose(): void;
}

/** How long a client may take to close, or to answer the ping that comes with the first GOAWAY. */
const lingerMs = 5_000;
const pingMs = 1_000;
/** Payload of the ping that comes with the first GOAWAY. */
const drainPing = 'draining';
/** What a client may open before it has read how many streams it may have. */
const customaryStreams = 250;

/** What a connection waits for, if that may not take for ever. */
type Wait = 'close' | 'pong' | 'fields' | 'idle';

/** The server's side of a connection whose preface is still to come; extended CONNECT is not offered. */
export class ServerConnection extends Http2Connection {
  readonly #owner: ServerOwner;
  readonly #limits: ServerLimits;
  /** `leaving`: the client was told to go; `gone`: no new stream is taken. */
  #drain: 'no' | 'leaving' | 'gone' = 'no';
  /** The highest id of a stream that came. */
  #last = 0;
  /** Streams above it came after the last GOAWAY. */
  #lastTaken = maxWindow;
  /** Since when it waits for something that may not take long; undefined if for nothing. */
  #since: number | undefined;
  #wait: Wait | undefined;
  #unsent = 0;

  constructor(socket: Duplex, owner: ServerOwner, limits: ServerLimits, now: () => number) {
    super(socket, settingOf(limits), now);
    this.#owner = owner;
    this.#limits = limits;
  }

  /**
   * Tells the client to go elsewhere with new requests. What it has sent meanwhile is still served: a second notice
   * names the last request that is, when the client has seen the first or has had a second to. RFC 9113, section 6.8.
   */
  drain(): void {
    if (this.state !== 'open' || this.#drain !== 'no') return;
    this.#drain = 'leaving';
    this.#since = undefined;
    this.output.sendGoaway(maxWindow, errorCode.none);
    this.sendPing(drainPing);
  }

  /** Ends what has taken too long; to be called every second or so. */
  sweep(now: number): void {
    if (this.state === 'closed') return;
    const wait = this.#findWait();
    // What goes on being read is not late.
    const unsent = this.socket.writableLength;
    const moves = (wait === 'idle' && this.heard) || (wait === 'close' && unsent < this.#unsent);
    if (wait !== this.#wait || moves) this.#since = undefined;
    this.heard = false;
    this.#unsent = unsent;
    this.#wait = wait;
    if (wait === undefined) return;
    this.#since ??= now;
    if (now - this.#since < this.#boundOf(wait)) return;
    this.#since = undefined;
    if (wait === 'close') this.socket.destroy();
    else if (wait === 'pong') this.#leave();
    else if (wait === 'idle') {
      this.#owner.onLimit('idle_timeout');
      this.drain();
    } else this.fail(fault(errorCode.protocol, 'a head is late'));
  }

  #findWait(): Wait | undefined {
    if (this.state === 'ended') return 'close';
    if (this.isInFields() || !this.knowsSettings) return 'fields';
    if (this.#drain === 'leaving') return 'pong';
    return this.#drain === 'no' && this.streams.size === 0 ? 'idle' : undefined;
  }

  #boundOf(wait: Wait): number {
    switch (wait) {
      case 'close':
        return lingerMs;
      case 'pong':
        return pingMs;
      case 'fields':
        return this.#limits.fieldsTimeoutMs;
      case 'idle':
        return this.#limits.idleTimeoutMs;
    }
  }

  /** The second notice: what comes from here on is not served. */
  #leave(): void {
    this.#drain = 'gone';
    this.#lastTaken = this.#last;
    this.output.sendGoaway(this.#last, errorCode.none);
    this.onStreamClosed();
  }

  protected override isIdle(id: number): boolean {
    return id > this.#last && id <= this.#lastTaken;
  }

  protected override mayBeOnItsWay(id: number): boolean {
    return id > this.#lastTaken || super.mayBeOnItsWay(id);
  }

  protected override mayHaveData(): boolean {
    return true;
  }

  protected override lastOfOther(): number {
    return this.#last;
  }

  protected override onFields(id: number, ends: boolean): Fault | undefined {
    const { decoder } = this;
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      if (stream.remoteEnded) return this.refuse(id, errorCode.streamClosed);
      const isFit = ends && !decoder.malformed && decoder.excess === undefined && areTrailers(decoder.fields);
      return isFit ? this.endRemote(stream) : this.refuse(id, errorCode.protocol);
    }
    if (id <= this.#last || id > this.#lastTaken)
      return this.mayBeOnItsWay(id)
        ? this.countOddity()
        : fault(errorCode.streamClosed, 'HEADERS of a stream that has ended');
    this.#last = id;
    if (this.streams.size >= this.#limits.maxStreams) {
      this.#owner.onLimit('http2_streams');
      return this.#turnAway(id, errorCode.refusedStream);
    }
    const request = decoder.malformed ? undefined : readRequestFields(decoder.fields);
    if (request === undefined || (ends && request.contentLength > 0)) return this.#turnAway(id, errorCode.protocol);
    this.#begin(id, ends, request, decoder.excess);
    return undefined;
  }

  /** Refuses a stream that is none yet, and of which more may be on its way. */
  #turnAway(id: number, code: number): Fault | undefined {
    const found = this.spendReset();
    if (found === undefined) this.resetId(id, code);
    return found;
  }

  #begin(id: number, ends: boolean, request: RequestFields, excess: FieldExcess | undefined): void {
    const stream = this.openStream(id);
    stream.awaited = request.contentLength;
    stream.remoteEnded = ends;
    stream.user = this.#owner.onRequest(stream, request, !ends, excess);
    // It may have been reset while it was handled.
    if (stream.isClosed) stream.user.onClosed(false);
  }

  protected override onLocalEnd(stream: Http2Stream): void {
    // A client that still sends its body is told to stop. RFC 9113, section 8.1.
    if (!stream.remoteEnded) this.resetId(stream.id, errorCode.none);
    this.closeStream(stream, true);
  }

  protected override onRemoteEnd(stream: Http2Stream): void {
    stream.user?.onEnd();
  }

  protected override onStreamClosed(): void {
    if (this.#drain === 'gone' && this.streams.size === 0) this.finish();
  }

  protected override onGoaway(): void {}

  protected override onPong(payload: string): void {
    if (this.#drain === 'leaving' && payload === drainPing) this.#leave();
  }

  protected override onSetting(): void {}

  protected override onSettings(): void {}

  protected override onFault(reason: string): void {
    this.#owner.onFault(reason);
  }

  protected override onClosed(): void {
    this.#owner.onClose();
  }
}

function settingOf({ maxStreams, maxFieldBytes, maxFields }: ServerLimits): ConnectionSetting {
  return {
    expectedPreface: preface,
    ownPreface: '',
    settings: [
      [setting.maxConcurrentStreams, maxStreams],
      [setting.maxHeaderListSize, maxFieldBytes],
    ],
    streamWindow: 256 * 1024,
    connectionWindow: 2 * 1024 * 1024,
    maxOwed: 8 * 1024 * 1024,
    maxUnread: 1024 * 1024,
    maxFieldBytes,
    maxFields,
    resets: [2 * Math.max(maxStreams, customaryStreams), 33],
    oddities: [1_000, 50],
    trifles: [10_000, 2_000],
  };
}
