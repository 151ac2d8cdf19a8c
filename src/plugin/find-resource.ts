import type { ResourceDiscovery } from '../domain/discovery-document.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import type { RoutingBundle, Scope } from '../domain/routing-table.ts';

/** A resource that somebody named as kubectl lets them. */
export interface FoundResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly path: string;
}

/** A resource with every name that it answers to. */
interface NamedResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly names: ReadonlySet<string>;
}

/** Every resource of the unified documents in their order, which is that of preference. */
export function listResources(bundle: RoutingBundle): readonly NamedResource[] {
  const found: NamedResource[] = [];
  for (const text of [bundle.api, bundle.apis])
    for (const group of parseDiscoveryList(JSON.parse(text)))
      for (const { version, resources } of group.versions ?? [])
        for (const resource of resources ?? [])
          found.push({ group: group.name, version, resource: resource.resource, names: namesOf(resource) });
  const listed = new Set(found.map(({ group, version, resource }) => `${group}/${version}/${resource}`));
  // What a table lists is routed, whether or not a document describes it.
  for (const { group, version, resources } of bundle.table.groupVersions)
    for (const { resource } of resources)
      if (!listed.has(`${group}/${version}/${resource}`))
        found.push({ group, version, resource, names: new Set([resource]) });
  return found;
}

/**
 * What `pods`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps` or `pods/exec` means, best first.
 *
 * As kubectl reads it: after the first dot comes a group, or a version and a group.
 */
export function findResources(bundle: RoutingBundle, text: string, method = 'GET'): readonly FoundResource[] {
  const [full = '', subresource = ''] = text.split('/', 2);
  const [name = '', ...suffix] = full.split('.');
  const wanted = name.toLowerCase();
  const matches = listResources(bundle).filter(({ group, version, names }) => {
    if (!names.has(wanted)) return false;
    if (suffix.length === 0) return true;
    const rest = suffix.join('.');
    return group === rest || (group === '' ? version : `${version}.${group}`) === rest;
  });
  return matches.map(({ group, version, resource }) => ({
    group,
    version,
    resource,
    subresource,
    path: pathOf({ group, version, resource, subresource }, scopeOf(bundle, { group, version, resource }), method),
  }));
}

/**
 * Where a request of this method for the resource goes: `NAMESPACE` and `NAME` stand for any.
 *
 * Only a list or a watch is of all namespaces; a subresource belongs to an object, and so does what PUT and PATCH
 * change.
 */
function pathOf(
  { group, version, resource, subresource }: Omit<FoundResource, 'path'>,
  scope: Scope | undefined,
  method: string,
): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const ofObject = subresource !== '' || method === 'PUT' || method === 'PATCH';
  const reads = method === 'GET' || method === 'HEAD';
  const namespaced = subresource !== '' && scope === undefined ? true : scope === 'Namespaced' && (ofObject || !reads);
  return [
    root,
    ...(namespaced ? ['namespaces/NAMESPACE'] : []),
    resource,
    ...(ofObject ? ['NAME'] : []),
    ...(subresource === '' ? [] : [subresource]),
  ].join('/');
}

/** Whether objects of a resource are in namespaces, as the servers say; undefined if the table does not know. */
function scopeOf(
  { table }: RoutingBundle,
  wanted: Pick<FoundResource, 'group' | 'version' | 'resource'>,
): Scope | undefined {
  return table.groupVersions
    .find(({ group, version }) => group === wanted.group && version === wanted.version)
    ?.resources.find(({ resource }) => resource === wanted.resource)?.scope;
}

function namesOf(resource: ResourceDiscovery): ReadonlySet<string> {
  const names = [resource.resource, resource.singularResource, resource.responseKind?.kind];
  return new Set([...names, ...(resource.shortNames ?? [])].flatMap((name) => name?.toLowerCase() ?? []));
}
