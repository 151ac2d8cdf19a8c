import { defaultFrameBytes, flag, frameHeadBytes, frameType } from './frames.ts';

/** Receives frames. It may call `stop` while it handles one. */
export interface FrameTaker {
  /** A whole frame, of any kind but unpadded DATA. `bytes[from, to)` is its payload; do not keep it. */
  onFrame(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void;
  /** Asked before `onFrame`. If false, the reader keeps the frame and all that follows until the next `read`. */
  mayTake(type: number, length: number): boolean;
  /** The head of an unpadded DATA frame. Its content follows in pieces, by `onData`. */
  onDataHead(flags: number, stream: number, length: number): void;
  onData(piece: Buffer, isLast: boolean): void;
  /** A frame is too long, or the bytes are not HTTP/2. */
  onUnreadable(reason: 'frame' | 'preface'): void;
}

/**
 * Splits incoming bytes into frames. It holds at most one frame, and the bytes that must wait. RFC 9113, section 4.1.
 */
export class FrameReader {
  readonly #taker: FrameTaker;
  /** What must precede the first frame, and how many bytes of it have arrived. */
  readonly #preface: string;
  #prefaceAt = 0;
  /** The start of an incomplete frame. */
  #rest: Buffer | undefined;
  /** Bytes still to come of a DATA frame that arrives in pieces. */
  #dataLeft = 0;
  #stopped = false;

  constructor(taker: FrameTaker, preface: string) {
    this.#taker = taker;
    this.#preface = preface;
  }

  /** Bytes that have arrived and were not accepted. */
  get heldBytes(): number {
    return this.#rest?.length ?? 0;
  }

  /** Ignores all further bytes. */
  stop(): void {
    this.#stopped = true;
    this.#rest = undefined;
  }

  read(chunk: Buffer): void {
    if (this.#stopped) return;
    let bytes = chunk;
    let at = 0;
    while (this.#prefaceAt < this.#preface.length && at < bytes.length)
      if (bytes[at++] !== this.#preface.charCodeAt(this.#prefaceAt++)) {
        this.#taker.onUnreadable('preface');
        return;
      }
    if (this.#rest !== undefined) {
      bytes = chunk.length === 0 ? this.#rest : Buffer.concat([this.#rest, chunk]);
      this.#rest = undefined;
    }
    let isKept = false;
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
      isKept = !this.#taker.mayTake(type, length);
      if (isKept) break;
      const from = at + frameHeadBytes;
      at = end;
      this.#taker.onFrame(type, flags, stream, bytes, from, end);
    }
    if (this.#stopped || at >= bytes.length) return;
    const rest = bytes.subarray(at);
    // A copy: part of a frame is short, and a view would keep its whole buffer alive.
    this.#rest = isKept ? rest : Buffer.from(rest);
  }
}
