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

/** Sorts of parsers, and results of `llhttp_execute` that are no errors. */
export const llhttpCodes = { requests: 1, responses: 2, ok: 0, skipBody: 1, paused: 21, pausedUpgrade: 22 } as const;

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
