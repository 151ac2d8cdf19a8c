import { isFieldValue, isToken } from '../domain/field-syntax.ts';
import { isConnectionField } from './read-request-fields.ts';
import { rememberFew } from './remember-few.ts';
import { staticTable } from './static-table.ts';

/**
 * Says that nothing is to be remembered; to be sent before the first list of a connection.
 *
 * Lists are written without any memory, so that they cost none here and there, and each can be written by itself.
 * RFC 7541, section 6.3.
 */
export const forgetAll = '\x20';

const firstIndexes = new Map<string, number>();
for (const [at, [name]] of staticTable.entries()) if (!firstIndexes.has(name)) firstIndexes.set(name, at + 1);

const names = new Map<string, string | undefined>();

/** A name as bytes, empty if fields of that name are left out; undefined if it is none. */
function writeName(name: string): string | undefined {
  const known = names.get(name);
  if (known !== undefined || names.has(name)) return known;
  const lower = name.toLowerCase();
  const written = !isToken(name) ? undefined : isConnectionField(lower) ? '' : writeLiteralName(lower);
  rememberFew(names, name, written);
  return written;
}

/** Fields as bytes (latin1), without those that are about one connection; undefined if one could be read in two ways. */
export function encodeFields(rawHeaders: readonly string[]): string | undefined {
  let block = '';
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = writeName(rawHeaders[at] ?? '');
    const value = rawHeaders[at + 1] ?? '';
    if (name === undefined || !isFieldValue(value)) return undefined;
    if (name !== '') block += name + writeValue(value);
  }
  return block;
}

const methods = new Map<string, string>();

/** The pseudo fields of a request by https but `:authority`, as bytes; both are to be checked before. */
export function encodePseudoFields(method: string, path: string): string {
  let written = methods.get(method);
  if (written === undefined) {
    written = writePair(':method', method) + writePair(':scheme', 'https') + writeLiteralName(':path');
    rememberFew(methods, method, written);
  }
  return written + writeValue(path);
}

/** The last pseudo field of a request, as bytes; to be checked before. */
export function encodeAuthority(authority: string): string {
  return writeLiteralName(':authority') + writeValue(authority);
}

/** A value as bytes. */
function writeValue(value: string): string {
  return writeNumber(value.length, 7, 0) + value;
}

const statuses = new Map<number, string>();

/** `:status` as bytes. */
export function encodeStatus(status: number): string {
  const known = statuses.get(status);
  if (known !== undefined) return known;
  const written = writePair(':status', String(status));
  statuses.set(status, written);
  return written;
}

function writePair(name: string, value: string): string {
  const index = staticTable.findIndex((pair) => pair[0] === name && pair[1] === value);
  return index < 0 ? writeLiteralName(name) + writeValue(value) : String.fromCharCode(0x80 | (index + 1));
}

/** That of a literal which is not to be remembered. RFC 7541, section 6.2.2. */
function writeLiteralName(name: string): string {
  const index = firstIndexes.get(name);
  return index === undefined ? `\0${writeValue(name)}` : writeNumber(index, 4, 0);
}

/** RFC 7541, section 5.1. */
function writeNumber(value: number, prefix: number, flags: number): string {
  const mask = (1 << prefix) - 1;
  if (value < mask) return String.fromCharCode(flags | value);
  let written = String.fromCharCode(flags | mask);
  let rest = value - mask;
  while (rest > 127) {
    written += String.fromCharCode((rest & 127) | 128);
    rest >>>= 7;
  }
  return written + String.fromCharCode(rest);
}
