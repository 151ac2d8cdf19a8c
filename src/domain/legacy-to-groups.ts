import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';

/** A group and the versions that a legacy server lists for it, most preferred first. */
export interface LegacyGroup {
  readonly name: string;
  readonly versions: readonly string[];
}

/** Thrown for a legacy discovery document that Kubernetes would not have written. */
class InvalidLegacyDiscoveryError extends Error {
  override readonly name = 'InvalidLegacyDiscoveryError';
}

/** A server's answer for one of its group-versions: its `APIResourceList`, or `missing` for 404 or 503. */
export type LegacyResources = { readonly kind: 'list'; readonly list: unknown } | { readonly kind: 'missing' };

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const maxGroupVersions = 2_000;

/**
 * Reads `/api` (`APIVersions`) or `/apis` (`APIGroupList`). Every name in the result is safe as a path element.
 * @throws InvalidLegacyDiscoveryError
 */
export function parseLegacyGroups(value: unknown): LegacyGroup[] {
  const document = asRecord(value, 'document');
  const groups = document.kind === 'APIVersions' ? [coreGroup(document)] : namedGroups(document);
  const count = groups.reduce((sum, { versions }) => sum + versions.length, 0);
  if (count > maxGroupVersions) throw new InvalidLegacyDiscoveryError(`lists ${count} group-versions`);
  return groups;
}

/**
 * Builds the aggregated form of a group from its legacy lists, field by field as Kubernetes does.
 *
 * A version without a list is `Stale` and has no resources. Source: `ConvertGroupVersionIntoToDiscovery` in
 * `pkg/endpoints/installer.go` of k8s.io/apiserver.
 * @throws InvalidLegacyDiscoveryError
 */
export function legacyToGroup(group: LegacyGroup, resourcesOf: (version: string) => LegacyResources): GroupDiscovery {
  const versions = group.versions.map((version): VersionDiscovery => {
    const resources = resourcesOf(version);
    if (resources.kind === 'missing') return { version, freshness: 'Stale' };
    return { version, resources: convertResources(resources.list), freshness: 'Current' };
  });
  return { name: group.name, versions };
}

function coreGroup(document: Record<string, unknown>): LegacyGroup {
  return {
    name: '',
    versions: asArray(document.versions, 'versions').map((version) => asLabel(version, 'version')),
  };
}

function namedGroups(document: Record<string, unknown>): LegacyGroup[] {
  if (document.kind !== 'APIGroupList') throw new InvalidLegacyDiscoveryError('not a discovery document');
  return asArray(document.groups, 'groups').map((entry) => {
    const group = asRecord(entry, 'group');
    const name = asText(group.name, 'group name');
    if (name.length > 253 || !name.split('.').every((part) => label.test(part)))
      throw new InvalidLegacyDiscoveryError('a group name is not a DNS name');
    const versions = asArray(group.versions, 'versions').map((version) =>
      asLabel(asRecord(version, 'version').version, 'version'),
    );
    return { name, versions };
  });
}

interface Draft {
  readonly fields: Omit<ResourceDiscovery, 'subresources'>;
  readonly subresources: SubresourceDiscovery[];
}

function convertResources(value: unknown): ResourceDiscovery[] {
  const document = asRecord(value, 'document');
  if (document.kind !== 'APIResourceList') throw new InvalidLegacyDiscoveryError('not an APIResourceList');
  const entries = asArray(document.resources, 'resources').map((entry) => {
    const fields = asRecord(entry, 'resource');
    const [resource = '', ...rest] = asText(fields.name, 'resource name').split('/');
    return { fields, resource, subresource: rest.length > 0 ? rest.join('/') : undefined };
  });
  const drafts = new Map<string, Draft>();
  for (const { fields, resource, subresource } of entries)
    if (subresource === undefined)
      drafts.set(resource, { fields: convertResource(resource, fields), subresources: [] });
  for (const { fields, resource, subresource } of entries) {
    if (subresource === undefined) continue;
    const parent = drafts.get(resource) ?? { fields: parentless(resource, fields), subresources: [] };
    drafts.set(resource, parent);
    parent.subresources.push(convertSubresource(subresource, fields));
  }
  return [...drafts.values()].map(({ fields, subresources }) =>
    subresources.length > 0 ? { ...fields, subresources } : fields,
  );
}

function convertResource(resource: string, fields: Record<string, unknown>): Omit<ResourceDiscovery, 'subresources'> {
  return {
    resource,
    responseKind: responseKind(fields),
    scope: scopeOf(fields),
    singularResource: optionalText(fields.singularName, 'singularName') ?? '',
    verbs: verbsOf(fields),
    ...optionalTexts('shortNames', fields),
    ...optionalTexts('categories', fields),
  };
}

/** Kubernetes invents a parent for a subresource without one. */
function parentless(resource: string, fields: Record<string, unknown>): Omit<ResourceDiscovery, 'subresources'> {
  const responseKind = { group: '', version: '', kind: '' };
  return { resource, responseKind, scope: scopeOf(fields), singularResource: '', verbs: null };
}

function convertSubresource(subresource: string, fields: Record<string, unknown>): SubresourceDiscovery {
  return { subresource, responseKind: responseKind(fields), verbs: verbsOf(fields) };
}

/** Group and version stay empty if they equal the list's, because the aggregated form omits them as well. */
function responseKind(fields: Record<string, unknown>): GroupVersionKind {
  return {
    group: optionalText(fields.group, 'group') ?? '',
    version: optionalText(fields.version, 'version') ?? '',
    kind: optionalText(fields.kind, 'kind') ?? '',
  };
}

function scopeOf(fields: Record<string, unknown>): string {
  return fields.namespaced === true ? 'Namespaced' : 'Cluster';
}

function verbsOf(fields: Record<string, unknown>): string[] | null {
  const verbs = fields.verbs;
  return verbs === undefined || verbs === null ? null : asTexts(verbs, 'verbs');
}

function optionalTexts<Name extends string>(name: Name, fields: Record<string, unknown>): { [Key in Name]?: string[] } {
  const value = fields[name];
  if (value === undefined || value === null) return {};
  const texts: { [Key in Name]?: string[] } = {};
  texts[name] = asTexts(value, name);
  return texts;
}

function asTexts(value: unknown, what: string): string[] {
  return asArray(value, what).map((entry) => asText(entry, what));
}

function asRecord(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InvalidLegacyDiscoveryError(`${what} is not an object`);
}

/** Go writes an empty list as `null`. A document without the list is broken. */
function asArray(value: unknown, what: string): unknown[] {
  if (value === null) return [];
  if (Array.isArray(value)) return value;
  throw new InvalidLegacyDiscoveryError(`${what} is not a list`);
}

function asText(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new InvalidLegacyDiscoveryError(`${what} is not text`);
}

function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null ? undefined : asText(value, what);
}

function asLabel(value: unknown, what: string): string {
  const text = asText(value, what);
  if (!label.test(text)) throw new InvalidLegacyDiscoveryError(`a ${what} is not a DNS label`);
  return text;
}
