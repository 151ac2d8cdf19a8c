import { isNamed, type RawHeaders } from './fields.ts';

/** What the Content-Length of a head says: the bytes of a body, nothing, or nothing that is certain. */
export type ContentLength = number | undefined | 'repeated' | 'invalid';

/** The bytes that a value of Content-Length states; undefined if it is not plainly a number. RFC 9110, section 8.6. */
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
