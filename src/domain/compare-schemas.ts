/** The index at a server's `/openapi/v3`: a hash of the schemas of each group-version. */
export interface SchemaIndex {
  readonly etag?: string;
  /** Maps `group/version` to the hash; the core group has no name, as in `/v1`. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Equal for equal hashes. */
  readonly digest: string;
}

/** A group-version whose published schemas are not the same at all live peers. */
export interface SchemaDifference {
  readonly group: string;
  readonly version: string;
  readonly schemas: readonly { readonly hash: string; readonly peers: readonly string[] }[];
}

/**
 * Compares the schemas of group-versions by their hashes, sorted by name. The hashes do not tell which fields differ.
 */
export function compareSchemas(
  peers: readonly { readonly id: string; readonly schemas: SchemaIndex }[],
): readonly SchemaDifference[] {
  if (new Set(peers.map(({ schemas }) => schemas.digest)).size < 2) return [];
  const byVersion = new Map<string, Map<string, string[]>>();
  for (const { id, schemas } of peers)
    for (const [key, hash] of schemas.hashes) {
      const hashes = byVersion.get(key) ?? new Map<string, string[]>();
      byVersion.set(key, hashes);
      hashes.set(hash, [...(hashes.get(hash) ?? []), id]);
    }
  return [...byVersion]
    .filter(([, hashes]) => hashes.size > 1)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, hashes]) => {
      const slash = key.lastIndexOf('/');
      const schemas = [...hashes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([hash, ids]) => ({ hash, peers: ids }));
      return { group: key.slice(0, slash), version: key.slice(slash + 1), schemas };
    });
}
