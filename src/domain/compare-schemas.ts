/** What a server's `/openapi/v3` lists: a hash of the schemas of each group-version. */
export interface SchemaIndex {
  readonly etag?: string;
  /** `group/version` to the hash; the core group is empty, as in `/v1`. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Equal for equal hashes. */
  readonly digest: string;
}

/** A group-version whose schemas are not the same at all live peers that publish them. */
export interface SchemaDifference {
  readonly group: string;
  readonly version: string;
  readonly schemas: readonly { readonly hash: string; readonly peers: readonly string[] }[];
}

/** Compares the schemas of group-versions by their hashes, in the order of names; which fields differ is not known. */
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
