import type { Duplex } from 'node:stream';
import { type ConnectionSetting, type FieldRoom, fault, Http2Connection, type Http2Fault } from './connection.ts';
import { errorCode, maxWindow, preface, setting } from './frames.ts';
import type { FieldExcess } from './hpack-decoder.ts';
import { areTrailers, type RequestFields, readRequestFields } from './read-request-fields.ts';
import type { Http2Stream, StreamUser } from './stream.ts';

/** Limits of a connection. */
export interface ServerLimits {
  readonly maxStreams: number;
  readonly maxFieldBytes: number;
  readonly maxFields: number;
  readonly fieldRoom?: FieldRoom;
  /** Time from the connection's start, or a field block's first frame, to the block's last. */
  readonly fieldsTimeoutMs: number;
  /** How long a connection without streams may stay silent. */
  readonly idleTimeoutMs: number;
}

/** Answers requests, and receives the events of the connection. */
export interface ServerOwner {
  /**
   * A request has arrived. The returned user receives its body and its end, and may send the answer at any time.
   * `excess` names the limit that the fields exceeded, if any; fields that did not fit are missing.
   */
  onRequest(stream: Http2Stream, request: RequestFields, hasBody: boolean, excess: FieldExcess | undefined): StreamUser;
  /** Pays for a frame of a head. If it returns false, the frame must wait, and `goOn` is called when it may be read. */
  takeTurn(bytes: number, goOn: () => void): boolean;
  /** A stream above the concurrency limit was refused, or an idle connection is being closed. */
  onLimit(limit: 'http2_streams' | 'idle_timeout'): void;
  /** The connection ends because the client violated a rule or a limit. */
  onFault(reason: string): void;
  /** The socket has closed. */
  onClose(): void;
}

/** How long a client may take to close, or to answer the PING that follows the first GOAWAY. */
const lingerMs = 5_000;
const pingMs = 1_000;
/** Payload of the PING that follows the first GOAWAY. */
const drainPing = 'draining';
/** Streams that a client may open before it has read this side's limit. */
const customaryStreams = 250;

/** The events that a connection waits for with a deadline. */
type Wait = 'close' | 'pong' | 'fields' | 'idle';

/** The server's side of a connection, from the client's preface on. It offers no extended CONNECT. */
export class ServerConnection extends Http2Connection {
  readonly #owner: ServerOwner;
  readonly #limits: ServerLimits;
  /** `leaving`: the first GOAWAY is sent. `gone`: the second is sent, and no new stream is accepted. */
  #drain: 'no' | 'leaving' | 'gone' = 'no';
  /** The highest stream id that the client has opened. */
  #last = 0;
  /** The id in the last GOAWAY. Streams above it are not served. */
  #lastTaken = maxWindow;
  /** Start of the current wait; undefined if nothing with a deadline is awaited. */
  #since: number | undefined;
  #wait: Wait | undefined;
  #unsent = 0;

  constructor(socket: Duplex, owner: ServerOwner, limits: ServerLimits, now: () => number) {
    super(socket, settingOf(limits), now);
    this.#owner = owner;
    this.#limits = limits;
  }

  /**
   * Tells the client to send new requests elsewhere. Requests already on their way are still served: a second GOAWAY
   * names the last one, once the client has answered the PING or a second has passed. RFC 9113, section 6.8.
   */
  drain(): void {
    if (this.state !== 'open' || this.#drain !== 'no') return;
    this.#drain = 'leaving';
    this.#since = undefined;
    this.output.sendGoaway(maxWindow, errorCode.none);
    this.sendPing(drainPing);
  }

  /** Ends waits that have passed their deadline. Call it about every second. */
  sweep(now: number): void {
    if (this.state === 'closed') return;
    const wait = this.#findWait();
    // A client that keeps reading is not late.
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
    } else this.fail(fault(errorCode.protocol, 'a request head did not come in time'));
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

  /** Sends the second GOAWAY: later streams are not served. */
  #leave(): void {
    this.#drain = 'gone';
    this.#lastTaken = this.#last;
    this.output.sendGoaway(this.#last, errorCode.none);
    this.onStreamClosed();
  }

  protected override mayReadHead(length: number): boolean {
    if (this.#owner.takeTurn(length, this.#goOn)) return true;
    this.socket.pause();
    return false;
  }

  readonly #goOn = (): void => {
    this.readOn();
  };

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

  protected override onFields(id: number, ends: boolean): Http2Fault | undefined {
    const { decoder } = this;
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      if (stream.remoteEnded) return this.refuse(id, errorCode.streamClosed);
      const isFit = ends && !decoder.malformed && decoder.excess === undefined && areTrailers(decoder.fields);
      return isFit ? this.endRemote(stream) : this.refuse(id, errorCode.protocol);
    }
    if (id <= this.#last || id > this.#lastTaken)
      return this.mayBeOnItsWay(id) ? this.countOddity() : fault(errorCode.streamClosed, 'HEADERS on a closed stream');
    this.#last = id;
    if (this.streams.size >= this.#limits.maxStreams) {
      this.#owner.onLimit('http2_streams');
      return this.#turnAway(id, errorCode.refusedStream);
    }
    const request = decoder.malformed ? undefined : readRequestFields(decoder.fields);
    if (request === undefined || (ends && (request.contentLength ?? 0) > 0))
      return this.#turnAway(id, errorCode.protocol);
    this.#begin(id, ends, request, decoder.excess);
    return undefined;
  }

  /** Refuses a stream before it exists. Its frames may still be on their way. */
  #turnAway(id: number, code: number): Http2Fault | undefined {
    const found = this.spendReset();
    if (found === undefined) this.resetId(id, code);
    return found;
  }

  #begin(id: number, ends: boolean, request: RequestFields, excess: FieldExcess | undefined): void {
    const stream = this.openStream(id);
    stream.awaited = request.contentLength;
    stream.remoteEnded = ends;
    stream.user = this.#owner.onRequest(stream, request, !ends, excess);
    // The handler may have reset the stream.
    if (stream.isClosed) stream.user.onClosed(false);
  }

  protected override onLocalEnd(stream: Http2Stream): void {
    // Tells a client that still sends its body to stop. RFC 9113, section 8.1.
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

function settingOf({ maxStreams, maxFieldBytes, maxFields, fieldRoom }: ServerLimits): ConnectionSetting {
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
    fieldRoom,
    maxFields,
    resets: [2 * Math.max(maxStreams, customaryStreams), 33],
    oddities: [1_000, 50],
    trifles: [10_000, 2_000],
  };
}
