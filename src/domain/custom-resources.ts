/** A resource that something other than the server's own code defines. */
export interface DefinedResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

/** What the CustomResourceDefinition and APIService watches say, together with what they said until lately. */
export interface DefinedResources {
  /** `group/version/resource` of every served CRD version. */
  readonly custom: ReadonlySet<string>;
  /** `group/version` of every APIService that an aggregated server backs. */
  readonly aggregated: ReadonlySet<string>;
  /** `group/version/resource` of deleted CRDs, and `group/version` of deleted APIServices, to the time of deletion. */
  readonly deletedAt: ReadonlyMap<string, number>;
}

/** The `group/version/resource` key of {@link DefinedResources}. */
export function resourceKey({ group, version, resource }: DefinedResource): string {
  return `${group}/${version}/${resource}`;
}

/** The fields of a CustomResourceDefinition that classification needs. */
export interface CustomResourceDefinitionObject {
  readonly metadata?: { readonly name?: string };
  readonly spec?: {
    readonly group?: string;
    readonly names?: { readonly plural?: string };
    readonly versions?: readonly { readonly name?: string; readonly served?: boolean }[];
  };
}

/** The fields of an APIService that classification needs. */
export interface ApiServiceObject {
  readonly metadata?: { readonly name?: string };
  readonly spec?: { readonly group?: string; readonly version?: string; readonly service?: unknown };
}

/** How long a deletion is held against documents that were fetched before or shortly after it. */
const tombstoneMs = 60_000;

/**
 * Brings the classification up to date with both watches; what has vanished since `before` is remembered as deleted.
 */
export function classifyDefined(
  crds: Iterable<CustomResourceDefinitionObject>,
  apiServices: Iterable<ApiServiceObject>,
  before: DefinedResources | undefined,
  now: number,
): DefinedResources {
  const custom = new Set<string>();
  // A group-version that changes hands, as from an aggregated server to a CRD, is served all the while by somebody.
  const versions = new Set<string>();
  for (const { spec } of crds)
    for (const { name = '', served } of spec?.versions ?? []) {
      if (served !== true) continue;
      const group = spec?.group ?? '';
      versions.add(`${group}/${name}`);
      custom.add(resourceKey({ group, version: name, resource: spec?.names?.plural ?? '' }));
    }
  const aggregated = new Set<string>();
  for (const { spec } of apiServices) {
    const groupVersion = `${spec?.group ?? ''}/${spec?.version ?? ''}`;
    versions.add(groupVersion);
    if (spec?.service !== undefined && spec.service !== null) aggregated.add(groupVersion);
  }
  const deletedAt = new Map<string, number>();
  for (const [key, at] of before?.deletedAt ?? []) if (now - at < tombstoneMs) deletedAt.set(key, at);
  for (const key of [...(before?.custom ?? []), ...(before?.aggregated ?? [])]) deletedAt.set(key, now);
  for (const key of [...custom, ...versions]) deletedAt.delete(key);
  return { custom, aggregated, deletedAt };
}
