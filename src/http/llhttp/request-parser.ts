import { LlhttpWindow, llhttpCodes, loadLlhttp, readWasmText } from './load-llhttp.ts';

/** Why a client's bytes are not a request. */
export type RequestProblem = 'malformed' | 'head_too_long';

/** Bounds of a request's head. */
export interface RequestParserLimits {
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
}

/**
 * Reads the requests of one HTTP/1.x connection, one after another. It is strict: it reports everything ambiguous as a
 * problem.
 */
export interface RequestParser {
  /** Prepares for the next request. */
  reset(): void;
  /**
   * Reads from `chunk` at `from` until the head or the chunked body is complete, there is a problem, or the chunk is
   * used up. Returns the offset that it reached. It does not read bodies that are not chunked: call `reset` after their
   * head.
   */
  read(chunk: Buffer, from: number): number;
  readonly problem: RequestProblem | undefined;
  /** The problem. */
  readonly reason: string;
  /** True once a byte of a request has arrived. */
  readonly begun: boolean;
  /** Number of bytes of the head so far. */
  readonly headBytes: number;
  readonly headComplete: boolean;
  /** True once a chunked body with its trailers is complete. */
  readonly messageComplete: boolean;
  readonly method: string;
  readonly target: string;
  /** `1.1` or `1.0`. */
  readonly version: string;
  /** At most the allowed number of fields, even if more have arrived. Values come without surrounding space. */
  readonly rawHeaders: readonly string[];
  readonly fieldCount: number;
  readonly keepAlive: boolean;
  /** Memory that an incomplete head takes. */
  readonly heldBytes: number;
  /** True if the client wants to switch protocols, and for CONNECT. */
  readonly upgrade: boolean;
  /** Chunk data found by the last `read`: start, end, start, end within its chunk. */
  readonly pieces: readonly number[];
  /** Frees the parser's memory. Do not use it afterwards. */
  free(): void;
}

/** Makes parsers. */
export interface RequestParsers {
  create(limits: RequestParserLimits): RequestParser;
}

const { requests, ok, invalidUrl, paused } = llhttpCodes;
/** Cost of each piece of a text that arrives in many. */
const pieceCost = 64;
/** Maximum bytes between the data of two chunks: size, extensions, trailers. Node has the same bound for extensions. */
const maxBetweenChunks = 16 * 1024;
const notHttp1 = 'not a request line of HTTP/1.1';

/**
 * Loads the request parser: strict llhttp, which finds the ends of heads and chunks.
 *
 * llhttp's callbacks only record its findings. Inside them, none of our code may throw or read again.
 */
export function loadRequestParsers(): RequestParsers {
  let active: Parser | undefined;
  const llhttp = loadLlhttp({
    wasm_on_message_begin: () => active?.onBegin() ?? ok,
    wasm_on_url: (_parser, at, length) => active?.onUrl(at, length) ?? ok,
    wasm_on_status: () => ok,
    wasm_on_header_field: (_parser, at, length) => active?.onName(at, length) ?? ok,
    wasm_on_header_value: (_parser, at, length) => active?.onValue(at, length) ?? ok,
    wasm_on_headers_complete: (_parser, _status, upgrade, keepAlive) =>
      active?.onHead(upgrade === 1, keepAlive === 1) ?? ok,
    wasm_on_body: (_parser, at, length) => active?.onBody(at, length) ?? ok,
    wasm_on_message_complete: () => active?.onComplete() ?? ok,
  });
  const window = new LlhttpWindow(llhttp);
  const methods: string[] = [];

  class Parser implements RequestParser {
    problem: RequestProblem | undefined;
    reason = '';
    begun = false;
    headBytes = 0;
    headComplete = false;
    messageComplete = false;
    method = '';
    target = '';
    version = '';
    rawHeaders: string[] = [];
    fieldCount = 0;
    keepAlive = false;
    upgrade = false;
    pieces: number[] = [];
    readonly #pointer = llhttp.llhttp_alloc(requests);
    readonly #limits: RequestParserLimits;
    #inValue = true;
    /** The number of pieces in which the head has arrived. */
    #pieces = 0;
    #isPaused = false;
    /** Where the request line continues after its target in the current input, and the part that came before. */
    #afterTarget = 0;
    #line = '';
    /** Where bytes that are not chunk data begin in the current input, and how many came before. */
    #afterData = 0;
    #between = 0;

    constructor(limits: RequestParserLimits) {
      this.#limits = limits;
    }

    reset(): void {
      llhttp.llhttp_reset(this.#pointer);
      this.#isPaused = false;
      this.problem = undefined;
      this.begun = false;
      this.headComplete = false;
      this.messageComplete = false;
      this.target = '';
      this.version = '';
      this.rawHeaders = [];
      this.fieldCount = 0;
      this.#inValue = true;
      this.headBytes = 0;
      this.#pieces = 0;
      this.#line = '';
      this.#between = 0;
    }

    get heldBytes(): number {
      // From then on they belong to the request.
      return this.headComplete ? 0 : 2 * this.headBytes + pieceCost * this.#pieces;
    }

    read(chunk: Buffer, from: number): number {
      if (this.pieces.length > 0) this.pieces = [];
      const hadHead = this.headComplete;
      let at = from;
      while (
        at < chunk.length &&
        this.problem === undefined &&
        !this.messageComplete &&
        this.headComplete === hadHead
      ) {
        const used = this.#execute(chunk, at);
        at += used;
        if (hadHead) {
          this.#count(used);
          continue;
        }
        if (this.version === '' && this.target !== '') {
          this.#line += window.text(this.#afterTarget, used);
          // In a head without fields, only the empty line is left after the target.
          if (this.headComplete) this.#takeVersion(this.#line.replace(/\r\n$/, ''));
        }
        this.headBytes += used;
        this.#pieces++;
        if (this.headBytes > this.#limits.maxHeaderBytes) this.#fail('head_too_long', 'the head is too long');
      }
      return at;
    }

    #execute(chunk: Buffer, from: number): number {
      this.#afterTarget = 0;
      this.#afterData = 0;
      active = this;
      try {
        const { result, stopped, used } = window.run(this.#pointer, this.#isPaused, chunk, from);
        this.#isPaused = stopped;
        if (!stopped && result !== ok && this.problem === undefined) this.#fail('malformed', this.#explain(result));
        return used;
      } finally {
        active = undefined;
      }
    }

    /** Why llhttp stopped reading; the same for the same bytes, however they are split. */
    #explain(result: number): string {
      if (result !== invalidUrl && this.version === '' && this.target !== '') {
        // llhttp reports a broken name only if a piece ends within it.
        const end = llhttp.llhttp_get_error_pos(this.#pointer) - window.at;
        const line = this.#line + window.text(this.#afterTarget, end);
        if (line.includes('\n') && !/^ HTTP\/1\.[01]\r\n/.test(line)) return notHttp1;
      }
      return readWasmText(llhttp, llhttp.llhttp_get_error_reason(this.#pointer));
    }

    onBegin(): number {
      this.begun = true;
      return ok;
    }

    onUrl(at: number, length: number): number {
      const start = at - window.at;
      this.target += window.text(start, start + length);
      this.#afterTarget = start + length;
      return ok;
    }

    onName(at: number, length: number): number {
      // Trailers are not forwarded, and are bounded together with the chunks.
      if (this.headComplete) return ok;
      const start = at - window.at;
      if (this.version === '' && !this.#takeVersion(this.#line + window.text(this.#afterTarget, start))) return -1;
      const name = window.text(start, start + length);
      const { rawHeaders } = this;
      if (this.#inValue) {
        this.#inValue = false;
        this.#trimValue();
        // Further fields are only counted.
        if (++this.fieldCount <= this.#limits.maxHeaderFields) rawHeaders.push(name);
      } else if (this.fieldCount <= this.#limits.maxHeaderFields) rawHeaders[rawHeaders.length - 1] += name;
      return ok;
    }

    onValue(at: number, length: number): number {
      if (this.headComplete || this.fieldCount > this.#limits.maxHeaderFields) {
        this.#inValue = true;
        return ok;
      }
      const start = at - window.at;
      const value = window.text(start, start + length);
      const { rawHeaders } = this;
      if (this.#inValue) rawHeaders[rawHeaders.length - 1] += value;
      else {
        this.#inValue = true;
        rawHeaders.push(value);
      }
      return ok;
    }

    /** llhttp would accept RTSP and ICE as HTTP, and more than one space. */
    #takeVersion(rest: string): boolean {
      if (rest === ' HTTP/1.1\r\n') this.version = '1.1';
      else if (rest === ' HTTP/1.0\r\n') this.version = '1.0';
      else {
        this.#fail('malformed', notHttp1);
        return false;
      }
      return true;
    }

    /** RFC 9112, section 5.1. llhttp has skipped the space before the value. */
    #trimValue(): void {
      const { rawHeaders } = this;
      const value = rawHeaders[rawHeaders.length - 1] ?? '';
      let end = value.length;
      while (end > 0 && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end--;
      if (end < value.length) rawHeaders[rawHeaders.length - 1] = value.slice(0, end);
    }

    onHead(upgrade: boolean, keepAlive: boolean): number {
      if (this.fieldCount > 0) this.#trimValue();
      const method = llhttp.llhttp_get_method(this.#pointer);
      methods[method] ??= readWasmText(llhttp, llhttp.llhttp_method_name(method));
      this.method = methods[method] ?? '';
      this.upgrade = upgrade;
      this.keepAlive = keepAlive;
      this.headComplete = true;
      return paused;
    }

    onBody(at: number, length: number): number {
      const start = at - window.at;
      if (!this.#count(start)) return -1;
      this.#between = 0;
      this.#afterData = start + length;
      this.pieces.push(window.from + start, window.from + start + length);
      return ok;
    }

    /** Counts the bytes before `end` that are not data. */
    #count(end: number): boolean {
      this.#between += end - this.#afterData;
      if (this.#between <= maxBetweenChunks) return true;
      this.#fail('malformed', 'too many bytes between two chunks');
      return false;
    }

    onComplete(): number {
      this.messageComplete = true;
      return paused;
    }

    #fail(problem: RequestProblem, reason: string): void {
      this.problem = problem;
      this.reason = reason;
    }

    free(): void {
      llhttp.llhttp_free(this.#pointer);
    }
  }
  return { create: (limits) => new Parser(limits) };
}
