import { isNamed, type RawHeaders } from './fields.ts';

/** The meaning of Content-Length in a head: the length of a body, none, or invalid. */
export type ContentLength = number | undefined | 'repeated' | 'invalid';

/** The number of bytes in a Content-Length value; undefined if it is not plainly a number. RFC 9110, section 8.6. */
export function parseContentLength(value: string): number | undefined {
  // Fifteen digits are exact as a number.
  return /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
}

/** Reads the Content-Length of a head. */
export function readContentLength(rawHeaders: RawHeaders): ContentLength {
  let found: ContentLength;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (!isNamed(rawHeaders[at] ?? '', 'content-length')) continue;
    if (found !== undefined) return 'repeated';
    found = parseContentLength(rawHeaders[at + 1] ?? '') ?? 'invalid';
  }
  return found;
}
