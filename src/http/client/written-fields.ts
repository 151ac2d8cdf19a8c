/** Fields as they were written for one server. */
interface Written {
  readonly address: string;
  readonly text: string;
}

/** What connections have written of one list of header fields, so that the same list is written once. */
export class WrittenFields {
  #head: Written | undefined;
  #block: Written | undefined;

  /** Bytes that are kept. */
  get size(): number {
    return (this.#head?.text.length ?? 0) + (this.#block?.text.length ?? 0);
  }

  /** Lines of HTTP/1.1. */
  headFor(address: string): string | undefined {
    return this.#head?.address === address ? this.#head.text : undefined;
  }

  keepHead(address: string, text: string): void {
    this.#head = { address, text };
  }

  /** What follows the path in an encoded field block of HTTP/2. */
  blockFor(address: string): string | undefined {
    return this.#block?.address === address ? this.#block.text : undefined;
  }

  keepBlock(address: string, text: string): void {
    this.#block = { address, text };
  }
}
