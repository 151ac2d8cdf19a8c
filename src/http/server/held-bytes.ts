/** Buffers and lists of fields that have been counted already, because several requests may share them. */
export type Counted = Set<object>;

/** A connection or a request that holds bytes in memory. */
export interface Keeper {
  /** Bytes that it holds now, without those in `counted`. */
  keptBytes(counted: Counted): number;
  /** The user to whom its bytes count; undefined while the user is unknown. */
  readonly owner: string | undefined;
  /** Ends it, which frees its bytes. */
  cut(): void;
}

/** The cost of one object besides its bytes, because a small piece is not free. */
export const pieceCost = 512;
/** A field costs two strings and their places besides its text, and is held both as received and as sent. */
const fieldCost = 96;

/** The cost of header fields in memory. */
export function fieldsCost(rawHeaders: readonly string[], counted: Counted): number {
  if (counted.has(rawHeaders)) return 0;
  counted.add(rawHeaders);
  let cost = fieldCost * (rawHeaders.length / 2);
  for (const text of rawHeaders) cost += 2 * text.length;
  return cost;
}

/** The memory that chunks keep alive: a piece of a buffer keeps all of it. */
export function chunksCost(chunks: readonly Uint8Array[], counted: Counted): number {
  let cost = 0;
  for (const { buffer } of chunks) {
    if (counted.has(buffer)) continue;
    counted.add(buffer);
    cost += buffer.byteLength + pieceCost;
  }
  return cost;
}

/** The stream holds unsent bytes once, and once more encrypted. */
export const unsentCost = 2;
