import { readContentLength } from '../content-length.ts';
import { isNamed } from '../fields.ts';
import { LlhttpWindow, llhttpCodes, loadLlhttp, readWasmText } from './load-llhttp.ts';

/** How the body of an answer is delimited. `close` means the end of the connection, which proves nothing. */
export type BodyFraming = 'none' | 'length' | 'chunked' | 'close';

/** Thrown for an answer that is not HTTP/1.1, or that has two possible readings. */
export class MalformedResponse extends Error {
  override readonly name = 'MalformedResponse';
}

/** Reads the answers of one connection, one after another, with strict llhttp. */
export interface ResponseParser {
  /** Prepares for the next answer. The answer to HEAD has no body, whatever its header fields say. */
  reset(isHead: boolean): void;
  /**
   * Reads from `chunk` at `from` until the head or the message is complete, or the chunk is used up. Returns the offset
   * that it reached. Throws MalformedResponse.
   *
   * It reads only heads and chunked bodies. The caller counts a body of known length.
   */
  read(chunk: Buffer, from: number): number;
  readonly headComplete: boolean;
  readonly messageComplete: boolean;
  readonly status: number;
  /** Hands over the fields since the last call: the head's, or a chunked body's trailers, flat. */
  takeFields(): string[];
  readonly keepAlive: boolean;
  readonly framing: BodyFraming;
  /** Bytes of the body if `framing` is `length`. */
  readonly length: number;
  /** Pieces of a chunked body found by the last `read`: start, end, start, end within its chunk. */
  readonly pieces: readonly number[];
  /** Frees the parser's memory. Do not use it afterwards. */
  free(): void;
}

/** Makes parsers that share one instance of llhttp. */
export interface ResponseParsers {
  create(): ResponseParser;
}

const { responses, ok, paused, skipBody } = llhttpCodes;
const headPieceBytes = 2 * 1024;
/** As much as Go's servers accept in a request by default (`DefaultMaxHeaderBytes` of `net/http`). */
const maxHeadBytes = 1024 * 1024;
const maxFields = 64 * 1024;

/**
 * Loads the answer parser.
 *
 * llhttp's callbacks only record its findings. Inside them, none of our code may throw or read again.
 */
export function loadResponseParsers(): ResponseParsers {
  let active: Parser | undefined;
  const llhttp = loadLlhttp({
    wasm_on_message_begin: () => ok,
    wasm_on_url: () => ok,
    wasm_on_status: (_parser, _at, length) => active?.count(length) ?? ok,
    wasm_on_header_field: (_parser, at, length) => active?.onName(at, length) ?? ok,
    wasm_on_header_value: (_parser, at, length) => active?.onValue(at, length) ?? ok,
    wasm_on_headers_complete: (_parser, status, _upgrade, keepAlive) => active?.onHead(status, keepAlive === 1) ?? ok,
    wasm_on_body: (_parser, at, length) => active?.onBody(at, length) ?? ok,
    wasm_on_message_complete: () => active?.onComplete() ?? ok,
  });
  const window = new LlhttpWindow(llhttp);
  class Parser implements ResponseParser {
    headComplete = false;
    messageComplete = false;
    status = 0;
    #fields: string[] = [];
    keepAlive = false;
    framing: BodyFraming = 'none';
    length = 0;
    pieces: number[] = [];
    readonly #pointer = llhttp.llhttp_alloc(responses);
    #isHead = false;
    #inValue = false;
    #fieldBytes = 0;
    #isPaused = false;
    #problem: string | undefined;

    reset(isHead: boolean): void {
      llhttp.llhttp_reset(this.#pointer);
      this.#isHead = isHead;
      this.#isPaused = false;
      this.#problem = undefined;
      this.#startHead();
    }

    #startHead(): void {
      this.headComplete = false;
      this.messageComplete = false;
      this.#fields = [];
      this.#inValue = true;
      this.#fieldBytes = 0;
    }

    takeFields(): string[] {
      const taken = this.#fields;
      this.#fields = [];
      return taken;
    }

    read(chunk: Buffer, from: number): number {
      if (this.pieces.length > 0) this.pieces = [];
      // An interim answer is complete; the final one follows on the same parser.
      if (this.messageComplete) this.#startHead();
      let at = from;
      const hadHead = this.headComplete;
      while (at < chunk.length && !this.messageComplete && this.headComplete === hadHead) {
        // Avoids copying much of a body that follows the head.
        at += this.#execute(chunk, at, hadHead ? undefined : headPieceBytes);
      }
      return at;
    }

    #execute(chunk: Buffer, at: number, most: number | undefined): number {
      active = this;
      try {
        const { result, stopped, used } = window.run(this.#pointer, this.#isPaused, chunk, at, most);
        this.#isPaused = stopped;
        if (this.#problem !== undefined) throw new MalformedResponse(this.#problem);
        if (!stopped && result !== ok)
          throw new MalformedResponse(
            readWasmText(llhttp, llhttp.llhttp_get_error_reason(this.#pointer)) || 'malformed',
          );
        return used;
      } finally {
        active = undefined;
      }
    }

    #slice(at: number, length: number): string {
      return window.text(at - window.at, at - window.at + length);
    }

    onName(at: number, length: number): number {
      const name = this.#slice(at, length);
      if (this.#inValue) {
        this.#inValue = false;
        this.#fields.push(name);
        if (this.#fields.length > 2 * maxFields) return this.#fail('too many header fields');
      } else this.#fields[this.#fields.length - 1] += name;
      return this.count(length);
    }

    onValue(at: number, length: number): number {
      const value = this.#slice(at, length);
      if (this.#inValue) this.#fields[this.#fields.length - 1] += value;
      else {
        this.#inValue = true;
        this.#fields.push(value);
      }
      return this.count(length);
    }

    count(length: number): number {
      this.#fieldBytes += length;
      return this.#fieldBytes > maxHeadBytes ? this.#fail('the head is too long') : ok;
    }

    onHead(status: number, keepAlive: boolean): number {
      this.status = status;
      this.keepAlive = keepAlive;
      if (llhttp.llhttp_get_http_major(this.#pointer) !== 1 || llhttp.llhttp_get_http_minor(this.#pointer) > 1)
        return this.#fail('not HTTP/1.1');
      const problem = this.#frame(llhttp.llhttp_get_http_minor(this.#pointer) === 0);
      if (problem !== undefined) return this.#fail(problem);
      this.headComplete = true;
      // llhttp is done with a message that has no body or one of known length.
      return this.framing === 'chunked' ? paused : skipBody;
    }

    /** RFC 9112, section 6.3. Everything that it leaves ambiguous is an objection. */
    #frame(isHttp10: boolean): string | undefined {
      let coding: string | undefined;
      for (let at = 0; at + 1 < this.#fields.length; at += 2) {
        const name = this.#fields[at] ?? '';
        if (!isNamed(name, 'transfer-encoding')) continue;
        if (coding !== undefined) return 'more than one Transfer-Encoding';
        coding = this.#fields[at + 1];
      }
      const length = readContentLength(this.#fields);
      if (length === 'repeated') return 'more than one Content-Length';
      if (coding !== undefined && (isHttp10 || length !== undefined || coding.trim().toLowerCase() !== 'chunked'))
        return 'an ambiguous Transfer-Encoding';
      if (length === 'invalid') return 'an invalid Content-Length';
      this.length = 0;
      if (this.#isHead || this.status < 200 || this.status === 204 || this.status === 304) this.framing = 'none';
      else if (coding !== undefined) this.framing = 'chunked';
      else if (length === undefined) this.framing = 'close';
      else {
        this.length = length;
        this.framing = this.length === 0 ? 'none' : 'length';
      }
      return undefined;
    }

    onBody(at: number, length: number): number {
      const start = at - window.at + window.from;
      this.pieces.push(start, start + length);
      return ok;
    }

    onComplete(): number {
      this.messageComplete = true;
      return paused;
    }

    #fail(problem: string): number {
      this.#problem = problem;
      return -1;
    }

    free(): void {
      llhttp.llhttp_free(this.#pointer);
    }
  }
  return { create: () => new Parser() };
}
