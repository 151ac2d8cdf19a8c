/** Encodings of OpenAPI v2. */
export type SwaggerForm = 'json' | 'protobuf';

/** Questions to the thread that reads documents. Each gets one answer, in order. */
export type DocumentQuestion =
  /** Reads the index of OpenAPI v3. */
  | { readonly kind: 'index'; readonly pieces: readonly Uint8Array<ArrayBuffer>[] }
  /** Adds one more document, as the pieces in which it arrived. */
  | { readonly kind: 'add'; readonly form: SwaggerForm; readonly pieces: readonly Uint8Array<ArrayBuffer>[] }
  /** Returns the merge of the added documents; a single one unchanged. */
  | { readonly kind: 'finish' };

/** The thread's answers. */
export type DocumentAnswer =
  /** Undefined if it is not an index. */
  | { readonly kind: 'index'; readonly index: ReadonlyMap<string, string> | undefined }
  /** Has a hash of the document, and the reason if it cannot be read. */
  | { readonly kind: 'added'; readonly hash: string; readonly unreadable: string | undefined }
  | { readonly kind: 'merged'; readonly body: Uint8Array<ArrayBuffer>; readonly hash: string };
