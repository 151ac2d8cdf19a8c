import { isFieldValue, isToken } from '../domain/field-syntax.ts';
import { isConnectionField } from './read-request-fields.ts';
import { rememberFew } from './remember-few.ts';
import { staticTable } from './static-table.ts';

/**
 * Sets the dynamic table size to 0. Send it before the first field block of a connection.
 *
 * This encoder uses no dynamic table: that costs neither side memory, and each block stands alone.
 * RFC 7541, section 6.3.
 */
export const forgetAll = '\x20';

const firstIndexes = new Map<string, number>();
for (const [at, [name]] of staticTable.entries()) if (!firstIndexes.has(name)) firstIndexes.set(name, at + 1);

const names = new Map<string, string | undefined>();

/** An encoded name; empty if HTTP/2 drops fields of that name, undefined if the name is invalid. */
function writeName(name: string): string | undefined {
  const known = names.get(name);
  if (known !== undefined || names.has(name)) return known;
  const lower = name.toLowerCase();
  const written = !isToken(name) ? undefined : isConnectionField(lower) ? '' : writeLiteralName(lower);
  rememberFew(names, name, written);
  return written;
}

/** Encoded fields (latin1) without connection-specific ones; undefined if a field is ambiguous or invalid. */
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

/** Encodes `:method`, `:scheme` (https) and `:path`. The caller has validated both arguments. */
export function encodePseudoFields(method: string, path: string): string {
  let written = methods.get(method);
  if (written === undefined) {
    written = writePair(':method', method) + writePair(':scheme', 'https') + writeLiteralName(':path');
    rememberFew(methods, method, written);
  }
  return written + writeValue(path);
}

/** Encodes `:authority`. The caller has validated it. */
export function encodeAuthority(authority: string): string {
  return writeLiteralName(':authority') + writeValue(authority);
}

/** Encodes a value. */
function writeValue(value: string): string {
  return writeNumber(value.length, 7, 0) + value;
}

const statuses = new Map<number, string>();

/** Encodes `:status`. */
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

/** Encodes the name of a literal without indexing. RFC 7541, section 6.2.2. */
function writeLiteralName(name: string): string {
  const index = firstIndexes.get(name);
  return index === undefined ? `\0${writeValue(name)}` : writeNumber(index, 4, 0);
}

/** Encodes an integer. RFC 7541, section 5.1. */
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
