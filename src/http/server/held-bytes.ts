/** Buffers and lists of fields that were counted already: several requests may share them. */
export type Counted = Set<object>;

/** A connection or a request that holds bytes in memory. */
export interface Keeper {
  /** Bytes that it holds now, those in `counted` apart. */
  keptBytes(counted: Counted): number;
  /** Whose they are; undefined while no server has accepted a credential. */
  readonly owner: string | undefined;
  /** Ends it, so that the bytes are free. */
  cut(): void;
}

/** What one object costs besides its bytes, since a small piece is not free. */
export const pieceCost = 512;
/** A field costs two strings and their places besides its text, and is held as it came and as it is sent on. */
const fieldCost = 96;

/** What header fields cost in memory. */
export function fieldsCost(rawHeaders: readonly string[], counted: Counted): number {
  if (counted.has(rawHeaders)) return 0;
  counted.add(rawHeaders);
  let cost = fieldCost * (rawHeaders.length / 2);
  for (const text of rawHeaders) cost += 2 * text.length;
  return cost;
}

/** What chunks hold in memory: a piece of a buffer holds all of it. */
export function chunksCost(chunks: readonly Uint8Array[], counted: Counted): number {
  let cost = 0;
  for (const { buffer } of chunks) {
    if (counted.has(buffer)) continue;
    counted.add(buffer);
    cost += buffer.byteLength + pieceCost;
  }
  return cost;
}

/** Bytes to be sent are held once by the stream, and once more as they were encrypted. */
export const unsentCost = 2;
