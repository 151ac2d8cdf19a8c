/** Limits on the content of a JSON text, so that reading it cannot take more memory and time than planned. */
export interface JsonBounds {
  /** The total of objects and lists. */
  readonly maxContainers: number;
  /** Commas in all: one less than the members of each object and list. */
  readonly maxCommas: number;
  /** Different member names. A repeated name costs little, a new one a microsecond or more. */
  readonly maxNames: number;
}

/**
 * Limits for a server's discovery or OpenAPI: ten times the largest accepted discovery document, which has 100,000
 * groups, versions, resources and subresources.
 */
const documentBounds: Readonly<JsonBounds> = { maxContainers: 1_000_000, maxCommas: 3_000_000, maxNames: 200_000 };

/**
 * Says why a JSON text in UTF-8 exceeds the limits; undefined if it may be read.
 *
 * It looks once at each byte, twice at those of names, and keeps a number for each name. It also counts marks inside
 * strings. So it may refuse a text whose strings are full of braces, but never accepts one that exceeds the limits.
 * Parsing 63 MB of `{}` would take 2 GB of memory; three million names would take five seconds.
 */
export function findJsonExcess(text: Uint8Array, bounds = documentBounds): string | undefined {
  const { maxContainers, maxCommas, maxNames } = bounds;
  const names = new Set<number>();
  let containers = 0;
  let commas = 0;
  // By index, because iterating over bytes costs eight times as much.
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === 0x2c) commas++;
    else if (byte === 0x7b || byte === 0x5b) containers++;
    else if (byte === colon && names.size <= maxNames) {
      const name = hashNameBefore(text, at);
      if (name !== undefined) names.add(name);
    }
  }
  if (containers > maxContainers) return `it has more than ${maxContainers} objects and lists`;
  if (commas > maxCommas) return `it has more than ${maxCommas} values`;
  if (names.size > maxNames) return `it has more than ${maxNames} names`;
  return undefined;
}

const colon = 0x3a;
const quote = 0x22;
const backslash = 0x5c;
const space = 0x20;
/** A longer name always counts as new. */
const maxNameBytes = 1_024;

/** A number for the name that ends before a colon; undefined if the colon is inside a text. */
function hashNameBefore(text: Uint8Array, colonAt: number): number | undefined {
  let at = colonAt - 1;
  while ((text[at] ?? quote) <= space) at--;
  if (!isQuote(text, at)) return undefined;
  const from = Math.max(0, at - maxNameBytes);
  let hash = 0;
  for (at--; at >= from; at--) {
    if (isQuote(text, at)) return hash;
    hash = (Math.imul(hash, 31) + (text[at] ?? 0)) | 0;
  }
  return colonAt;
}

/** True for a quote that begins or ends a text, because an even number of backslashes precedes it. */
function isQuote(text: Uint8Array, at: number): boolean {
  if (text[at] !== quote) return false;
  let before = at;
  while (at - before < maxNameBytes && text[before - 1] === backslash) before--;
  return (at - before) % 2 === 0;
}
