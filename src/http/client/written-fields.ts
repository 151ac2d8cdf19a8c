import { type LastMade, madeBefore } from '../last-made.ts';

/** What connections have written of one list of header fields, so that the same list is written once. */
export class WrittenFields {
  /** Each by the server that it was written for. */
  #head: LastMade<string, string> | undefined;
  #block: LastMade<string, string> | undefined;

  /** Bytes that are kept. */
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

  /** What follows the path in an encoded field block of HTTP/2. */
  blockFor(address: string): string | undefined {
    return madeBefore(this.#block, address);
  }

  keepBlock(address: string, text: string): void {
    this.#block = { from: address, made: text };
  }
}
