import { createHash } from 'node:crypto';
// biome-ignore lint/style/noRestrictedImports: an ETag is a hash of the encoded document and nothing else.
import type { GroupDiscovery } from '../domain/discovery-document.ts';
// biome-ignore lint/style/noRestrictedImports: as above.
import { encodeDiscoveryList } from '../domain/encode-discovery.ts';

/**
 * The ETag of kube-apiserver for a document of these groups, without quotes: the SHA-512 in upper-case hex.
 *
 * Source: `calculateETag` in `pkg/endpoints/discovery/aggregated/etag.go` of k8s.io/apiserver 0.36.
 */
export function discoveryEtag(groups: readonly GroupDiscovery[]): string {
  return etagOf(encodeDiscoveryList(groups, { typeMeta: false }));
}

/** The ETag of a document that was encoded without kind and apiVersion. */
export function etagOf(text: string): string {
  return createHash('sha512').update(text).digest('hex').toUpperCase();
}
