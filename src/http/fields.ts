import { maxRememberedBytes } from './last-made.ts';

/** Header fields in Node's raw form: name, value, name, value. */
export type RawHeaders = readonly string[];

/** The first value of a header field; `name` is in lower case. */
export function headerValue(rawHeaders: RawHeaders, name: string): string | undefined {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const candidate = rawHeaders[at];
    if (candidate?.length === name.length && candidate.toLowerCase() === name) return rawHeaders[at + 1];
  }
  return undefined;
}

/** All values of a header field as one list; undefined if there is none. */
export function headerList(rawHeaders: RawHeaders, name: string): string | undefined {
  let list: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    if (isNamed(rawHeaders[at] ?? '', name))
      list = list === undefined ? rawHeaders[at + 1] : `${list}, ${rawHeaders[at + 1]}`;
  return list;
}

/** True if a field has this name; `lower` is in lower case. */
export function isNamed(name: string, lower: string): boolean {
  return name.length === lower.length && (name === lower || name.toLowerCase() === lower);
}

/** True if a connection may remember these fields. */
export function isWorthKeeping(rawHeaders: RawHeaders): boolean {
  return fieldBytes(rawHeaders) <= maxRememberedBytes;
}

/** Bytes of names and values, plus 32 for each field. */
export function fieldBytes(rawHeaders: RawHeaders): number {
  let bytes = 16 * rawHeaders.length;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

/** True if both have the same fields in the same order and spelling. */
export function isSameHeaders(one: RawHeaders, other: RawHeaders): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}
