const NEWLINE = 0x0a;

/** Thrown for a line that is longer than the bound. */
export class OversizedLineError extends Error {
  override readonly name = 'OversizedLineError';
}

/** Cuts a stream of bytes into lines. */
export interface LineDecoder {
  /** The lines that `chunk` completes, without their newlines; empty lines are dropped. */
  push(chunk: Uint8Array): string[];
  /** Bytes that wait for their newline. */
  readonly pendingBytes: number;
}

/**
 * Yields every line exactly once, however the stream is cut.
 *
 * Lines are cut as bytes and decoded whole: a newline byte is never part of another UTF-8 character.
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
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
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
