/** Who gives a body its bytes. */
interface BodySource {
  /** More is wanted. */
  onRoom(): void;
}

/** Unread bytes above which no more are asked for, where nothing else is said. */
const defaultHighMark = 256 * 1024;
/** What a chunk costs besides its bytes, so that many small ones are not for free. */
const chunkCost = 512;

/** The body of a request as it comes, read once and in order; it holds little more than it is told of it. */
export class RequestBody implements AsyncIterableIterator<Uint8Array> {
  /** True once the last byte has come. */
  complete = false;
  readonly #source: BodySource;
  readonly #highMark: number;
  readonly #chunks: Uint8Array[] = [];
  #held = 0;
  #error: Error | undefined;
  #waiting: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: Error): void } | undefined;

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
    this.#chunks.push(chunk);
    this.#held += chunk.length + chunkCost;
    return this.#held < this.#highMark;
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
    this.#chunks.length = 0;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#chunks.shift();
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

  /** Stopping early does not end the exchange. */
  return(): Promise<IteratorResult<Uint8Array>> {
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
