import { closestName } from '../domain/closest-name.ts';
import type { ResourceDiscovery } from '../domain/discovery-document.ts';
import { parseDiscoveryList } from '../domain/parse-discovery.ts';
import type { RoutingBundle, Scope } from '../domain/routing-table.ts';

/** A resource, found by any name that kubectl accepts. */
export interface FoundResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly path: string;
}

/** A resource with all its names. */
interface NamedResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly names: ReadonlySet<string>;
}

/** Every resource of the unified documents, in order of preference. */
export function listResources(bundle: RoutingBundle): readonly NamedResource[] {
  const found: NamedResource[] = [];
  for (const text of [bundle.api, bundle.apis])
    for (const group of parseDiscoveryList(JSON.parse(text)))
      for (const { version, resources } of group.versions ?? [])
        for (const resource of resources ?? [])
          found.push({ group: group.name, version, resource: resource.resource, names: namesOf(resource) });
  const listed = new Set(found.map(({ group, version, resource }) => `${group}/${version}/${resource}`));
  // Proxies route every listed resource, even without a document that describes it.
  for (const { group, version, resources } of bundle.table.groupVersions)
    for (const { resource } of resources)
      if (!listed.has(`${group}/${version}/${resource}`))
        found.push({ group, version, resource, names: new Set([resource]) });
  return found;
}

/**
 * Finds what `pods`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps` or `pods/exec` means, best match first.
 *
 * Like kubectl, it reads a group, or a version and a group, after the first dot.
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

/** The probable meaning of an unknown resource: `deployments.apps` for `deploymets.apps`. */
export function closestResource(bundle: RoutingBundle, text: string): string | undefined {
  const [full = '', ...subresource] = text.split('/');
  const [name = '', ...suffix] = full.split('.');
  const rest = suffix.join('.');
  const listed = listResources(bundle);
  const inGroup = listed.filter(({ group, version }) => rest === group || rest === `${version}.${group}`);
  const near = closestOf(rest !== '' && inGroup.length > 0 ? inGroup : listed, name);
  if (near === undefined) return undefined;
  const qualified = rest === '' || near.group === '' ? near.resource : `${near.resource}.${near.group}`;
  return [qualified, ...subresource].join('/');
}

/** The same for the path of a resource: `/apis/apps/v1/deployments` for `/apis/app/v1/deployments`. */
export function closestPath(bundle: RoutingBundle, path: string): string | undefined {
  const words = path.split('/');
  const rootLength = words[1] === 'apis' ? 4 : 3;
  const [asked, rest] = [words.slice(0, rootLength).join('/'), words.slice(rootLength)];
  const at = rest[0] === 'namespaces' && rest.length > 2 ? 2 : 0;
  const listed = listResources(bundle);
  const root = closestName(asked, [...new Set(listed.map(rootOf))]);
  const near = closestOf(
    listed.filter((found) => rootOf(found) === root),
    rest[at] ?? '',
  );
  if (root === undefined || near === undefined) return undefined;
  const closest = [root, ...rest.slice(0, at), near.resource, ...rest.slice(at + 1)].join('/');
  return closest === path ? undefined : closest;
}

function rootOf({ group, version }: Pick<NamedResource, 'group' | 'version'>): string {
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** The resource with the closest name; short names are close to too many. */
function closestOf(listed: readonly NamedResource[], name: string): NamedResource | undefined {
  const names = listed.flatMap((found) => [...found.names].filter((one) => one.length > 3));
  const close = closestName(name.toLowerCase(), names);
  return close === undefined ? undefined : listed.find((found) => found.names.has(close));
}

/**
 * The path of a request with this method for the resource; `NAMESPACE` and `NAME` are placeholders.
 *
 * Only list and watch cover all namespaces. Subresources, PUT and PATCH need an object.
 */
function pathOf(
  { group, version, resource, subresource }: Omit<FoundResource, 'path'>,
  scope: Scope | undefined,
  method: string,
): string {
  const ofObject = subresource !== '' || method === 'PUT' || method === 'PATCH';
  const reads = method === 'GET' || method === 'HEAD';
  const namespaced = subresource !== '' && scope === undefined ? true : scope === 'Namespaced' && (ofObject || !reads);
  return [
    rootOf({ group, version }),
    ...(namespaced ? ['namespaces/NAMESPACE'] : []),
    resource,
    ...(ofObject ? ['NAME'] : []),
    ...(subresource === '' ? [] : [subresource]),
  ].join('/');
}

/**
 * True if objects of the resource are in namespaces, according to the servers. Undefined if the table does not know.
 */
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
