import { compareUtf8 } from './compare-utf8.ts';
import { findJsonExcess } from './count-json.ts';

/** The index of `/openapi/v3`. It maps paths such as `apis/apps/v1` to the URL of their document, hash included. */
export type OpenApiIndex = ReadonlyMap<string, string>;

/** Reads a server's answer to `/openapi/v3`. Returns undefined for anything else. */
export function parseOpenApiIndex(value: unknown): OpenApiIndex | undefined {
  const paths = asRecord(asRecord(value)?.paths);
  if (paths === undefined) return undefined;
  const index = new Map<string, string>();
  for (const [key, entry] of Object.entries(paths)) {
    const url = asRecord(entry)?.serverRelativeURL;
    if (typeof url !== 'string' || !url.startsWith('/openapi/v3/')) return undefined;
    index.set(key, url);
  }
  return index;
}

/** The same for a text in UTF-8. */
export function parseOpenApiIndexText(text: Uint8Array): OpenApiIndex | undefined {
  if (findJsonExcess(text) !== undefined) return undefined;
  try {
    return parseOpenApiIndex(JSON.parse(new TextDecoder().decode(text)));
  } catch {
    return undefined;
  }
}

/**
 * The union of the servers' indexes, sorted as Go sorts maps. If several have a path, the first server's document
 * counts.
 */
export function mergeOpenApiIndexes(indexes: readonly OpenApiIndex[]): OpenApiIndex {
  const merged = new Map<string, string>();
  for (const index of indexes) for (const [key, url] of index) if (!merged.has(key)) merged.set(key, url);
  return new Map([...merged].sort(([a], [b]) => compareUtf8(a, b)));
}

/** The response body that kube-apiserver writes for an index. */
export function formatOpenApiIndex(index: OpenApiIndex): string {
  const paths = [...index].map(([key, serverRelativeURL]) => [key, { serverRelativeURL }] as const);
  return JSON.stringify({ paths: Object.fromEntries(paths) });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return value as Record<string, unknown>;
}
