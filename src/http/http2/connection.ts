import type { Duplex } from 'node:stream';
import { DiscardedBytes } from '../discarded-bytes.ts';
import { Budget } from './budget.ts';
import { FrameReader, type FrameTaker } from './frame-reader.ts';
import {
  defaultFrameBytes,
  defaultWindow,
  errorCode,
  flag,
  frameHead,
  frameType,
  maxWindow,
  setting,
  settingsFrame,
} from './frames.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { Http2Output } from './output.ts';
import { RecentIds } from './recent-ids.ts';
import { Http2Stream, type StreamHost, StreamTable } from './stream.ts';

/** Settings that all connections of one kind share. */
export interface ConnectionSetting {
  /** The bytes that the peer must send before its first frame, and those that this side sends. */
  readonly expectedPreface: string;
  readonly ownPreface: string;
  /** SETTINGS that this side announces, apart from its windows. RFC 9113, section 6.5.2. */
  readonly settings: readonly (readonly [number, number])[];
  /** Flow-control window of a stream, in bytes. It is refilled whenever half of it has been read. */
  readonly streamWindow: number;
  /** Flow-control window of the connection, in bytes. */
  readonly connectionWindow: number;
  /** Bytes held for slow readers of bodies. Above this, the connection window is not refilled. */
  readonly maxOwed: number;
  /** Bytes other than DATA that the peer may leave unread before the connection is closed. */
  readonly maxUnread: number;
  readonly maxFieldBytes: number;
  /** Room for a field block of several frames while it arrives. Undefined if only `maxFieldBytes` limits it. */
  readonly fieldRoom?: FieldRoom | undefined;
  readonly maxFields: number;
  /** Budget of resets, by the peer or for its faults: at once, and regained per second. */
  readonly resets: readonly [number, number];
  /** Budget of frames without effect, and of frames that this side must answer. */
  readonly oddities: readonly [number, number];
  /** Budget of WINDOW_UPDATE frames beyond those that answer DATA, and of tiny DATA frames. */
  readonly trifles: readonly [number, number];
}

/** Room for long field blocks, which connections share. */
export interface FieldRoom {
  /** Makes room for a block that grows from `before` to `after` bytes; false if there is none, and then takes none. */
  resize(before: number, after: number): boolean;
}

/** Why a connection is closed. */
export interface Http2Fault {
  readonly code: number;
  readonly reason: string;
}

export function fault(code: number, reason: string): Http2Fault {
  return { code, reason };
}

/**
 * CONTINUATION frames allowed per field block beyond those that full frames need. CVE-2024-28182 is about endless ones.
 */
const spareContinuations = 64;
/** A chunk smaller than this share of its buffer is copied, so that it does not keep the whole buffer alive. */
const keptPart = 1 / 8;
/** Bytes charged per chunk besides its content, so that many small chunks are not free. */
const pieceCost = 512;
/** A frame without effect costs as much again for this many bytes, because this side has read and decrypted them. */
const oddBytes = 1024;
/** This many bytes of DATA for an ended stream cost one small frame: less than a window can be on its way. */
const lateBytes = 4 * 1024;
/** A smaller DATA frame spends from the budget of small frames, unless it is the last of its stream. */
const trifleBytes = 64;
const noBytes = Buffer.alloc(0);

/**
 * The common base of both sides of an HTTP/2 connection (RFC 9113): frames, windows, settings, and limits on the peer's
 * cost.
 *
 * - It supports neither push nor priorities.
 * - It answers abuse with ENHANCE_YOUR_CALM and closes the connection: streams reset as fast as they are made
 *   (CVE-2023-44487), or made to be reset (CVE-2025-8671), endless field blocks, frames without effect or more
 *   expensive than their DATA justifies, and a peer that makes this side write and does not read.
 * - It limits the memory that a peer can use: fields by their limits, bodies by flow-control windows.
 */
export abstract class Http2Connection implements FrameTaker, StreamHost {
  protected readonly socket: Duplex;
  protected readonly decoder: HpackDecoder;
  protected readonly output: Http2Output;
  protected readonly streams = new StreamTable();
  /** `ended`: nothing is read any more, and no stream is open. */
  protected state: 'open' | 'ended' | 'closed' = 'open';
  /** True once the peer's first SETTINGS have arrived. */
  protected knowsSettings = false;
  /** True if anything has arrived since this was last set to false. */
  protected heard = false;
  readonly #setting: ConnectionSetting;
  readonly #reader: FrameReader;
  readonly #resets: Budget;
  readonly #oddities: Budget;
  readonly #trifles: Budget;
  #receiveWindow: number;
  #credit = 0;
  #owed = 0;
  #withheld = 0;
  /** A field block that CONTINUATION frames have yet to complete. */
  #block:
    | { readonly id: number; readonly ends: boolean; readonly parts: Buffer[]; bytes: number; charged: number }
    | undefined;
  /** Stream of the DATA frame that is arriving; undefined if that stream has closed. */
  #dataStream: Http2Stream | undefined;
  #dataEnds = false;
  readonly #recent = new RecentIds();
  readonly #discarded = new DiscardedBytes();

  constructor(socket: Duplex, options: ConnectionSetting, now: () => number) {
    const { settings, streamWindow, connectionWindow } = options;
    this.socket = socket;
    this.#setting = options;
    this.#reader = new FrameReader(this, options.expectedPreface);
    this.#receiveWindow = connectionWindow;
    this.decoder = new HpackDecoder({ maxBytes: options.maxFieldBytes, maxFields: options.maxFields });
    this.output = new Http2Output(socket, this.#onSent, this.#onCrash);
    this.#resets = new Budget(...options.resets, now);
    this.#oddities = new Budget(...options.oddities, now);
    this.#trifles = new Budget(...options.trifles, now);
    this.output.send(options.ownPreface + settingsFrame([...settings, [setting.initialWindowSize, streamWindow]]));
    this.output.sendWindowUpdate(0, connectionWindow - defaultWindow);
    socket.on('data', this.#onBytes);
    socket.on('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
    socket.on('close', this.#onClose);
  }

  /** Bytes that the connection itself holds: an incomplete list of fields, and frames to send. */
  heldBytes(): number {
    return (this.#block?.bytes ?? 0) + this.#reader.heldBytes + this.output.heldBytes();
  }

  /** Ends the connection at once, without a reason. */
  cut(): void {
    this.socket.destroy();
  }

  /** The number of open streams. */
  size(): number {
    return this.streams.size;
  }

  onUnreadable(reason: 'frame' | 'preface'): void {
    if (reason === 'frame') this.fail(fault(errorCode.frameSize, 'a frame is too long'));
    else this.fail(fault(errorCode.protocol, 'the preface is not that of HTTP/2'));
  }

  mayTake(type: number, length: number): boolean {
    return (type !== frameType.headers && type !== frameType.continuation) || this.mayReadHead(length);
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    this.fail(this.#takeFrame(type, flags, id, bytes, from, to));
  }

  #takeFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    const length = to - from;
    if (this.#block !== undefined && type !== frameType.continuation)
      return fault(errorCode.protocol, 'another frame within a field block');
    if (!this.knowsSettings && type !== frameType.settings)
      return fault(errorCode.protocol, 'the first frame is not SETTINGS');
    switch (type) {
      case frameType.data:
        return this.#onPaddedData(flags, id, bytes, from, to);
      case frameType.headers:
        return this.#onHeaders(flags, id, bytes, from, to);
      case frameType.priority:
        if (id === 0) return fault(errorCode.protocol, 'PRIORITY on stream 0');
        if (length !== 5) return this.refuse(id, errorCode.frameSize);
        return this.countOddity();
      case frameType.reset:
        return this.#onReset(id, length, length === 4 ? bytes.readUInt32BE(from) : 0);
      case frameType.settings:
        return this.#onSettings(flags, id, bytes, from, to);
      case frameType.ping:
        return this.#onPing(flags, id, bytes, from, to);
      case frameType.goaway:
        if (id !== 0) return fault(errorCode.protocol, 'GOAWAY not on stream 0');
        if (length < 8) return fault(errorCode.frameSize, 'GOAWAY is too short');
        this.onGoaway(bytes.readUInt32BE(from) & 0x7fffffff);
        return this.countOddity(length);
      case frameType.windowUpdate:
        return this.#onWindowUpdate(id, bytes, from, length);
      case frameType.continuation:
        return this.#onContinuation(flags, id, bytes, from, to);
      case frameType.pushPromise:
        return fault(errorCode.protocol, 'PUSH_PROMISE, although push is disabled');
      default:
        // RFC 9113, section 4.1: unknown frame types are ignored.
        return this.countOddity(length);
    }
  }

  onDataHead(flags: number, id: number, length: number): void {
    this.#dataEnds = (flags & flag.endStream) !== 0;
    this.#dataStream = this.#admitData(id, length);
    if (length > 0 && length < trifleBytes && !this.#dataEnds) this.fail(this.#countTrifle());
    if (length === 0 && this.state !== 'ended') this.onData(noBytes, true);
  }

  onData(piece: Buffer, isLast: boolean): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.isClosed) {
      this.#giveBack(piece.length);
      return;
    }
    if (piece.length > 0) this.fail(this.#deliver(stream, piece));
    else if (!this.#dataEnds) this.fail(this.countOddity());
    if (isLast && this.#dataEnds && !stream.isClosed) this.fail(this.endRemote(stream));
  }

  flushSoon(stream: Http2Stream): void {
    if (!stream.isClosed) this.output.markReady(stream);
  }

  isCongested(): boolean {
    return this.output.isCongested();
  }

  sendInterim(stream: Http2Stream, block: string): void {
    this.output.sendFields(stream.id, block, false);
  }

  reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    this.resetId(stream.id, code);
    this.closeStream(stream, false);
  }

  onResume(stream: Http2Stream): void {
    const { owed } = stream;
    this.#repay(stream);
    this.#giveBackTo(stream, owed);
  }

  readonly #onBytes = (chunk: Buffer): void => {
    if (this.state !== 'open') {
      this.#discarded.drop(this.socket, chunk.length);
      return;
    }
    this.heard = true;
    this.#read(chunk);
  };

  #read(chunk: Buffer): void {
    try {
      this.#reader.read(chunk);
    } catch (error) {
      this.#onCrash(error);
    }
    if (this.output.isDrowned(this.#setting.maxUnread))
      this.fail(fault(errorCode.enhanceYourCalm, 'it reads too little of what it makes this side write'));
  }

  /** Continues to read after `mayReadHead` has returned false. */
  protected readOn(): void {
    this.socket.resume();
    if (this.state === 'open') this.#read(noBytes);
  }

  /** Ends this connection alone after a bug, so that no other suffers. */
  readonly #onCrash = (error: unknown): void => {
    this.fail(fault(errorCode.internal, error instanceof Error ? (error.stack ?? error.message) : String(error)));
    this.socket.destroy();
  };

  readonly #onEnd = (): void => {
    // The peer has closed its side, so it has left.
    this.socket.destroy();
  };

  readonly #onDrain = (): void => {
    this.output.onDrain();
  };

  readonly #onClose = (): void => {
    this.#stop('closed');
    this.onClosed();
  };

  readonly #onSent = (streams: readonly Http2Stream[]): void => {
    for (const stream of streams) {
      if (!stream.isClosed) this.onLocalEnd(stream);
    }
  };

  /** False if a frame of a field block must wait. The override then calls `readOn` later. */
  protected abstract mayReadHead(length: number): boolean;
  /** True for a stream that neither side has opened. */
  protected abstract isIdle(id: number): boolean;
  /** False until the stream's header fields have arrived. */
  protected abstract mayHaveData(stream: Http2Stream): boolean;
  /** The highest stream id that the peer has opened. */
  protected abstract lastOfOther(): number;
  /** `decoder` has read a field block. */
  protected abstract onFields(id: number, ends: boolean): Http2Fault | undefined;
  /** The stream has sent everything. */
  protected abstract onLocalEnd(stream: Http2Stream): void;
  /** The stream has received everything, and its length matches Content-Length. */
  protected abstract onRemoteEnd(stream: Http2Stream): void;
  /** A stream has closed. */
  protected abstract onStreamClosed(): void;
  /** The peer sent GOAWAY: it processes no stream above `last`. */
  protected abstract onGoaway(last: number): void;
  protected abstract onPong(payload: string): void;
  protected abstract onSetting(id: number, value: number): void;
  /** The peer's SETTINGS have arrived and apply. */
  protected abstract onSettings(): void;
  /** The connection ends because of the peer's behaviour. */
  protected abstract onFault(reason: string): void;
  /** The socket has closed. */
  protected abstract onClosed(): void;

  protected openStream(id: number): Http2Stream {
    const stream = new Http2Stream(id, this, this.output.streamWindow, this.#setting.streamWindow);
    this.streams.add(stream);
    return stream;
  }

  /** True while a field block has arrived in part. */
  protected isInFields(): boolean {
    return this.#block !== undefined;
  }

  protected sendPing(payload: string): void {
    this.output.send(frameHead(payload.length, frameType.ping, 0, 0) + payload);
  }

  /** Sends the queued frames, then ends this side. */
  protected finish(): void {
    if (this.state !== 'open') return;
    this.state = 'ended';
    this.#reader.stop();
    this.output.end();
  }

  /** Ends the connection because of the peer's behaviour. */
  protected fail(found: Http2Fault | undefined): void {
    if (found === undefined || this.state !== 'open') return;
    const isDrowned = this.output.isDrowned(this.#setting.maxUnread);
    const { code, reason } = found;
    this.output.sendGoaway(this.lastOfOther(), code);
    this.output.end();
    this.#stop('ended');
    this.onFault(reason);
    // Any other peer gets time to read the reason.
    if (isDrowned) this.socket.destroy();
    else if (code === errorCode.enhanceYourCalm) {
      // Reading anything more from it would cost this side more.
      this.socket.pause();
      this.socket.once('finish', () => this.socket.destroy());
    }
  }

  #stop(phase: 'ended' | 'closed'): void {
    this.state = phase;
    this.#dropBlock();
    this.#dataStream = undefined;
    this.#reader.stop();
    this.output.abandon();
    for (const stream of this.streams.list()) this.closeStream(stream, false);
  }

  protected closeStream(stream: Http2Stream, complete: boolean): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    stream.chunks = undefined;
    stream.queued = 0;
    this.streams.remove(stream);
    this.#repay(stream);
    stream.user?.onClosed(complete);
    this.onStreamClosed();
  }

  /** Resets a stream for a fault of the peer, which spends from its budget of resets. */
  protected refuse(id: number, code: number): Http2Fault | undefined {
    const found = this.spendReset();
    if (found !== undefined) return found;
    const stream = this.streams.get(id);
    if (stream === undefined) this.output.sendReset(id, code);
    else this.reset(stream, code);
    return undefined;
  }

  protected spendReset(): Http2Fault | undefined {
    return this.#resets.spend() ? undefined : fault(errorCode.enhanceYourCalm, 'too many streams were reset');
  }

  /** Resets a stream whose frames may still be on their way. */
  protected resetId(id: number, code: number): void {
    this.output.sendReset(id, code);
    this.#recent.add(id);
  }

  /** True if the peer may have sent a frame for this closed stream before it learned of the reset. */
  protected mayBeOnItsWay(id: number): boolean {
    return this.#recent.mayHave(id);
  }

  /** Spends from the budget of frames without effect, or with little effect for this side's work. */
  protected countOddity(bytes = 0): Http2Fault | undefined {
    return this.#oddities.spend(1 + bytes / oddBytes)
      ? undefined
      : fault(errorCode.enhanceYourCalm, 'too many frames that do nothing');
  }

  #countTrifle(cost = 1): Http2Fault | undefined {
    return this.#trifles.spend(cost) ? undefined : fault(errorCode.enhanceYourCalm, 'too many frames for what they do');
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, start: number, end: number): Http2Fault | undefined {
    if (id % 2 === 0) return fault(errorCode.protocol, 'HEADERS on a stream that is not a client’s');
    let from = start;
    let to = end;
    if ((flags & flag.padded) !== 0) {
      // In an empty frame this reads the next frame's byte; the length check below rejects it anyway.
      to -= bytes[from++] ?? 0;
    }
    if ((flags & flag.priority) !== 0) from += 5;
    if (from > to) return fault(errorCode.protocol, 'HEADERS with too much padding');
    const ends = (flags & flag.endStream) !== 0;
    if ((flags & flag.endHeaders) !== 0) {
      return this.#readFields(id, ends, bytes, from, to);
    }
    this.#block = { id, ends, parts: [Buffer.from(bytes.subarray(from, to))], bytes: to - from, charged: 0 };
    return undefined;
  }

  #onContinuation(flags: number, id: number, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    const block = this.#block;
    if (block === undefined || block.id !== id) return fault(errorCode.protocol, 'CONTINUATION without HEADERS');
    block.parts.push(Buffer.from(bytes.subarray(from, to)));
    block.bytes += to - from;
    const most = 2 * this.#setting.maxFieldBytes;
    if (block.bytes > most || block.parts.length > spareContinuations + most / defaultFrameBytes)
      return fault(errorCode.enhanceYourCalm, 'a field block is too long');
    if (this.#setting.fieldRoom?.resize(block.charged, block.bytes) === false)
      return fault(errorCode.enhanceYourCalm, 'too many long heads at once');
    block.charged = block.bytes;
    if ((flags & flag.endHeaders) === 0) return undefined;
    this.#dropBlock();
    const whole = Buffer.concat(block.parts);
    return this.#readFields(id, block.ends, whole, 0, whole.length);
  }

  #dropBlock(): void {
    if (this.#block !== undefined) this.#setting.fieldRoom?.resize(this.#block.charged, 0);
    this.#block = undefined;
  }

  #readFields(id: number, ends: boolean, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    if (!this.decoder.read(bytes, from, to)) return fault(errorCode.compression, 'fields cannot be decoded');
    return this.onFields(id, ends);
  }

  protected endRemote(stream: Http2Stream): Http2Fault | undefined {
    if ((stream.awaited ?? 0) > 0) return this.refuse(stream.id, errorCode.protocol);
    stream.remoteEnded = true;
    this.onRemoteEnd(stream);
    return undefined;
  }

  #onReset(id: number, length: number, code: number): Http2Fault | undefined {
    if (id === 0 || this.isIdle(id)) return fault(errorCode.protocol, 'RST_STREAM on an idle stream');
    if (length !== 4) return fault(errorCode.frameSize, 'RST_STREAM has the wrong size');
    const found = this.spendReset();
    if (found !== undefined) return found;
    const stream = this.streams.get(id);
    if (stream === undefined) return undefined;
    stream.resetCode = code;
    this.closeStream(stream, false);
    return undefined;
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    if (id !== 0) return fault(errorCode.protocol, 'SETTINGS not on stream 0');
    if ((flags & flag.ack) !== 0) {
      if (from !== to) return fault(errorCode.frameSize, 'a SETTINGS acknowledgement is not empty');
      return this.countOddity();
    }
    if ((to - from) % 6 !== 0) return fault(errorCode.frameSize, 'SETTINGS has the wrong size');
    let window: number | undefined;
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
          if (value > maxWindow) return fault(errorCode.flowControl, 'a window is too large');
          // The last of several values applies. Applying each would walk all streams every time.
          window = value;
          break;
        default:
          this.onSetting(bytes.readUInt16BE(at), value);
      }
    }
    this.knowsSettings = true;
    if (window !== undefined && !this.#setStreamWindow(window))
      return fault(errorCode.flowControl, 'a window is too large');
    this.output.send(frameHead(0, frameType.settings, flag.ack, 0));
    this.onSettings();
    return this.countOddity(to - from);
  }

  #setStreamWindow(value: number): boolean {
    const more = value - this.output.streamWindow;
    this.output.streamWindow = value;
    for (const stream of this.streams.list()) {
      stream.sendWindow += more;
      if (stream.sendWindow > maxWindow) return false;
      if (more > 0) this.output.markReady(stream);
    }
    return true;
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    if (id !== 0) return fault(errorCode.protocol, 'PING not on stream 0');
    if (to - from !== 8) return fault(errorCode.frameSize, 'PING has the wrong size');
    const payload = bytes.toString('latin1', from, to);
    if ((flags & flag.ack) === 0) this.output.send(frameHead(8, frameType.ping, flag.ack, 0) + payload);
    else this.onPong(payload);
    return this.countOddity();
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, length: number): Http2Fault | undefined {
    if (length !== 4) return fault(errorCode.frameSize, 'WINDOW_UPDATE has the wrong size');
    if (id !== 0 && this.isIdle(id)) return fault(errorCode.protocol, 'WINDOW_UPDATE on an idle stream');
    if (!this.output.takeUpdate()) {
      const found = this.#countTrifle();
      if (found !== undefined) return found;
    }
    const more = bytes.readUInt32BE(from) & 0x7fffffff;
    if (id === 0) {
      if (more === 0) return fault(errorCode.protocol, 'WINDOW_UPDATE of 0');
      return this.output.grow(more) ? undefined : fault(errorCode.flowControl, 'a window is too large');
    }
    const stream = this.streams.get(id);
    // This side may have closed the stream while the frame was on its way.
    if (stream === undefined) return undefined;
    stream.sendWindow += more;
    if (more === 0) return this.refuse(id, errorCode.protocol);
    if (stream.sendWindow > maxWindow) return this.refuse(id, errorCode.flowControl);
    if (stream.queued > 0) this.output.markReady(stream);
    return undefined;
  }

  #onPaddedData(flags: number, id: number, bytes: Buffer, from: number, to: number): Http2Fault | undefined {
    const length = to - from;
    const padding = 1 + (bytes[from] ?? 0);
    if (padding > length) return fault(errorCode.protocol, 'DATA with too much padding');
    this.#dataEnds = (flags & flag.endStream) !== 0;
    this.#dataStream = this.#admitData(id, length);
    if (this.state === 'ended') return undefined;
    const content = length - padding;
    if (content > 0 && content < trifleBytes && !this.#dataEnds) this.fail(this.#countTrifle());
    const stream = this.#dataStream;
    this.#giveBack(padding);
    if (stream !== undefined) this.#giveBackTo(stream, padding);
    this.onData(bytes.subarray(from + 1, to - padding + 1), true);
    return undefined;
  }

  /** The stream that accepts the data, if there is one. The frame counts against the connection window in any case. */
  #admitData(id: number, length: number): Http2Stream | undefined {
    if (this.#block !== undefined || !this.knowsSettings) {
      this.fail(fault(errorCode.protocol, 'DATA where it is not allowed'));
      return undefined;
    }
    if (id === 0 || this.isIdle(id)) {
      this.fail(fault(errorCode.protocol, 'DATA on an idle stream'));
      return undefined;
    }
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      this.fail(fault(errorCode.flowControl, 'more DATA than the connection’s window allows'));
      return undefined;
    }
    const stream = this.streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      this.fail(
        this.mayBeOnItsWay(id) ? this.#countTrifle(length / lateBytes) : this.refuse(id, errorCode.streamClosed),
      );
      return undefined;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow >= 0 && this.mayHaveData(stream)) return stream;
    this.fail(this.refuse(id, stream.receiveWindow < 0 ? errorCode.flowControl : errorCode.protocol));
    return undefined;
  }

  #deliver(stream: Http2Stream, piece: Buffer): Http2Fault | undefined {
    const { length } = piece;
    if (stream.awaited !== undefined) {
      stream.awaited -= length;
      if (stream.awaited < 0) {
        this.#giveBack(length);
        return this.refuse(stream.id, errorCode.protocol);
      }
    }
    // A small chunk would keep its whole buffer in memory.
    const isSmall = length < piece.buffer.byteLength * keptPart;
    const wants = stream.user?.onData(isSmall ? Buffer.from(piece) : piece) === true;
    if (wants || stream.isClosed) {
      this.#giveBack(length);
      if (!stream.isClosed) this.#giveBackTo(stream, length);
      return undefined;
    }
    stream.isPaused = true;
    stream.owed += length;
    stream.owedCost += length + pieceCost;
    this.#owed += length + pieceCost;
    if (this.#owed < this.#setting.maxOwed) this.#giveBack(length);
    else this.#withheld += length;
    return undefined;
  }

  #repay(stream: Http2Stream): void {
    this.#owed -= stream.owedCost;
    stream.owed = 0;
    stream.owedCost = 0;
    if (this.#owed >= this.#setting.maxOwed || this.#withheld === 0) return;
    const withheld = this.#withheld;
    this.#withheld = 0;
    this.#giveBack(withheld);
  }

  #giveBack(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < this.#setting.connectionWindow / 2) return;
    this.output.sendWindowUpdate(0, this.#credit);
    this.#receiveWindow += this.#credit;
    this.#credit = 0;
  }

  #giveBackTo(stream: Http2Stream, bytes: number): void {
    stream.credit += bytes;
    if (stream.credit < this.#setting.streamWindow / 2 || stream.remoteEnded) return;
    this.output.sendWindowUpdate(stream.id, stream.credit);
    stream.receiveWindow += stream.credit;
    stream.credit = 0;
  }
}
