import { parseContentLength } from '../content-length.ts';

/** The head of an HTTP/2 request. */
export interface RequestFields {
  readonly method: string;
  /** Empty for CONNECT, which has none. */
  readonly path: string;
  readonly authority: string | undefined;
  /** All fields but the pseudo fields. */
  readonly fields: string[];
  /** The Content-Length; undefined if absent. */
  readonly contentLength: number | undefined;
}

/** Returns undefined for a malformed request. RFC 9113, sections 8.2 and 8.3. */
export function readRequestFields(list: readonly string[]): RequestFields | undefined {
  let method: string | undefined;
  let path: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let contentLength: number | undefined;
  const fields: string[] = [];
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = list[at] ?? '';
    const value = list[at + 1] ?? '';
    if (name.charCodeAt(0) === 0x3a) {
      if (fields.length > 0) return undefined;
      if (name === ':method' && method === undefined) method = value;
      else if (name === ':path' && path === undefined) path = value;
      else if (name === ':scheme' && scheme === undefined) scheme = value;
      else if (name === ':authority' && authority === undefined) authority = value;
      else return undefined;
      continue;
    }
    if (isOfConnection(name, value)) return undefined;
    if (name === 'content-length') {
      const length = parseContentLength(value);
      if (length === undefined || (contentLength !== undefined && contentLength !== length)) return undefined;
      contentLength = length;
    }
    fields.push(name, value);
  }
  if (method === undefined || method === '') return undefined;
  if (method === 'CONNECT') {
    // CONNECT has neither. RFC 9113, section 8.5.
    if (path !== undefined || scheme !== undefined) return undefined;
  } else if (path === undefined || path === '' || scheme === undefined) return undefined;
  return { method, path: path ?? '', authority, fields, contentLength };
}

/** True if these fields may be trailers: none is about routing or framing. */
export function areTrailers(list: readonly string[]): boolean {
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = list[at] ?? '';
    if (name.charCodeAt(0) === 0x3a || isOfConnection(name, list[at + 1] ?? '')) return false;
  }
  return true;
}

function isOfConnection(name: string, value: string): boolean {
  return isConnectionField(name) || (name === 'te' && value.toLowerCase() !== 'trailers');
}

/** True for connection-specific fields, which HTTP/2 forbids (RFC 9113, section 8.2.2). `name` is lower case. */
export function isConnectionField(name: string): boolean {
  // The length alone rules out most names.
  switch (name.length) {
    case 7:
      return name === 'upgrade';
    case 10:
      return name === 'connection' || name === 'keep-alive';
    case 16:
      return name === 'proxy-connection';
    case 17:
      return name === 'transfer-encoding';
    default:
      return false;
  }
}
