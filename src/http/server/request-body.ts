/** The source of a body's bytes. */
interface BodySource {
  /** The reader accepts more. */
  onRoom(): void;
}

/** Default of unread bytes above which the source is paused. */
const defaultHighMark = 256 * 1024;
/** Bytes charged per chunk besides its content, so that many small chunks are not free. */
const chunkCost = 512;
/** Unread chunks smaller than this are joined, since each alone would cost more than its content. */
const smallBytes = 1024;
const joinedBytes = 4 * 1024;

/** The body of a request as it arrives, read once and in order. */
export class RequestBody implements AsyncIterableIterator<Uint8Array> {
  /** True once the last byte has arrived. */
  complete = false;
  readonly #source: BodySource;
  readonly #highMark: number;
  #chunks: Uint8Array[] = [];
  /** Index of the next chunk to read. */
  #next = 0;
  /** The buffer behind the last chunk, while more can be joined to it. */
  #tail: Buffer | undefined;
  #held = 0;
  #error: Error | undefined;
  #waiting: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: Error): void } | undefined;

  /** Unread bytes, plus the cost of their chunks. */
  get held(): number {
    return this.#held;
  }

  constructor(source: BodySource, highMark = defaultHighMark) {
    this.#source = source;
    this.#highMark = highMark;
  }

  /** Returns false if the source should pause until `onRoom`. */
  push(chunk: Uint8Array): boolean {
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return true;
    }
    if (!this.#join(chunk)) {
      this.#chunks.push(chunk);
      this.#tail = undefined;
      this.#held += chunk.length + chunkCost;
    }
    return this.#held < this.#highMark;
  }

  #join(chunk: Uint8Array): boolean {
    if (chunk.length >= smallBytes) return false;
    const at = this.#chunks.length - 1;
    const used = this.#tail === undefined ? 0 : (this.#chunks[at]?.length ?? 0);
    if (this.#tail !== undefined && used + chunk.length <= joinedBytes) {
      this.#tail.set(chunk, used);
      this.#chunks[at] = this.#tail.subarray(0, used + chunk.length);
      this.#held += chunk.length;
      return true;
    }
    // The first small chunk stays separate, because most bodies are a single chunk.
    const before = this.#chunks[at];
    if (before === undefined || at < this.#next || before.length >= smallBytes) return false;
    const tail = Buffer.allocUnsafeSlow(joinedBytes);
    tail.set(before, 0);
    tail.set(chunk, before.length);
    this.#tail = tail;
    this.#chunks[at] = tail.subarray(0, before.length + chunk.length);
    this.#held += chunk.length;
    return true;
  }

  finish(): void {
    this.complete = true;
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  /** Drops the unread bytes, and fails the reader. */
  fail(error: Error): void {
    if (this.complete) return;
    this.#error = error;
    this.#held = 0;
    this.#chunks = [];
    this.#next = 0;
    this.#tail = undefined;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#take();
    if (chunk !== undefined) {
      this.#held -= chunk.length + chunkCost;
      if (this.#held < this.#highMark) this.#source.onRoom();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.complete) return Promise.resolve({ done: true, value: undefined });
    if (this.#waiting !== undefined) return Promise.reject(new Error('a body can have only one reader'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #take(): Uint8Array | undefined {
    const chunk = this.#chunks[this.#next];
    if (chunk === undefined) return undefined;
    if (++this.#next < this.#chunks.length) return chunk;
    this.#chunks = [];
    this.#next = 0;
    this.#tail = undefined;
    return chunk;
  }

  /** Stopping early does not end the exchange. */
  return(): Promise<IteratorResult<Uint8Array>> {
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
