import { isFieldValue, isToken } from '../domain/field-syntax.ts';
import { decodeHuffman } from './huffman.ts';
import { staticTable } from './static-table.ts';

/** What a connection remembers of fields that may come again. RFC 7541, section 2.3.2: each costs 32 bytes more. */
const tableBytes = 4096;
const entryCost = 32;

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly cost: number;
  /** False for what HTTP/2 has no fields like. RFC 9113, section 8.2.1. */
  readonly valid: boolean;
}

const staticEntries = staticTable.map(([name, value]) => toEntry(name, value));

/** Of which there were too many. */
export type FieldExcess = 'bytes' | 'fields';

/** Bounds of one list of fields. */
export interface FieldLimits {
  /** Of names and values, and 32 for each field. */
  readonly maxBytes: number;
  readonly maxFields: number;
}

/**
 * Reads lists of fields. RFC 7541.
 *
 * What cannot be read, whoever holds the connection has to end it for: nothing after it can be read either.
 */
export class HpackDecoder {
  /** Of the list that was read last: name, value, name, value, in the order in which they came; all lower case. */
  fields: string[] = [];
  /** True if it has a name or a value that must not be passed on. */
  malformed = false;
  /** The limit that it goes beyond, if any; what did not fit is left out of `fields`. */
  excess: FieldExcess | undefined;
  readonly #limits: FieldLimits;
  /** The newest last. Those before `#first` are forgotten. */
  #entries: Entry[] = [];
  #first = 0;
  #size = 0;
  #maxSize = tableBytes;
  /** Where the last number or text ended; -1 after what cannot be read. */
  #at = 0;
  #bytes = 0;

  constructor(limits: FieldLimits) {
    this.#limits = limits;
  }

  /** False if it cannot be read. */
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
        // To the smallest size since the block before, and to the present one. RFC 7541, section 4.2.
        if (!mayResize || ++resizes > 2 || size < 0 || size > tableBytes) return false;
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

  #entry(index: number): Entry | undefined {
    if (index <= staticEntries.length) return staticEntries[index - 1];
    const at = this.#entries.length - (index - staticEntries.length);
    return at < this.#first ? undefined : this.#entries[at];
  }

  #remember(entry: Entry): void {
    this.#evict(entry.cost);
    // One that is larger than the table empties it. RFC 7541, section 4.4.
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

  /** RFC 7541, section 5.1; -1 for what is cut off or larger than anything can be. */
  #number(block: Buffer, to: number, prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = (block[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= to) return -1;
      const byte = block[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  #text(block: Buffer, to: number): string | undefined {
    if (this.#at >= to) return undefined;
    const isHuffman = (block[this.#at] ?? 0) >= 0x80;
    const length = this.#number(block, to, 7);
    const from = this.#at;
    if (length < 0 || from + length > to) return undefined;
    this.#at = from + length;
    return isHuffman ? decodeHuffman(block, from, this.#at) : block.toString('latin1', from, this.#at);
  }
}

function toEntry(name: string, text: string): Entry {
  // Space around a value is no part of it in HTTP/1.1, which it may be sent on as.
  const value = withoutSpaceAround(text);
  return { name, value, cost: name.length + text.length + entryCost, valid: isName(name) && isFieldValue(value) };
}

function isName(name: string): boolean {
  return isToken(name.charCodeAt(0) === 0x3a ? name.slice(1) : name) && !/[A-Z]/.test(name);
}

/** In linear time, which no expression of both ends would be. */
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
