const newline = 0x0a;

/** Thrown for a line longer than the bound. */
export class OversizedLineError extends Error {
  override readonly name = 'OversizedLineError';
}

/** Splits a stream of bytes into lines. */
export interface LineDecoder {
  /** Returns the lines that `chunk` completes, without newlines. Drops empty lines. */
  push(chunk: Uint8Array): string[];
  /** Number of bytes waiting for their newline. */
  readonly pendingBytes: number;
}

/**
 * Yields every line exactly once, however the stream is chunked.
 *
 * It splits bytes and decodes whole lines: in UTF-8, a newline byte is never part of another character.
 */
export function createLineDecoder(maxLineBytes: number): LineDecoder {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;

  function keep(part: Uint8Array) {
    if (pendingBytes + part.length > maxLineBytes) {
      throw new OversizedLineError(`a line is longer than ${maxLineBytes} bytes`);
    }
    if (part.length > 0) pending.push(part);
    pendingBytes += part.length;
  }

  return {
    push(chunk) {
      const lines: string[] = [];
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        keep(chunk.subarray(start, end));
        const line = Buffer.concat(pending, pendingBytes).toString('utf8').trim();
        if (line) lines.push(line);
        pending = [];
        pendingBytes = 0;
        start = end + 1;
      }
      keep(chunk.subarray(start));
      return lines;
    },
    get pendingBytes() {
      return pendingBytes;
    },
  };
}
