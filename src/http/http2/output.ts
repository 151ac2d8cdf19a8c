import type { Duplex } from 'node:stream';
import {
  defaultFrameBytes,
  defaultWindow,
  fieldFrames,
  flag,
  frameHead,
  frameType,
  maxWindow,
  uint32,
} from './frames.ts';
import { forgetAll } from './hpack-encoder.ts';
import type { Http2Stream } from './stream.ts';

/** No DATA is written while the socket buffers more than this. */
const congestedBytes = 256 * 1024;
/** A reader may refill two windows, the stream's and the connection's, after each frame and in the middle of it. */
const updatesPerFrame = 4;
const bytesPerUpdate = 1024;
/** Unsent bytes of a stream below which its user may write again. */
const lowMark = 32 * 1024;

/**
 * The sending half of one connection.
 *
 * All writes of one event-loop turn leave as one buffer, so TLS encrypts and sends them together. Streams take
 * turns, one frame each, as the windows (RFC 9113, section 5.2) and the socket permit.
 */
export class Http2Output {
  /** The connection's send window. */
  window = defaultWindow;
  /** Initial send window of a stream, as the peer has set it. */
  streamWindow = defaultWindow;
  readonly #socket: Duplex;
  readonly #onSent: (streams: readonly Http2Stream[]) => void;
  readonly #onCrash: (error: unknown) => void;
  #parts: (string | Uint8Array)[] = [];
  #size = 0;
  #ready: Http2Stream[] = [];
  /** Streams whose users wait until the socket has room. */
  #relieved: Http2Stream[] = [];
  #isScheduled = false;
  #isClosed = false;
  /** WINDOW_UPDATE frames that the DATA sent so far entitles the peer to. */
  #updatesDue = 0;
  /** Precedes the first field block. */
  #greeting = forgetAll;

  /** `onSent` gets streams whose last byte the socket has accepted; `onCrash` gets errors that users have thrown. */
  constructor(socket: Duplex, onSent: (streams: readonly Http2Stream[]) => void, onCrash: (error: unknown) => void) {
    this.#socket = socket;
    this.#onSent = onSent;
    this.#onCrash = onCrash;
  }

  isCongested(): boolean {
    return this.#socket.writableLength >= congestedBytes;
  }

  /**
   * Unsent bytes, except DATA that waits for a window. Bytes in the socket count a second time, because they are
   * encrypted there.
   */
  heldBytes(): number {
    return this.#size + 2 * this.#socket.writableLength;
  }

  /** True for a WINDOW_UPDATE that answers DATA; false for one more than the DATA sent justifies. */
  takeUpdate(): boolean {
    if (this.#updatesDue < 1) return false;
    this.#updatesDue--;
    return true;
  }

  /** True if the peer makes this side write and does not read. */
  isDrowned(maxUnread: number): boolean {
    return this.#socket.writableLength + this.#size >= maxUnread;
  }

  /** Sends a frame that flow control does not count. */
  send(frame: string): void {
    this.#add(frame);
    this.#schedule();
  }

  sendReset(id: number, code: number): void {
    this.send(frameHead(4, frameType.reset, 0, id) + uint32(code));
  }

  sendWindowUpdate(id: number, bytes: number): void {
    this.send(frameHead(4, frameType.windowUpdate, 0, id) + uint32(bytes));
  }

  sendGoaway(last: number, code: number): void {
    this.send(frameHead(8, frameType.goaway, 0, 0) + uint32(last) + uint32(code));
  }

  /** Sends a field block ahead of everything else that its stream has queued. */
  sendFields(id: number, block: string, ends: boolean): void {
    this.send(fieldFrames(this.#greeting + block, id, ends ? flag.endStream : 0));
    this.#greeting = '';
  }

  /** Queues a stream for its turn to send. */
  markReady(stream: Http2Stream): void {
    if (stream.isReady) return;
    stream.isReady = true;
    this.#ready.push(stream);
    this.#schedule();
  }

  /** Grows the connection's send window. Returns false on overflow. */
  grow(bytes: number): boolean {
    this.window += bytes;
    this.onDrain();
    return this.window <= maxWindow;
  }

  /** Continues after the socket or a window has room again. */
  onDrain(): void {
    if (this.#ready.length > 0 || this.#relieved.length > 0) this.#schedule();
  }

  /** Sends the queued bytes, and nothing after that. */
  end(): void {
    this.flush();
    this.#isClosed = true;
    this.#ready = [];
    if (!this.#socket.writableEnded) this.#socket.end();
  }

  /** Drops the queued bytes, because nothing can be sent any more. */
  abandon(): void {
    this.#isClosed = true;
    this.#ready = [];
    this.#relieved = [];
    this.#parts = [];
    this.#size = 0;
  }

  readonly flush = (): void => {
    try {
      this.#flush();
    } catch (error) {
      this.#onCrash(error);
    }
  };

  #flush(): void {
    this.#isScheduled = false;
    // The close of a destroyed socket is reported elsewhere.
    if (this.#isClosed || this.#socket.destroyed) return;
    const sent = this.#ready.length === 0 ? none : this.#takeTurns();
    if (this.#size > 0) this.#socket.write(this.#join());
    if (sent.length > 0) this.#onSent(sent);
    // A socket that accepted everything at once emits no drain.
    if (this.#ready.length > 0 && this.window > 0 && !this.isCongested()) this.#schedule();
    if (this.#relieved.length > 0 && !this.isCongested()) this.#relieve();
  }

  #relieve(): void {
    const relieved = this.#relieved;
    this.#relieved = [];
    for (const stream of relieved)
      if (!stream.isClosed) {
        stream.wantsDrain = false;
        stream.user?.onRoom();
      }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    setImmediate(this.flush);
  }

  #add(part: string | Uint8Array): void {
    this.#size += part.length;
    const at = this.#parts.length - 1;
    const last = this.#parts[at];
    if (typeof part === 'string' && typeof last === 'string') this.#parts[at] = last + part;
    else this.#parts.push(part);
  }

  #join(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      if (typeof part === 'string') bytes.write(part, at, 'latin1');
      else bytes.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#size = 0;
    return bytes;
  }

  #takeTurns(): Http2Stream[] {
    const sent: Http2Stream[] = [];
    let room = congestedBytes - this.#socket.writableLength;
    for (;;) {
      const turn = this.#ready;
      // A stream that had its turn waits until all others had theirs, in this flush or the next.
      const served: Http2Stream[] = [];
      const unserved: Http2Stream[] = [];
      for (const stream of turn) {
        const before = this.#size;
        if (stream.isClosed) stream.isReady = false;
        else if (this.#takeTurn(stream, room)) sent.push(stream);
        else if (stream.queued === 0 || stream.sendWindow <= 0) stream.isReady = false;
        else if (this.#size === before) unserved.push(stream);
        else served.push(stream);
        room -= this.#size - before;
      }
      this.#ready = unserved.concat(served);
      if (served.length === 0) return sent;
    }
  }

  /** Sends one frame of the stream. Returns true if it was the last. */
  #takeTurn(stream: Http2Stream, room: number): boolean {
    const { id } = stream;
    const ends = () => stream.isEnding && stream.queued === 0;
    if (stream.head !== '') {
      const only = ends() && stream.trailers === '';
      this.#add(fieldFrames(this.#greeting + stream.head, id, only ? flag.endStream : 0));
      this.#greeting = '';
      stream.head = '';
      if (only) return this.#finish(stream);
    }
    if (stream.queued > 0) {
      const most = Math.min(stream.queued, defaultFrameBytes, stream.sendWindow, this.window, room);
      if (most <= 0) return false;
      const isLast = most === stream.queued && stream.isEnding && stream.trailers === '';
      this.#add(frameHead(most, frameType.data, isLast ? flag.endStream : 0, id));
      stream.sendWindow -= most;
      this.window -= most;
      this.#updatesDue += updatesPerFrame + most / bytesPerUpdate;
      this.#takeData(stream, most);
      if (stream.wantsDrain && stream.queued <= lowMark && !this.#relieved.includes(stream))
        this.#relieved.push(stream);
      if (isLast) return this.#finish(stream);
    }
    if (!ends()) return false;
    if (stream.trailers === '') this.#add(frameHead(0, frameType.data, flag.endStream, id));
    else this.#add(fieldFrames(stream.trailers, id, flag.endStream));
    return this.#finish(stream);
  }

  #finish(stream: Http2Stream): boolean {
    stream.localEnded = true;
    stream.isReady = false;
    return true;
  }

  #takeData(stream: Http2Stream, bytes: number): void {
    const chunks = stream.chunks ?? [];
    stream.queued -= bytes;
    let left = bytes;
    let used = 0;
    for (; left > 0; used++) {
      const chunk = chunks[used];
      if (chunk === undefined) break;
      const end = Math.min(chunk.length, stream.offset + left);
      left -= end - stream.offset;
      this.#add(stream.offset === 0 && end === chunk.length ? chunk : chunk.subarray(stream.offset, end));
      stream.offset = end;
      if (end < chunk.length) break;
      stream.offset = 0;
    }
    if (used === chunks.length) stream.chunks = undefined;
    else chunks.splice(0, used);
  }
}

const none: readonly Http2Stream[] = [];
