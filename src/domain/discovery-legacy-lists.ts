import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from './discovery-document.ts';

/** `metav1.GroupVersionForDiscovery`. */
interface LegacyVersion {
  readonly groupVersion: string;
  readonly version: string;
}

/** `metav1.APIGroup`; it has kind and apiVersion only when it is a document of its own. */
export interface LegacyApiGroup {
  readonly kind?: 'APIGroup';
  readonly apiVersion?: 'v1';
  readonly name: string;
  readonly versions: readonly LegacyVersion[];
  readonly preferredVersion: LegacyVersion;
}

/** `metav1.APIResource`, with its fields in the order of kube-apiserver's JSON. */
export interface LegacyApiResource {
  readonly name: string;
  readonly singularName: string;
  readonly namespaced: boolean;
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly string[] | null;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
}

/** A legacy discovery document. JSON.stringify gives the same bytes as kube-apiserver, except for Go's escapes. */
export type LegacyDocument =
  | {
      readonly kind: 'APIVersions';
      readonly versions: readonly string[];
      readonly serverAddressByClientCIDRs: readonly never[];
    }
  | { readonly kind: 'APIGroupList'; readonly apiVersion: 'v1'; readonly groups: readonly LegacyApiGroup[] }
  | (Omit<LegacyApiGroup, 'kind'> & { readonly kind: 'APIGroup' })
  | {
      readonly kind: 'APIResourceList';
      readonly apiVersion?: 'v1';
      readonly groupVersion: string;
      readonly resources: readonly LegacyApiResource[];
    };

/**
 * `/api`: the versions of the core group.
 *
 * It announces no server address: clients would bypass the proxy and reach one server, which serves less.
 */
export function legacyApiVersions(core: readonly GroupDiscovery[]): LegacyDocument {
  const versions = core.flatMap((group) => (group.versions ?? []).map(({ version }) => version));
  return { kind: 'APIVersions', versions, serverAddressByClientCIDRs: [] };
}

/**
 * `/apis`: every group with its versions, the preferred one first. As upstream does, it also lists groups whose server
 * is dead.
 */
export function legacyGroupList(groups: readonly GroupDiscovery[]): LegacyDocument {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.flatMap((group) => describeGroup(group) ?? []) };
}

/** `/apis/<group>`; undefined for a group without a version. */
export function legacyGroup(group: GroupDiscovery): LegacyDocument | undefined {
  const described = describeGroup(group);
  return described === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...described };
}

/**
 * `/api/<version>` and `/apis/<group>/<version>`: resources and subresources in the order of the aggregated document.
 *
 * It has no `storageVersionHash`, because aggregated discovery has none either. Source: `convertAPIResource` and
 * `convertAPISubresource` in `discovery/aggregated_discovery.go` of client-go 0.36, except that subresources have no
 * singular name, as in servers' own documents.
 */
export function legacyResourceList(group: string, version: VersionDiscovery): LegacyDocument {
  const core = group === '';
  return {
    kind: 'APIResourceList',
    ...(core ? {} : { apiVersion: 'v1' }),
    groupVersion: core ? version.version : `${group}/${version.version}`,
    resources: (version.resources ?? []).flatMap((resource) => describeResource(resource, group, version.version)),
  };
}

function describeGroup({ name, versions = [] }: GroupDiscovery): LegacyApiGroup | undefined {
  const described = versions.map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  const [preferredVersion] = described;
  return preferredVersion === undefined ? undefined : { name, versions: described, preferredVersion };
}

/**
 * Skips a parent without a kind: aggregated discovery invented it for its subresources, and legacy discovery never
 * listed it.
 */
function describeResource(resource: ResourceDiscovery, group: string, version: string): LegacyApiResource[] {
  const namespaced = resource.scope === 'Namespaced';
  const described: LegacyApiResource[] = [];
  if (hasKind(resource))
    described.push({
      name: resource.resource,
      singularName: resource.singularResource,
      namespaced,
      ...kindOf(resource, group, version),
      verbs: resource.verbs,
      ...unlessNone('shortNames', resource.shortNames),
      ...unlessNone('categories', resource.categories),
    });
  for (const subresource of resource.subresources ?? [])
    if (hasKind(subresource))
      described.push({
        name: `${resource.resource}/${subresource.subresource}`,
        singularName: '',
        namespaced,
        ...kindOf(subresource, group, version),
        verbs: subresource.verbs,
      });
  return described;
}

type WithKind = Pick<ResourceDiscovery, 'responseKind'>;

function hasKind({ responseKind }: WithKind): boolean {
  return responseKind !== undefined && `${responseKind.group}${responseKind.version}${responseKind.kind}` !== '';
}

/** Group and version only if they differ from the list's. Aggregated documents of custom resources always have them. */
function kindOf(
  { responseKind }: WithKind,
  listGroup: string,
  listVersion: string,
): Pick<LegacyApiResource, 'group' | 'version' | 'kind'> {
  const { group = '', version = '', kind = '' } = responseKind ?? {};
  if (group === listGroup && version === listVersion) return { kind };
  return { ...(group !== '' && { group }), ...(version !== '' && { version }), kind };
}

function unlessNone(name: 'shortNames' | 'categories', list: readonly string[] | undefined): object {
  return list === undefined || list.length === 0 ? {} : { [name]: list };
}
