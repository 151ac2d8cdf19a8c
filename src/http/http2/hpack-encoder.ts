import { isFieldValue, isToken } from '../field-syntax.ts';
import { canonicalName, commonNames } from './common-names.ts';
import { isConnectionField } from './read-request-fields.ts';
import { staticTable } from './static-table.ts';

/**
 * Sets the dynamic table size to 0. Send it before the first field block of a connection.
 *
 * This encoder uses no dynamic table: that costs neither side memory, and each block stands alone.
 * RFC 7541, section 6.3.
 */
export const forgetAll = '\x20';

const lastFirst = staticTable.map(([name, value], at) => ({ name, value, index: at + 1 })).reverse();
const nameIndexes: ReadonlyMap<string, number> = new Map(lastFirst.map(({ name, index }) => [name, index]));
const statusIndexes: ReadonlyMap<string, number> = indexesOf(':status');
const methodIndexes: ReadonlyMap<string, number> = indexesOf(':method');
const schemeAndPath = writePair(':scheme', 'https', indexesOf(':scheme').get('https')) + writeLiteralName(':path');

function indexesOf(wanted: string): ReadonlyMap<string, number> {
  return new Map(lastFirst.flatMap(({ name, value, index }) => (name === wanted ? [[value, index] as const] : [])));
}

/** Common names in both of the usual spellings, encoded. */
const commonNamesWritten: ReadonlyMap<string, string | undefined> = new Map(
  commonNames.flatMap((name) => [name, canonicalName(name)].map((spelling) => [spelling, writeAnyName(spelling)])),
);

/** An encoded name; empty if HTTP/2 drops fields of that name, undefined if the name is invalid. */
function writeName(name: string): string | undefined {
  return commonNamesWritten.get(name) ?? writeAnyName(name);
}

function writeAnyName(name: string): string | undefined {
  if (!isToken(name)) return undefined;
  const lower = name.toLowerCase();
  return isConnectionField(lower) ? '' : writeLiteralName(lower);
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

/** Encodes `:method`, `:scheme` (https) and `:path`. The caller has validated both arguments. */
export function encodePseudoFields(method: string, path: string): string {
  return writePair(':method', method, methodIndexes.get(method)) + schemeAndPath + writeValue(path);
}

/** Encodes `:authority`. The caller has validated it. */
export function encodeAuthority(authority: string): string {
  return writeLiteralName(':authority') + writeValue(authority);
}

/** Encodes a value. */
function writeValue(value: string): string {
  return writeNumber(value.length, 7, 0) + value;
}

/** Encodes `:status`. */
export function encodeStatusField(status: number): string {
  const value = String(status);
  return writePair(':status', value, statusIndexes.get(value));
}

function writePair(name: string, value: string, index: number | undefined): string {
  return index === undefined ? writeLiteralName(name) + writeValue(value) : String.fromCharCode(0x80 | index);
}

/** Encodes the name of a literal without indexing. RFC 7541, section 6.2.2. */
function writeLiteralName(name: string): string {
  const index = nameIndexes.get(name);
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
