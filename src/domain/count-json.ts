/** Bounds of what a JSON text may hold, so that reading it cannot take more memory and time than was planned. */
export interface JsonBounds {
  /** Objects and lists in all. */
  readonly maxContainers: number;
  /** Commas in all: one less than the members of each object and list. */
  readonly maxCommas: number;
}

/**
 * What is read of a server's discovery or OpenAPI. Ten times what the largest discovery document has that is accepted:
 * 100,000 groups, versions, resources and subresources.
 */
const documentBounds: JsonBounds = { maxContainers: 1_000_000, maxCommas: 3_000_000 };

/**
 * Says why a JSON text in UTF-8 holds too much to be read, or undefined if it may be read.
 *
 * It costs one look at each byte, and no memory. It counts marks inside strings too, so it may refuse a text that is
 * all strings of braces, and never lets one through that holds more. 63 MB of `{}` would take 2 GB once they were read.
 */
export function findJsonExcess(text: Uint8Array, bounds = documentBounds): string | undefined {
  const { maxContainers, maxCommas } = bounds;
  let containers = 0;
  let commas = 0;
  // By index: iterating over bytes costs eight times as much.
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === 0x2c) commas++;
    else if (byte === 0x7b || byte === 0x5b) containers++;
  }
  if (containers > maxContainers) return `it holds more than ${maxContainers} objects and lists`;
  if (commas > maxCommas) return `it holds more than ${maxCommas} values`;
  return undefined;
}
