import { isFieldValue, isToken } from '../field-syntax.ts';
import { decodeHuffman } from './huffman.ts';
import { staticTable } from './static-table.ts';

/** Size of the dynamic table. Each entry costs 32 bytes in addition to its text. RFC 7541, section 4.1. */
const tableBytes = 4096;
const entryCost = 32;

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly cost: number;
  /** False if HTTP/2 forbids this field. RFC 9113, section 8.2.1. */
  readonly valid: boolean;
}

const staticEntries = staticTable.map(([name, value]) => toEntry(name, value));

/** Which limit a field block exceeded. */
export type FieldExcess = 'bytes' | 'fields';

/** Limits of one field block. */
export interface FieldLimits {
  /** Bytes of names and values, plus 32 per field. */
  readonly maxBytes: number;
  readonly maxFields: number;
}

/**
 * Decodes field blocks. RFC 7541.
 *
 * On a decode error, the caller must close the connection: no later block can be decoded either.
 */
export class HpackDecoder {
  /** Fields of the last block: names (lower case) and values alternate, in order of arrival. */
  fields: string[] = [];
  /** True if a name or value of the last block must not be passed on. */
  malformed = false;
  /** The limit that the last block exceeded, if any. `fields` lacks the fields that did not fit. */
  excess: FieldExcess | undefined;
  readonly #limits: FieldLimits;
  /** The dynamic table, newest entry last. Entries before `#first` are evicted. */
  #entries: Entry[] = [];
  #first = 0;
  #size = 0;
  #maxSize = tableBytes;
  /** Where the last number or text ended; -1 after a decode error. */
  #at = 0;
  #bytes = 0;

  constructor(limits: FieldLimits) {
    this.#limits = limits;
  }

  /** Decodes one block. Returns false on a decode error. */
  read(block: Buffer, from: number, to: number): boolean {
    this.fields = [];
    this.malformed = false;
    this.excess = undefined;
    this.#bytes = 0;
    let resizes = 0;
    let mayResize = true;
    this.#at = from;
    while (this.#at < to) {
      const byte = block[this.#at] ?? 0;
      if (byte >= 0x80) {
        const entry = this.#entry(this.#number(block, to, 7));
        if (entry === undefined) return false;
        this.#take(entry);
      } else if (byte >= 0x40) {
        const entry = this.#literal(block, to, 6);
        if (entry === undefined) return false;
        this.#remember(entry);
        this.#take(entry);
      } else if (byte >= 0x20) {
        const size = this.#number(block, to, 5);
        // At most two updates: the smallest size since the previous block, and the current one. RFC 7541, section 4.2.
        if (!mayResize || ++resizes > 2 || size === undefined || size > tableBytes) return false;
        this.#maxSize = size;
        this.#evict(0);
        continue;
      } else {
        const entry = this.#literal(block, to, 4);
        if (entry === undefined) return false;
        this.#take(entry);
      }
      mayResize = false;
    }
    return true;
  }

  #take({ name, value, cost, valid }: Entry): void {
    if (!valid) this.malformed = true;
    this.#bytes += cost;
    if (this.#bytes > this.#limits.maxBytes) this.excess = 'bytes';
    else if (this.fields.length >= 2 * this.#limits.maxFields) this.excess = 'fields';
    else this.fields.push(name, value);
  }

  #literal(block: Buffer, to: number, prefix: number): Entry | undefined {
    const index = this.#number(block, to, prefix);
    const name = index === 0 ? this.#text(block, to) : this.#entry(index)?.name;
    const value = name === undefined ? undefined : this.#text(block, to);
    return name === undefined || value === undefined ? undefined : toEntry(name, value);
  }

  #entry(index: number | undefined): Entry | undefined {
    if (index === undefined) return undefined;
    if (index <= staticEntries.length) return staticEntries[index - 1];
    const at = this.#entries.length - (index - staticEntries.length);
    return at < this.#first ? undefined : this.#entries[at];
  }

  #remember(entry: Entry): void {
    this.#evict(entry.cost);
    // An entry larger than the table empties it. RFC 7541, section 4.4.
    if (entry.cost > this.#maxSize) return;
    this.#entries.push(entry);
    this.#size += entry.cost;
  }

  #evict(room: number): void {
    while (this.#size + room > this.#maxSize && this.#first < this.#entries.length)
      this.#size -= this.#entries[this.#first++]?.cost ?? 0;
    if (this.#first < 64 && this.#first < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#first);
    this.#first = 0;
  }

  /** Reads an integer (RFC 7541, section 5.1); undefined if it is truncated or too large. */
  #number(block: Buffer, to: number, prefix: number): number | undefined {
    const mask = (1 << prefix) - 1;
    let value = (block[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= to) return undefined;
      const byte = block[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  #text(block: Buffer, to: number): string | undefined {
    if (this.#at >= to) return undefined;
    const isHuffman = (block[this.#at] ?? 0) >= 0x80;
    const length = this.#number(block, to, 7);
    const from = this.#at;
    if (length === undefined || from + length > to) return undefined;
    this.#at = from + length;
    return isHuffman ? decodeHuffman(block, from, this.#at) : block.toString('latin1', from, this.#at);
  }
}

function toEntry(name: string, text: string): Entry {
  // The value may be forwarded over HTTP/1.1, where surrounding space is not part of it.
  const value = withoutSpaceAround(text);
  return { name, value, cost: name.length + text.length + entryCost, valid: isName(name) && isFieldValue(value) };
}

function isName(name: string): boolean {
  return isToken(name.charCodeAt(0) === 0x3a ? name.slice(1) : name) && !/[A-Z]/.test(name);
}

/** Trims spaces and tabs in linear time. A regular expression for both ends would not. */
function withoutSpaceAround(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isSpace(text.charCodeAt(from))) from++;
  while (to > from && isSpace(text.charCodeAt(to - 1))) to--;
  return from === 0 && to === text.length ? text : text.slice(from, to);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
