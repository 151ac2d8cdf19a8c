/** The kind that a resource's endpoint returns or accepts. */
export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** One subresource, as `apidiscovery.k8s.io/v2` APISubresourceDiscovery. */
export interface SubresourceDiscovery {
  readonly subresource: string;
  readonly responseKind?: GroupVersionKind;
  readonly acceptedTypes?: readonly GroupVersionKind[];
  /** `null` and an empty list are different values to Kubernetes' merge. */
  readonly verbs: readonly string[] | null;
}

/** One resource, as `apidiscovery.k8s.io/v2` APIResourceDiscovery. */
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

/** One API group; the core group has the empty name. As `apidiscovery.k8s.io/v2` APIGroupDiscovery. */
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
