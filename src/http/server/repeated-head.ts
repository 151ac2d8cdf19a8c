import type { RawHeaders } from '../fields.ts';
import { objectToLine } from './objections.ts';

const plainLine = /^GET ([^ ]+) HTTP\/1\.1\r\n$/;

/**
 * The head of a connection's last GET: most clients repeat the same fields with every request.
 *
 * If the fields are, byte for byte, those that the parser accepted in the last GET of the connection, and the
 * first line is unambiguous, the head needs no parser. The parser reads everything else.
 */
export class RepeatedHead {
  #chunk: Buffer | undefined;
  #fieldsAt = 0;
  #rawHeaders: RawHeaders = [];

  /** Bytes kept in addition to the fields. */
  get size(): number {
    return this.#chunk?.length ?? 0;
  }

  /** Fields of the last matched head. */
  get rawHeaders(): RawHeaders {
    return this.#rawHeaders;
  }

  /**
   * Call it with the whole head of an HTTP/1.1 GET without a body that keeps its connection, if the head came alone in
   * one chunk. It keeps the chunk, which must not be written to.
   */
  remember(chunk: Buffer, rawHeaders: RawHeaders): void {
    const lineEnd = chunk.indexOf('\r\n');
    // A head that begins in another way, such as with empty lines, is not cached.
    const isPlain = plainTarget(chunk.toString('latin1', 0, lineEnd + 2)) !== undefined;
    this.#chunk = isPlain && chunk.length <= maxKept ? keep(chunk) : undefined;
    this.#fieldsAt = lineEnd + 2;
    this.#rawHeaders = rawHeaders;
  }

  /** The target of the request if `chunk` is exactly a head with the same fields. */
  match(chunk: Buffer, maxHeaderBytes: number): string | undefined {
    const known = this.#chunk;
    if (known === undefined || chunk.length > maxHeaderBytes) return undefined;
    const lineBytes = chunk.length - (known.length - this.#fieldsAt);
    if (lineBytes <= 0 || known.compare(chunk, lineBytes, chunk.length, this.#fieldsAt) !== 0) return undefined;
    return plainTarget(chunk.toString('latin1', 0, lineBytes));
  }
}

/** The target of a request line with only one reading. */
function plainTarget(line: string): string | undefined {
  const target = plainLine.exec(line)?.[1];
  return target === undefined || objectToLine('GET', target) !== undefined ? undefined : target;
}

/** An idle connection keeps at most this many bytes. */
const maxKept = 8 * 1024;

/** A piece of a larger buffer would keep all of it. */
function keep(chunk: Buffer): Buffer {
  if (chunk.buffer.byteLength <= maxKept) return chunk;
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  chunk.copy(copy);
  return copy;
}
