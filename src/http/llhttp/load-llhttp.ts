import { createRequire } from 'node:module';

/** Every Node has it, but Node's types omit it. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/**
 * llhttp's callbacks. The first argument is the parser, and pointers are into its memory. They return one of
 * `llhttpCodes`, or -1 for an error.
 */
interface LlhttpCallbacks {
  wasm_on_message_begin(parser: number): number;
  wasm_on_url(parser: number, at: number, length: number): number;
  wasm_on_status(parser: number, at: number, length: number): number;
  wasm_on_header_field(parser: number, at: number, length: number): number;
  wasm_on_header_value(parser: number, at: number, length: number): number;
  wasm_on_headers_complete(parser: number, status: number, upgrade: number, keepAlive: number): number;
  wasm_on_body(parser: number, at: number, length: number): number;
  wasm_on_message_complete(parser: number): number;
}

/** The functions of llhttp's WebAssembly build that this code uses. */
export interface Llhttp {
  _initialize(): void;
  readonly memory: { readonly buffer: ArrayBuffer };
  llhttp_alloc(type: number): number;
  llhttp_free(parser: number): void;
  llhttp_reset(parser: number): void;
  llhttp_resume(parser: number): void;
  llhttp_execute(parser: number, data: number, length: number): number;
  llhttp_get_error_pos(parser: number): number;
  llhttp_get_error_reason(parser: number): number;
  llhttp_get_http_major(parser: number): number;
  llhttp_get_http_minor(parser: number): number;
  llhttp_get_method(parser: number): number;
  llhttp_method_name(method: number): number;
  malloc(size: number): number;
}

/** Kinds of parsers, and results of `llhttp_execute`: those that are not errors, and an invalid target. */
export const llhttpCodes = {
  requests: 1,
  responses: 2,
  ok: 0,
  skipBody: 1,
  invalidUrl: 7,
  paused: 21,
  pausedUpgrade: 22,
} as const;

/**
 * Loads the llhttp that undici ships as WebAssembly: strict, and without Node's undocumented `HTTPParser`.
 *
 * Callbacks must neither throw nor start a read.
 */
export function loadLlhttp(env: LlhttpCallbacks): Llhttp {
  const require = createRequire(import.meta.url);
  const module = new WebAssembly.Module(require('undici/lib/llhttp/llhttp_simd-wasm.js') as Uint8Array);
  const llhttp = new WebAssembly.Instance(module, { env }).exports as Llhttp;
  llhttp._initialize();
  return llhttp;
}

/** The text at a place in llhttp's memory, up to its NUL. Empty for place 0. */
export function readWasmText({ memory }: Llhttp, at: number): string {
  if (at === 0) return '';
  const bytes = Buffer.from(memory.buffer);
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}

const windowBytes = 64 * 1024;
/** A substring keeps the whole text in memory, so long texts are decoded in parts. */
const decodedBytes = 4 * 1024;

/**
 * The piece of memory through which all parsers of one llhttp read, one at a time.
 *
 * Only the window refers to the last input, so that parsers of idle connections hold nothing.
 */
export class LlhttpWindow {
  /** Its start in llhttp's memory. */
  readonly at: number;
  readonly #llhttp: Llhttp;
  #view: Uint8Array;
  #chunk: Buffer = Buffer.alloc(0);
  #from = 0;
  #size = 0;
  /** The window's content, decoded on first use: one piece is cheaper to decode than many. */
  #text: string | undefined;

  constructor(llhttp: Llhttp) {
    this.#llhttp = llhttp;
    this.at = llhttp.malloc(windowBytes);
    this.#view = new Uint8Array(llhttp.memory.buffer);
  }

  /** The window's start within its chunk. */
  get from(): number {
    return this.#from;
  }

  /**
   * Lets a parser read a chunk from `from` on, at most `most` bytes, as far as it fits. Returns the result and the
   * number of bytes used.
   */
  run(parser: number, isPaused: boolean, chunk: Buffer, from: number, most = windowBytes): LlhttpRun {
    const llhttp = this.#llhttp;
    const size = Math.min(chunk.length - from, most);
    if (isPaused) llhttp.llhttp_resume(parser);
    if (this.#view.buffer !== llhttp.memory.buffer) this.#view = new Uint8Array(llhttp.memory.buffer);
    chunk.copy(this.#view, this.at, from, from + size);
    this.#chunk = chunk;
    this.#from = from;
    this.#size = size;
    this.#text = undefined;
    const result = llhttp.llhttp_execute(parser, this.at, size);
    const stopped = result === llhttpCodes.paused || result === llhttpCodes.pausedUpgrade;
    return { result, stopped, used: stopped ? llhttp.llhttp_get_error_pos(parser) - this.at : size };
  }

  /** The text between two places of the window, as latin1. */
  text(start: number, end: number): string {
    if (this.#size > decodedBytes) return this.#chunk.toString('latin1', this.#from + start, this.#from + end);
    this.#text ??= this.#chunk.toString('latin1', this.#from, this.#from + this.#size);
    return this.#text.slice(start, end);
  }
}

/** The result of one run of a parser. */
export interface LlhttpRun {
  /** One of `llhttpCodes`, or an error. */
  readonly result: number;
  /** It paused, and must be resumed. */
  readonly stopped: boolean;
  readonly used: number;
}
