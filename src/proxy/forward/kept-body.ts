/** A request body that can be sent again while all of it is still kept. */
export interface KeptBody {
  /** The body from its first byte. Only the reader opened last may continue to read. */
  open(): AsyncIterable<Uint8Array>;
  /** True until more was read than is kept. */
  readonly whole: boolean;
  /** True once a reader has begun. */
  readonly begun: boolean;
}

/** A chunk of one byte costs a hundred times its content. */
const maxChunks = 1_000;

/**
 * Keeps the read part of a body, up to `limitBytes` and a thousand chunks. If a server proves that it did not execute
 * the request, another server gets the same body.
 *
 * An earlier reader that still waits for a chunk takes nothing from a later one: both see the same pull. `onHeld`
 * receives the number of kept bytes.
 */
export function keepBody(
  source: () => AsyncIterable<Uint8Array>,
  limitBytes: number,
  onHeld: (bytes: number) => void = () => {},
): KeptBody {
  const kept: (Uint8Array | undefined)[] = [];
  let size = 0;
  let whole = true;
  let begun = false;
  let done = false;
  let iterator: AsyncIterator<Uint8Array> | undefined;
  let pulling: Promise<void> | undefined;
  const pull = async () => {
    iterator ??= source()[Symbol.asyncIterator]();
    const next = await iterator.next();
    pulling = undefined;
    if (next.done === true) {
      done = true;
      return;
    }
    kept.push(next.value);
    size += next.value.length;
    if (size > limitBytes || kept.length > maxChunks) whole = false;
    onHeld(whole ? size : 0);
  };
  async function* read(): AsyncGenerator<Uint8Array> {
    begun = true;
    for (let at = 0; ; at++) {
      while (at >= kept.length) {
        if (done) return;
        pulling ??= pull();
        await pulling;
      }
      const chunk = kept[at];
      if (!whole) kept[at] = undefined;
      if (chunk !== undefined) yield chunk;
    }
  }
  return {
    open: () => ({ [Symbol.asyncIterator]: read }),
    get whole() {
      return whole;
    },
    get begun() {
      return begun;
    },
  };
}
