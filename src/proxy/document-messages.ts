/** Encodings of OpenAPI v2. */
export type SwaggerForm = 'json' | 'protobuf';

/** What the thread that reads documents is asked. Every question has one answer, in the same order. */
export type DocumentQuestion =
  /** Reads the index of OpenAPI v3. */
  | { readonly kind: 'index'; readonly pieces: readonly Uint8Array<ArrayBuffer>[] }
  /** Takes one more document, as the pieces in which it came. */
  | { readonly kind: 'add'; readonly form: SwaggerForm; readonly pieces: readonly Uint8Array<ArrayBuffer>[] }
  /** Gives what was added, merged; a document that is the only one as it came. */
  | { readonly kind: 'finish' };

/** What it answers. */
export type DocumentAnswer =
  /** Undefined for what is no index. */
  | { readonly kind: 'index'; readonly index: ReadonlyMap<string, string> | undefined }
  /** With a hash of the document, and why it cannot be read if it cannot. */
  | { readonly kind: 'added'; readonly hash: string; readonly unreadable: string | undefined }
  | { readonly kind: 'merged'; readonly body: Uint8Array<ArrayBuffer>; readonly hash: string };
