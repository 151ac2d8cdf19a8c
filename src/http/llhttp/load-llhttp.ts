import { createRequire } from 'node:module';

/** Node's types leave it out; it is part of every Node. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

/**
 * What llhttp found; the first argument is its parser, places are in its memory, and what is given back is one of
 * `llhttpCodes` or -1 for an error.
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

/** The functions of llhttp's WebAssembly build that are used here. */
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

/** Sorts of parsers, and results of `llhttp_execute`: those that are no errors, and a target that is none. */
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
 * No callback may throw, or have anything read.
 */
export function loadLlhttp(env: LlhttpCallbacks): Llhttp {
  const require = createRequire(import.meta.url);
  const module = new WebAssembly.Module(require('undici/lib/llhttp/llhttp_simd-wasm.js') as Uint8Array);
  const llhttp = new WebAssembly.Instance(module, { env }).exports as Llhttp;
  llhttp._initialize();
  return llhttp;
}

/** The text at a place in llhttp's memory, which ends with a NUL; empty at 0. */
export function readText({ memory }: Llhttp, at: number): string {
  if (at === 0) return '';
  const bytes = Buffer.from(memory.buffer);
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}

const windowBytes = 64 * 1024;
/** A piece of a text keeps all of it in memory, so that a long one is not decoded as a whole. */
const decodedBytes = 4 * 1024;

/**
 * The piece of memory through which all parsers of one llhttp read, one at a time.
 *
 * It alone refers to what was read last, so that parsers of idle connections hold on to nothing.
 */
export class LlhttpWindow {
  /** Where it begins in llhttp's memory. */
  readonly at: number;
  readonly #llhttp: Llhttp;
  #view: Uint8Array;
  #chunk: Buffer = Buffer.alloc(0);
  #from = 0;
  #size = 0;
  /** What is in the window, decoded when it is first asked for: one piece is cheaper to decode than many. */
  #text: string | undefined;

  constructor(llhttp: Llhttp) {
    this.#llhttp = llhttp;
    this.at = llhttp.malloc(windowBytes);
    this.#view = new Uint8Array(llhttp.memory.buffer);
  }

  /** Where in its chunk the window begins. */
  get from(): number {
    return this.#from;
  }

  /**
   * Has a parser read what fits of a chunk from `from` on, at most `most` bytes; gives the result and the bytes used.
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

  /** What lies between two places of the window, as latin1. */
  text(start: number, end: number): string {
    if (this.#size > decodedBytes) return this.#chunk.toString('latin1', this.#from + start, this.#from + end);
    this.#text ??= this.#chunk.toString('latin1', this.#from, this.#from + this.#size);
    return this.#text.slice(start, end);
  }
}

/** How far a parser came. */
export interface LlhttpRun {
  /** One of `llhttpCodes`, or an error. */
  readonly result: number;
  /** It paused, and is to be resumed. */
  readonly stopped: boolean;
  readonly used: number;
}
