import { type LastMade, madeBefore } from '../last-made.ts';

/** The output for one list of header fields, so that connections encode the same list once. */
export class WrittenFields {
  /** Encoded heads, each by the server that it was encoded for. */
  #head: LastMade<string, string> | undefined;
  #block: LastMade<string, string> | undefined;

  /** The number of bytes kept. */
  get size(): number {
    return (this.#head?.made.length ?? 0) + (this.#block?.made.length ?? 0);
  }

  /** Lines of HTTP/1.1. */
  headFor(address: string): string | undefined {
    return madeBefore(this.#head, address);
  }

  keepHead(address: string, text: string): void {
    this.#head = { from: address, made: text };
  }

  /** The fields after the path, in an encoded HTTP/2 field block. */
  blockFor(address: string): string | undefined {
    return madeBefore(this.#block, address);
  }

  keepBlock(address: string, text: string): void {
    this.#block = { from: address, made: text };
  }
}
