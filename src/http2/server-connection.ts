import type { Duplex } from 'node:stream';
import { Budget } from './budget.ts';
import { FrameReader, type FrameTaker } from './frame-reader.ts';
import {
  defaultFrameBytes,
  errorCode,
  flag,
  frameHead,
  frameType,
  maxWindow,
  preface,
  setting,
  settingsFrame,
} from './frames.ts';
import { type FieldExcess, HpackDecoder } from './hpack-decoder.ts';
import { Http2Output } from './output.ts';
import { areTrailers, type RequestFields, readRequestFields } from './read-request-fields.ts';
import { Http2Stream, type StreamHost, StreamTable, type StreamUser } from './stream.ts';

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
  /** The client broke a rule or a limit, and the connection is ended for it. */
  onFault(reason: string): void;
  /** The socket has closed. */
  onClose(): void;
}

/** What a stream may send before the first of it is read, and again whenever half of that was read. */
const streamWindow = 256 * 1024;
const connectionWindow = 2 * 1024 * 1024;
/** What may be held of bodies whose readers are slow; beyond it, the connection's window is not opened again. */
const maxOwed = 8 * 1024 * 1024;
/** CONTINUATION frames of one list. CVE-2024-28182 is about endless ones. */
const maxContinuations = 64;
/** Streams that were reset here, and of which more may be on its way. */
const rememberedResets = 64;
/** Pieces below this are copied. */
const copiedBytes = 1024;
const noBytes = Buffer.alloc(0);
/** How long a client may take to close, or to answer the ping that comes with the first GOAWAY. */
const lingerMs = 5_000;
const pingMs = 1_000;
/** Payload of the ping that comes with the first GOAWAY. */
const drainPing = 'draining';

/** Why a connection is ended. */
interface Fault {
  readonly code: number;
  readonly reason: string;
}

function fault(code: number, reason: string): Fault {
  return { code, reason };
}

/** What a connection waits for, if that may not take for ever. */
type Wait = 'close' | 'pong' | 'fields' | 'idle';

/**
 * The server's side of an HTTP/2 connection (RFC 9113) whose preface is still to come.
 *
 * - Push, priorities and extended CONNECT are not offered.
 * - Whoever resets requests as fast as they are made (CVE-2023-44487), goes on with a head for ever, sends frames that do
 *   nothing or makes this side write without reading is told to calm down, and the connection is ended.
 * - What a client can have held in memory is bounded: heads by their limits, bodies by windows.
 */
export class ServerConnection implements FrameTaker, StreamHost {
  readonly #socket: Duplex;
  readonly #owner: ServerOwner;
  readonly #limits: ServerLimits;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #output: Http2Output;
  readonly #streams = new StreamTable();
  readonly #resets: Budget;
  readonly #oddities: Budget;
  /** `open`; `leaving`: told to go, `gone`: takes no new stream, `ended`: nothing is read any more, `closed`. */
  #phase: 'open' | 'leaving' | 'gone' | 'ended' | 'closed' = 'open';
  /** The highest id of a stream that came. */
  #last = 0;
  /** Streams above it came after the last GOAWAY. */
  #lastTaken = maxWindow;
  #knowsSettings = false;
  #receiveWindow = connectionWindow;
  #credit = 0;
  #owed = 0;
  #withheld = 0;
  /** A list of fields of which more is to come. */
  #block: { readonly id: number; readonly ends: boolean; readonly parts: Buffer[]; bytes: number } | undefined;
  /** Of the DATA frame that comes; undefined for a stream that is no more. */
  #dataStream: Http2Stream | undefined;
  #dataEnds = false;
  /** Ids that were reset here, in a ring. */
  #reset: number[] | undefined;
  #resetAt = 0;
  /** Since when it waits for something that may not take long; undefined if for nothing. */
  #since: number | undefined;
  #wait: Wait | undefined;
  #heard = false;

  constructor(socket: Duplex, owner: ServerOwner, limits: ServerLimits, now: () => number) {
    this.#socket = socket;
    this.#owner = owner;
    this.#limits = limits;
    this.#reader = new FrameReader(this, preface);
    this.#decoder = new HpackDecoder({ maxBytes: limits.maxFieldBytes, maxFields: limits.maxFields });
    this.#output = new Http2Output(socket, this.#onSent);
    // Two full sets of streams at once, and 33 a second after that; others' frames are few in any use.
    this.#resets = new Budget(2 * limits.maxStreams, 33, now);
    this.#oddities = new Budget(1_000, 50, now);
    this.#output.send(
      settingsFrame([
        [setting.maxConcurrentStreams, limits.maxStreams],
        [setting.initialWindowSize, streamWindow],
        [setting.maxHeaderListSize, limits.maxFieldBytes],
      ]),
    );
    this.#output.sendWindowUpdate(0, connectionWindow - 65_535);
    socket.on('data', this.#onBytes);
    socket.on('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
    socket.on('close', this.#onClose);
  }

  /** Streams that are open. */
  size(): number {
    return this.#streams.size;
  }

  /**
   * Tells the client to go elsewhere with new requests. What it has sent meanwhile is still served: a second notice
   * names the last request that is, when the client has seen the first or has had a second to. RFC 9113, section 6.8.
   */
  drain(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'leaving';
    this.#since = undefined;
    this.#output.sendGoaway(maxWindow, errorCode.none);
    this.#output.send(frameHead(drainPing.length, frameType.ping, 0, 0) + drainPing);
  }

  /** Ends what has taken too long; to be called every second or so. */
  sweep(now: number): void {
    if (this.#phase === 'closed') return;
    const heard = this.#heard;
    this.#heard = false;
    const wait = this.#findWait();
    if (wait !== this.#wait || (heard && wait === 'idle')) this.#since = undefined;
    this.#wait = wait;
    if (wait === undefined) return;
    this.#since ??= now;
    if (now - this.#since < this.#boundOf(wait)) return;
    this.#since = undefined;
    if (wait === 'close') this.#socket.destroy();
    else if (wait === 'pong') this.#leave();
    else if (wait === 'idle') this.drain();
    else this.#fail(fault(errorCode.protocol, 'a head is late'));
  }

  onUnreadable(reason: 'frame' | 'preface'): void {
    if (reason === 'frame') this.#fail(fault(errorCode.frameSize, 'a frame is too long'));
    else this.#fail(fault(errorCode.protocol, 'the preface is not that of HTTP/2'));
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    this.#fail(this.#takeFrame(type, flags, id, bytes, from, to));
  }

  #takeFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): Fault | undefined {
    const length = to - from;
    if (this.#block !== undefined && type !== frameType.continuation)
      return fault(errorCode.protocol, 'a frame within a list of fields');
    if (!this.#knowsSettings && type !== frameType.settings)
      return fault(errorCode.protocol, 'the first frame is not SETTINGS');
    switch (type) {
      case frameType.data:
        return this.#onPaddedData(flags, id, bytes, from, to);
      case frameType.headers:
        return this.#onHeaders(flags, id, bytes, from, to);
      case frameType.priority:
        if (id === 0) return fault(errorCode.protocol, 'PRIORITY of no stream');
        if (length !== 5) return this.#refuse(id, errorCode.frameSize);
        return this.#onOddity();
      case frameType.reset:
        return this.#onReset(id, length);
      case frameType.settings:
        return this.#onSettings(flags, id, bytes, from, to);
      case frameType.ping:
        return this.#onPing(flags, id, bytes, from, to);
      case frameType.goaway:
        if (id !== 0) return fault(errorCode.protocol, 'GOAWAY of a stream');
        if (length < 8) return fault(errorCode.frameSize, 'a GOAWAY that is too short');
        return this.#onOddity();
      case frameType.windowUpdate:
        return this.#onWindowUpdate(id, bytes, from, length);
      case frameType.continuation:
        return this.#onContinuation(flags, id, bytes, from, to);
      case frameType.pushPromise:
        return fault(errorCode.protocol, 'PUSH_PROMISE of a client');
      default:
        // RFC 9113, section 4.1: what is not known is ignored.
        return this.#onOddity();
    }
  }

  onDataHead(flags: number, id: number, length: number): void {
    this.#dataEnds = (flags & flag.endStream) !== 0;
    this.#dataStream = this.#admitData(id, length);
    if (length === 0 && this.#phase !== 'ended') this.onData(noBytes, true);
  }

  onData(piece: Buffer, isLast: boolean): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.isClosed) {
      this.#giveBack(piece.length);
      return;
    }
    if (piece.length > 0) this.#fail(this.#deliver(stream, piece));
    else if (!this.#dataEnds) this.#fail(this.#onOddity());
    if (isLast && this.#dataEnds && !stream.isClosed) this.#fail(this.#endRemote(stream));
  }

  flushSoon(stream: Http2Stream): void {
    if (!stream.isClosed) this.#output.markReady(stream);
  }

  isCongested(): boolean {
    return this.#output.isCongested();
  }

  sendInterim(stream: Http2Stream, block: string): void {
    this.#output.sendFields(stream.id, block, false);
  }

  reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    this.#resetId(stream.id, code);
    this.#close(stream, false);
  }

  onResume(stream: Http2Stream): void {
    const { owed } = stream;
    this.#repay(stream);
    this.#giveBackTo(stream, owed);
  }

  readonly #onBytes = (chunk: Buffer): void => {
    if (this.#phase === 'ended' || this.#phase === 'closed') return;
    this.#heard = true;
    this.#reader.read(chunk);
    if (this.#output.isDrowned())
      this.#fail(fault(errorCode.enhanceYourCalm, 'it makes this side write, and does not read'));
  };

  readonly #onEnd = (): void => {
    // A client of HTTP/2 that has closed its side has left.
    this.#socket.destroy();
  };

  readonly #onDrain = (): void => {
    this.#output.onDrain();
  };

  readonly #onClose = (): void => {
    this.#stop('closed');
    this.#owner.onClose();
  };

  readonly #onSent = (streams: readonly Http2Stream[]): void => {
    for (const stream of streams) {
      if (stream.isClosed) continue;
      // A client that still sends its body is told to stop. RFC 9113, section 8.1.
      if (!stream.remoteEnded) this.#resetId(stream.id, errorCode.none);
      this.#close(stream, true);
    }
  };

  #findWait(): Wait | undefined {
    switch (this.#phase) {
      case 'ended':
        return 'close';
      case 'leaving':
        return 'pong';
      case 'open':
        if (this.#block !== undefined || !this.#knowsSettings) return 'fields';
        return this.#streams.size === 0 ? 'idle' : undefined;
      case 'gone':
        return this.#block === undefined ? undefined : 'fields';
      case 'closed':
        return undefined;
    }
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
    this.#phase = 'gone';
    this.#lastTaken = this.#last;
    this.#output.sendGoaway(this.#last, errorCode.none);
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#phase !== 'gone' || this.#streams.size > 0) return;
    this.#phase = 'ended';
    this.#reader.stop();
    this.#output.end();
  }

  /** Ends the connection for what the client did. */
  #fail(found: Fault | undefined): void {
    if (found === undefined || this.#phase === 'ended' || this.#phase === 'closed') return;
    const isDrowned = this.#output.isDrowned();
    const { code, reason } = found;
    this.#output.sendGoaway(this.#last, code);
    this.#output.end();
    this.#stop('ended');
    this.#owner.onFault(reason);
    // Others get the time to read why.
    if (isDrowned) this.#socket.destroy();
    else if (code === errorCode.enhanceYourCalm) this.#socket.once('finish', () => this.#socket.destroy());
  }

  #stop(phase: 'ended' | 'closed'): void {
    this.#phase = phase;
    this.#block = undefined;
    this.#dataStream = undefined;
    this.#reader.stop();
    this.#output.abandon();
    for (const stream of this.#streams.list()) this.#close(stream, false);
  }

  #close(stream: Http2Stream, complete: boolean): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    stream.chunks = undefined;
    stream.queued = 0;
    this.#streams.remove(stream);
    this.#repay(stream);
    stream.user?.onClosed(complete);
    this.#endIfDone();
  }

  /** Of a fault of the client's. CVE-2025-8671 makes the server reset as fast as CVE-2023-44487 the client. */
  #refuse(id: number, code: number): Fault | undefined {
    if (!this.#resets.spend()) return fault(errorCode.enhanceYourCalm, 'too many streams are reset');
    this.#resetId(id, code);
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#close(stream, false);
    return undefined;
  }

  #resetId(id: number, code: number): void {
    this.#output.sendReset(id, code);
    this.#reset ??= new Array<number>(rememberedResets).fill(0);
    this.#reset[this.#resetAt++ % rememberedResets] = id;
  }

  #wasReset(id: number): boolean {
    return this.#reset?.includes(id) === true;
  }

  /** True for a stream that has not begun; what came after the last GOAWAY is not looked at, and may have. */
  #isIdle(id: number): boolean {
    return id > this.#last && id <= this.#lastTaken;
  }

  /** Of what does nothing, or makes this side do something for little. */
  #onOddity(): Fault | undefined {
    return this.#oddities.spend() ? undefined : fault(errorCode.enhanceYourCalm, 'too many frames that do nothing');
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, start: number, end: number): Fault | undefined {
    if (id % 2 === 0) return fault(errorCode.protocol, 'HEADERS of no stream of a client');
    let from = start;
    let to = end;
    if ((flags & flag.padded) !== 0) {
      // Where there is no byte, this is of the next frame; what follows says no in any case.
      to -= bytes[from++] ?? 0;
    }
    if ((flags & flag.priority) !== 0) from += 5;
    if (from > to) return fault(errorCode.protocol, 'HEADERS with more padding than content');
    const ends = (flags & flag.endStream) !== 0;
    if ((flags & flag.endHeaders) !== 0) {
      return this.#onFields(id, ends, bytes, from, to);
    }
    this.#block = { id, ends, parts: [Buffer.from(bytes.subarray(from, to))], bytes: to - from };
    this.#since = undefined;
    return undefined;
  }

  #onContinuation(flags: number, id: number, bytes: Buffer, from: number, to: number): Fault | undefined {
    const block = this.#block;
    if (block === undefined || block.id !== id)
      return fault(errorCode.protocol, 'CONTINUATION of nothing that was begun');
    block.parts.push(Buffer.from(bytes.subarray(from, to)));
    block.bytes += to - from;
    if (block.bytes > 2 * this.#limits.maxFieldBytes || block.parts.length > maxContinuations)
      return fault(errorCode.enhanceYourCalm, 'a head that does not end');
    if ((flags & flag.endHeaders) === 0) return undefined;
    this.#block = undefined;
    const whole = Buffer.concat(block.parts);
    return this.#onFields(id, block.ends, whole, 0, whole.length);
  }

  #onFields(id: number, ends: boolean, bytes: Buffer, from: number, to: number): Fault | undefined {
    const decoder = this.#decoder;
    if (!decoder.read(bytes, from, to)) return fault(errorCode.compression, 'fields that cannot be read');
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      if (stream.remoteEnded) return this.#refuse(id, errorCode.streamClosed);
      const isFit = ends && !decoder.malformed && decoder.excess === undefined && areTrailers(decoder.fields);
      return isFit ? this.#endRemote(stream) : this.#refuse(id, errorCode.protocol);
    }
    if (id <= this.#last && !this.#wasReset(id))
      return fault(errorCode.streamClosed, 'HEADERS of a stream that has ended');
    if (id <= this.#last || id > this.#lastTaken) return undefined;
    this.#last = id;
    if (this.#streams.size >= this.#limits.maxStreams) return this.#refuse(id, errorCode.refusedStream);
    const request = decoder.malformed ? undefined : readRequestFields(decoder.fields);
    if (request === undefined || (ends && request.contentLength > 0)) return this.#refuse(id, errorCode.protocol);
    this.#begin(id, ends, request, decoder.excess);
    return undefined;
  }

  #begin(id: number, ends: boolean, request: RequestFields, excess: FieldExcess | undefined): void {
    const stream = new Http2Stream(id, this, this.#output.streamWindow, streamWindow);
    stream.awaited = request.contentLength;
    stream.remoteEnded = ends;
    this.#streams.add(stream);
    stream.user = this.#owner.onRequest(stream, request, !ends, excess);
    // It may have been reset while it was handled.
    if (stream.isClosed) stream.user.onClosed(false);
  }

  #endRemote(stream: Http2Stream): Fault | undefined {
    if (stream.awaited > 0) return this.#refuse(stream.id, errorCode.protocol);
    stream.remoteEnded = true;
    stream.user?.onEnd();
    return undefined;
  }

  #onReset(id: number, length: number): Fault | undefined {
    if (id === 0 || this.#isIdle(id)) return fault(errorCode.protocol, 'RST_STREAM of no stream');
    if (length !== 4) return fault(errorCode.frameSize, 'a RST_STREAM of another size');
    if (!this.#resets.spend()) return fault(errorCode.enhanceYourCalm, 'too many streams are reset');
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#close(stream, false);
    return undefined;
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): Fault | undefined {
    if (id !== 0) return fault(errorCode.protocol, 'SETTINGS of a stream');
    if ((flags & flag.ack) !== 0) {
      if (from !== to) return fault(errorCode.frameSize, 'an answer to SETTINGS that is not empty');
      return this.#onOddity();
    }
    if ((to - from) % 6 !== 0) return fault(errorCode.frameSize, 'SETTINGS of another size');
    this.#knowsSettings = true;
    for (let at = from; at < to; at += 6) {
      const value = bytes.readUInt32BE(at + 2);
      switch (bytes.readUInt16BE(at)) {
        case setting.enablePush:
          if (value > 1) return fault(errorCode.protocol, 'ENABLE_PUSH is neither 0 nor 1');
          break;
        case setting.maxFrameSize:
          if (value < defaultFrameBytes || value > 0xffffff)
            return fault(errorCode.protocol, 'MAX_FRAME_SIZE is out of range');
          break;
        case setting.initialWindowSize:
          if (!this.#setStreamWindow(value)) return fault(errorCode.flowControl, 'a window is too large');
          break;
        default:
      }
    }
    this.#output.send(frameHead(0, frameType.settings, flag.ack, 0));
    return this.#onOddity();
  }

  #setStreamWindow(value: number): boolean {
    if (value > maxWindow) return false;
    const more = value - this.#output.streamWindow;
    this.#output.streamWindow = value;
    for (const stream of this.#streams.list()) {
      stream.sendWindow += more;
      if (stream.sendWindow > maxWindow) return false;
      if (more > 0) this.#output.markReady(stream);
    }
    return true;
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): Fault | undefined {
    if (id !== 0) return fault(errorCode.protocol, 'PING of a stream');
    if (to - from !== 8) return fault(errorCode.frameSize, 'a PING of another size');
    const payload = bytes.toString('latin1', from, to);
    if ((flags & flag.ack) === 0) this.#output.send(frameHead(8, frameType.ping, flag.ack, 0) + payload);
    else if (this.#phase === 'leaving' && payload === drainPing) this.#leave();
    return this.#onOddity();
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, length: number): Fault | undefined {
    if (length !== 4) return fault(errorCode.frameSize, 'a WINDOW_UPDATE of another size');
    if (this.#isIdle(id)) return fault(errorCode.protocol, 'WINDOW_UPDATE of no stream');
    const more = bytes.readUInt32BE(from) & 0x7fffffff;
    if (id === 0) {
      if (more === 0) return fault(errorCode.protocol, 'a WINDOW_UPDATE of nothing');
      return this.#output.grow(more) ? undefined : fault(errorCode.flowControl, 'a window is too large');
    }
    const stream = this.#streams.get(id);
    // It may have ended here while that was on its way.
    if (stream === undefined) return undefined;
    stream.sendWindow += more;
    if (more === 0) return this.#refuse(id, errorCode.protocol);
    if (stream.sendWindow > maxWindow) return this.#refuse(id, errorCode.flowControl);
    if (stream.queued > 0) this.#output.markReady(stream);
    return undefined;
  }

  #onPaddedData(flags: number, id: number, bytes: Buffer, from: number, to: number): Fault | undefined {
    const length = to - from;
    const padding = 1 + (bytes[from] ?? 0);
    if (padding > length) return fault(errorCode.protocol, 'DATA with more padding than content');
    this.#dataEnds = (flags & flag.endStream) !== 0;
    this.#dataStream = this.#admitData(id, length);
    if (this.#phase === 'ended') return undefined;
    const stream = this.#dataStream;
    this.#giveBack(padding);
    if (stream !== undefined) this.#giveBackTo(stream, padding);
    this.onData(bytes.subarray(from + 1, to - padding + 1), true);
    return undefined;
  }

  /** The stream that the data is of, if there is one that may have it; what is in the frame counts in any case. */
  #admitData(id: number, length: number): Http2Stream | undefined {
    if (this.#block !== undefined || !this.#knowsSettings) {
      this.#fail(fault(errorCode.protocol, 'DATA where there may be none'));
      return undefined;
    }
    if (id === 0 || this.#isIdle(id)) {
      this.#fail(fault(errorCode.protocol, 'DATA of no stream'));
      return undefined;
    }
    if (id > this.#lastTaken) return undefined;
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      this.#fail(fault(errorCode.flowControl, 'more DATA than the connection’s window'));
      return undefined;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      if (!this.#wasReset(id)) this.#fail(this.#refuse(id, errorCode.streamClosed));
      return undefined;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow >= 0) return stream;
    this.#fail(this.#refuse(id, errorCode.flowControl));
    return undefined;
  }

  #deliver(stream: Http2Stream, piece: Buffer): Fault | undefined {
    const { length } = piece;
    if (stream.awaited >= 0) {
      stream.awaited -= length;
      if (stream.awaited < 0) {
        this.#giveBack(length);
        return this.#refuse(stream.id, errorCode.protocol);
      }
    }
    // A little piece would keep all that it came with in memory.
    const wants = stream.user?.onData(length < copiedBytes ? Buffer.from(piece) : piece) === true;
    if (wants || stream.isClosed) {
      this.#giveBack(length);
      if (!stream.isClosed) this.#giveBackTo(stream, length);
      return undefined;
    }
    stream.isPaused = true;
    stream.owed += length;
    this.#owed += length;
    if (this.#owed < maxOwed) this.#giveBack(length);
    else this.#withheld += length;
    return undefined;
  }

  #repay(stream: Http2Stream): void {
    this.#owed -= stream.owed;
    stream.owed = 0;
    if (this.#owed >= maxOwed || this.#withheld === 0) return;
    const withheld = this.#withheld;
    this.#withheld = 0;
    this.#giveBack(withheld);
  }

  #giveBack(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < connectionWindow / 2) return;
    this.#output.sendWindowUpdate(0, this.#credit);
    this.#receiveWindow += this.#credit;
    this.#credit = 0;
  }

  #giveBackTo(stream: Http2Stream, bytes: number): void {
    stream.credit += bytes;
    if (stream.credit < streamWindow / 2 || stream.remoteEnded) return;
    this.#output.sendWindowUpdate(stream.id, stream.credit);
    stream.receiveWindow += stream.credit;
    stream.credit = 0;
  }
}
