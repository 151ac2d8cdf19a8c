import { createHash } from 'node:crypto';
import type { SchemaIndex } from '../../domain/compare-schemas.ts';

const maxEntries = 10_000;

/**
 * Reads the answer of `/openapi/v3`. Skips entries that are not a group-version with a hash; undefined if none is left.
 *
 * Source: `OpenAPIV3Discovery` in `pkg/handler3/handler.go` of k8s.io/kube-openapi.
 */
export function readSchemaIndex(value: unknown, etag: string | undefined): SchemaIndex | undefined {
  const paths = (value as { paths?: unknown } | null)?.paths;
  if (typeof paths !== 'object' || paths === null) return undefined;
  const hashes = new Map<string, string>();
  for (const [path, entry] of Object.entries(paths).slice(0, maxEntries)) {
    const groupVersion = /^(?:apis\/([^/]+\/[^/]+)|api(\/[^/]+))$/.exec(path);
    const url = (entry as { serverRelativeURL?: unknown } | null)?.serverRelativeURL;
    const hash = typeof url === 'string' ? /[?&]hash=([0-9A-Za-z]{1,128})/.exec(url)?.[1] : undefined;
    const key = groupVersion?.[1] ?? groupVersion?.[2];
    if (key !== undefined && hash !== undefined) hashes.set(key, hash.slice(0, 16));
  }
  if (hashes.size === 0) return undefined;
  const digest = createHash('sha256')
    .update(JSON.stringify([...hashes].sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('hex');
  return { ...(etag !== undefined && { etag }), hashes, digest };
}
