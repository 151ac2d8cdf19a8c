/** The kind that a resource's endpoint returns or accepts. */
export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** One subresource, as in APISubresourceDiscovery of `apidiscovery.k8s.io/v2`. */
export interface SubresourceDiscovery {
  readonly subresource: string;
  readonly responseKind?: GroupVersionKind;
  readonly acceptedTypes?: readonly GroupVersionKind[];
  /** Kubernetes' merge treats `null` and an empty list as different. */
  readonly verbs: readonly string[] | null;
}

/** One resource, as in APIResourceDiscovery of `apidiscovery.k8s.io/v2`. */
export interface ResourceDiscovery {
  readonly resource: string;
  readonly responseKind?: GroupVersionKind;
  readonly scope: string;
  readonly singularResource: string;
  readonly verbs: readonly string[] | null;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly subresources?: readonly SubresourceDiscovery[];
}

/** One version of a group, as `apidiscovery.k8s.io/v2` APIVersionDiscovery. */
export interface VersionDiscovery {
  readonly version: string;
  readonly resources?: readonly ResourceDiscovery[];
  /** `Current`, `Stale`, or absent. */
  readonly freshness?: string;
}

/** One API group, as in APIGroupDiscovery of `apidiscovery.k8s.io/v2`. The core group has an empty name. */
export interface GroupDiscovery {
  readonly name: string;
  readonly kind?: string;
  readonly apiVersion?: string;
  readonly versions?: readonly VersionDiscovery[];
}

/** Number of group/version/resource triples; subresources are not counted. */
export function countResources(groups: readonly GroupDiscovery[]): number {
  let count = 0;
  for (const { versions = [] } of groups) for (const { resources = [] } of versions) count += resources.length;
  return count;
}
