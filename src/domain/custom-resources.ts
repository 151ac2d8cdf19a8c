/** A resource that is not defined by the server's own code. */
export interface DefinedResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

/** The definitions that the watches of CustomResourceDefinitions and APIServices report now, and until recently. */
export interface DefinedResources {
  /** `group/version/resource` of every served version of a CustomResourceDefinition. */
  readonly custom: ReadonlySet<string>;
  /** `group/version` of every APIService with an aggregated server. */
  readonly aggregated: ReadonlySet<string>;
  /**
   * Maps `group/version/resource` of deleted CustomResourceDefinitions, and `group/version` of deleted APIServices, to
   * the time of deletion.
   */
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

/** How long a deletion overrides documents that were fetched before it or shortly after. */
const tombstoneMs = 60_000;

/**
 * Updates the classification from both watches. A definition that has disappeared since `before` is recorded as
 * deleted.
 */
export function classifyDefined(
  crds: Iterable<CustomResourceDefinitionObject>,
  apiServices: Iterable<ApiServiceObject>,
  before: DefinedResources | undefined,
  now: number,
): DefinedResources {
  const custom = new Set<string>();
  // A group-version that changes hands, for example from an aggregated server to a CustomResourceDefinition, is served
  // all the time.
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
