import { STATUS_CODES } from 'node:http';
import { isFieldValue, isToken } from '../field-syntax.ts';
import type { RawHeaders } from '../fields.ts';

/** True if a header field is unambiguous. */
export function isFieldSafe(name: string, value: string): boolean {
  return isToken(name) && isFieldValue(value);
}

const statusLines: ReadonlyMap<number, string> = new Map(
  Object.entries(STATUS_CODES).map(([status, reason]) => [Number(status), `HTTP/1.1 ${status} ${reason}\r\n`]),
);

/** The status line; empty if the status is not a final one. */
export function statusLine(status: number): string {
  if (!(status >= 200 && status <= 999)) return '';
  return statusLines.get(status) ?? `HTTP/1.1 ${status} unknown\r\n`;
}

/** A whole interim answer, or undefined if it cannot be written. RFC 9110, section 15.2. */
export function writeInterimHead(status: number, rawHeaders: RawHeaders): string | undefined {
  const line = statusLines.get(status) ?? `HTTP/1.1 ${status} unknown\r\n`;
  const fields = status >= 100 && status <= 199 && status !== 101 ? writeFields(rawHeaders) : undefined;
  return fields === undefined ? undefined : `${line}${fields}\r\n`;
}

/** The head that switches protocols, or undefined if it cannot be written. */
export function writeSwitchHead(rawHeaders: RawHeaders): string | undefined {
  const fields = writeFields(rawHeaders);
  return fields === undefined ? undefined : `HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`;
}

function writeFields(rawHeaders: RawHeaders): string | undefined {
  let lines = '';
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (!isFieldSafe(name, value)) return undefined;
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}
