/** What a request over HTTP/2 says before its body. */
export interface RequestFields {
  readonly method: string;
  /** Of CONNECT there is none: empty. */
  readonly path: string;
  readonly authority: string | undefined;
  /** All but pseudo fields. */
  readonly fields: string[];
  /** Bytes of the body; -1 if that is not said. */
  readonly contentLength: number;
}

/** Undefined for a list that is no request. RFC 9113, sections 8.2 and 8.3. */
export function readRequestFields(list: readonly string[]): RequestFields | undefined {
  let method: string | undefined;
  let path: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let contentLength = -1;
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
      const length = /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
      if (length < 0 || (contentLength >= 0 && contentLength !== length)) return undefined;
      contentLength = length;
    }
    fields.push(name, value);
  }
  if (method === undefined || method === '') return undefined;
  if (method === 'CONNECT') {
    // It has neither. RFC 9113, section 8.5.
    if (path !== undefined || scheme !== undefined) return undefined;
  } else if (path === undefined || path === '' || scheme === undefined) return undefined;
  return { method, path: path ?? '', authority, fields, contentLength };
}

/** Whether trailers are such: nothing of how a message is routed or framed. */
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

/** Fields that are about one connection, which HTTP/2 has none of. RFC 9113, section 8.2.2; names are lower case. */
export function isConnectionField(name: string): boolean {
  // Their lengths tell most names at once.
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
