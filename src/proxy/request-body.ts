/** Who gives a body its bytes. */
interface BodySource {
  /** More is wanted. */
  onRoom(): void;
}

/** Unread bytes above which no more are asked for, where nothing else is said. */
const defaultHighMark = 256 * 1024;
/** What a chunk costs besides its bytes, so that many small ones are not for free. */
const chunkCost = 512;
/** Chunks below this that nobody waits for are joined, up to so many bytes: each one alone would cost more than it has. */
const smallBytes = 1024;
const joinedBytes = 4 * 1024;

/** The body of a request as it comes, read once and in order; it holds little more than it is told of it. */
export class RequestBody implements AsyncIterableIterator<Uint8Array> {
  /** True once the last byte has come. */
  complete = false;
  readonly #source: BodySource;
  readonly #highMark: number;
  #chunks: Uint8Array[] = [];
  /** Of the chunks, what was read. */
  #next = 0;
  /** What the last chunk is the beginning of, while more can be joined to it. */
  #tail: Buffer | undefined;
  #held = 0;
  #error: Error | undefined;
  #waiting: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: Error): void } | undefined;

  /** Bytes that have come and were not read, with what their chunks cost. */
  get held(): number {
    return this.#held;
  }

  constructor(source: BodySource, highMark = defaultHighMark) {
    this.#source = source;
    this.#highMark = highMark;
  }

  /** False means: no more until `onRoom`. */
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
    // The first small one stays as it is: most bodies are one.
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

  /** What has not been read is lost. */
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
    if (this.#waiting !== undefined) return Promise.reject(new Error('a body has one reader'));
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
