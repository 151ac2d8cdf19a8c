import { defaultFrameBytes, flag, frameHeadBytes, frameType } from './frames.ts';

/** Takes frames. What it does with one may end the reading, by `stop`. */
export interface FrameTaker {
  /** Any frame but unpadded DATA, whole: its payload is `bytes` from `from` to `to`, to be used at once. */
  onFrame(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void;
  /** The head of an unpadded DATA frame; what is in it comes by `onData`, in pieces. */
  onDataHead(flags: number, stream: number, length: number): void;
  onData(piece: Buffer, isLast: boolean): void;
  /** A frame that is longer than was allowed, or bytes that are no HTTP/2. */
  onUnreadable(reason: 'frame' | 'preface'): void;
}

/** Cuts what comes into frames, and holds no more than one. RFC 9113, section 4.1. */
export class FrameReader {
  readonly #taker: FrameTaker;
  /** What has to come before the first frame, and how much of it has. */
  readonly #preface: string;
  #prefaceAt = 0;
  /** The beginning of a frame. */
  #rest: Buffer | undefined;
  /** Of a DATA frame that comes in pieces. */
  #dataLeft = 0;
  #stopped = false;

  constructor(taker: FrameTaker, preface: string) {
    this.#taker = taker;
    this.#preface = preface;
  }

  /** Nothing more is looked at. */
  stop(): void {
    this.#stopped = true;
    this.#rest = undefined;
  }

  read(chunk: Buffer): void {
    let bytes = chunk;
    let at = 0;
    while (this.#prefaceAt < this.#preface.length && at < bytes.length)
      if (bytes[at++] !== this.#preface.charCodeAt(this.#prefaceAt++)) {
        this.#taker.onUnreadable('preface');
        return;
      }
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = undefined;
    }
    while (!this.#stopped) {
      if (this.#dataLeft > 0) {
        if (at >= bytes.length) return;
        const end = Math.min(bytes.length, at + this.#dataLeft);
        this.#dataLeft -= end - at;
        const piece = bytes.subarray(at, end);
        at = end;
        this.#taker.onData(piece, this.#dataLeft === 0);
        continue;
      }
      if (bytes.length - at < frameHeadBytes) break;
      const length = bytes.readUIntBE(at, 3);
      const type = bytes[at + 3] ?? 0;
      const flags = bytes[at + 4] ?? 0;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      if (length > defaultFrameBytes) {
        this.#taker.onUnreadable('frame');
        return;
      }
      if (type === frameType.data && (flags & flag.padded) === 0) {
        at += frameHeadBytes;
        this.#dataLeft = length;
        this.#taker.onDataHead(flags, stream, length);
        continue;
      }
      const end = at + frameHeadBytes + length;
      if (end > bytes.length) break;
      const from = at + frameHeadBytes;
      at = end;
      this.#taker.onFrame(type, flags, stream, bytes, from, end);
    }
    // A copy, as it is short and would keep all that it came with.
    if (!this.#stopped && at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }
}
