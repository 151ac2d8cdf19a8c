import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { headerList, headerValue } from '../../http/fields.ts';
import type { Exchange } from '../request/exchange.ts';
import { ownFields } from '../request/own-fields.ts';

const gzipAsync = promisify(gzip);

/** A document in one form, kept as its bytes on the wire. */
export interface StoredDocument {
  readonly body: Buffer;
  /** Header fields of every answer with it, including 304. */
  readonly headers: readonly string[];
  readonly contentType: string;
  /** Including its quotes. */
  readonly etag: string;
  /** The compressed body, made on the first call; undefined if it is not worth it. */
  gzipped(): Promise<Buffer> | undefined;
}

/** The parts of a document. */
export interface DocumentParts {
  readonly body: Buffer;
  readonly contentType: string;
  /** Without quotes; the hash of the bytes by default. */
  readonly etag?: string;
  readonly cacheControl: string;
  readonly vary: boolean;
  /** Minimum length of a body to compress. */
  readonly gzipFrom?: number;
}

/**
 * kube-apiserver compresses longer answers only. Source: `writers.go` in `responsewriters` of k8s.io/apiserver 0.36.
 */
const defaultGzipFrom = 128 * 1024 + 1;

/** Keeps a document ready to send: plain, and compressed on the first request for that. */
export function storeDocument(parts: DocumentParts): StoredDocument {
  const { body, contentType, cacheControl, vary, gzipFrom = defaultGzipFrom } = parts;
  const etag = `"${parts.etag ?? strongEtag(body)}"`;
  let compressed: Promise<Buffer> | undefined;
  return {
    body,
    contentType,
    etag,
    headers: ['Cache-Control', cacheControl, 'Etag', etag, ...(vary ? ['Vary', 'Accept'] : [])],
    gzipped: () => {
      if (body.length < gzipFrom) return undefined;
      compressed ??= gzipAsync(body, { level: 1 });
      return compressed;
    },
  };
}

/** Upper-case hex SHA-512, as in kube-apiserver's ETags. */
export function strongEtag(bytes: Uint8Array | string): string {
  return createHash('sha512').update(bytes).digest('hex').toUpperCase();
}

/** Answers with a document: 304 if the client has it, compressed on request, and synchronously if possible. */
export function writeDocument(exchange: Exchange, document: StoredDocument): undefined | Promise<void> {
  const match = headerList(exchange.rawHeaders, 'if-none-match');
  if (match === document.etag || match?.split(',').some((tag) => tag.trim() === document.etag)) {
    exchange.respond(304, [...document.headers, ...ownFields(exchange)]);
    exchange.end();
    return undefined;
  }
  const compressed = acceptsGzip(exchange) ? document.gzipped() : undefined;
  if (compressed !== undefined) return compressed.then((body) => writeBody(exchange, document, body, true));
  writeBody(exchange, document, document.body, false);
  return undefined;
}

function writeBody(exchange: Exchange, document: StoredDocument, body: Buffer, isGzip: boolean): void {
  const headers = ['Content-Type', document.contentType, 'Content-Length', String(body.length), ...document.headers];
  if (isGzip) headers.push('Content-Encoding', 'gzip', 'Vary', 'Accept-Encoding');
  headers.push(...ownFields(exchange));
  exchange.respond(200, headers);
  if (exchange.method === 'HEAD') exchange.end();
  else exchange.end(body);
}

function acceptsGzip({ rawHeaders }: Exchange): boolean {
  const encodings = headerValue(rawHeaders, 'accept-encoding');
  return encodings?.split(',').some((encoding) => encoding.trim() === 'gzip') === true;
}
