import type { GroupDiscovery, ResourceDiscovery, VersionDiscovery } from '../../src/domain/discovery-document.ts';
import { builtInGroups } from './built-in-apis.ts';
import type { StoredObject } from './object-store.ts';
import type { SimulatedVersion } from './version-profile.ts';

/** A column in a CustomResourceDefinition. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description?: string;
  readonly priority?: number;
}

/** The APIs that one server serves at this moment, built-in and by definitions. */
export interface ServedApis {
  /** All groups, with the core group first. */
  groups(): readonly GroupDiscovery[];
  find(group: string, version: string, resource: string): ResourceDiscovery | undefined;
  knowsGroup(group: string): boolean;
  /** True if a CustomResourceDefinition defines the resource. */
  isCustom(group: string, resource: string): boolean;
  columnsOf(group: string, version: string, resource: string): readonly PrinterColumn[];
  /** Starts to serve a definition, updates it, or stops serving it if it is gone. */
  define(name: string, definition: StoredObject | undefined): void;
  /** Serves the APIs of an aggregated server behind an APIService; undefined removes them. */
  aggregate(name: string, service: { readonly group: string; readonly discovery: VersionDiscovery } | undefined): void;
  /** A delegated group-version is `Stale` if no server answers for it. */
  isAggregated(group: string, version: string): boolean;
}

/** The verbs in the order in which 1.36 lists them for custom resources. */
const customVerbs = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: {
      readonly plural: string;
      readonly singular?: string;
      readonly kind: string;
      readonly shortNames?: readonly string[];
      readonly categories?: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly subresources?: { readonly status?: object };
      readonly additionalPrinterColumns?: readonly PrinterColumn[];
    }[];
  };
}

/** The APIs of a server of this version before any definition exists; groups in `without` are disabled. */
export function createServedApis(version: SimulatedVersion, without: readonly string[] = []): ServedApis {
  const builtIn = builtInGroups(version).flatMap(({ versions = [], ...group }) => {
    const kept = versions.filter((entry) => !without.includes(`${group.name}/${entry.version}`));
    return kept.length > 0 ? [{ ...group, versions: kept }] : [];
  });
  const definitions = new Map<string, Definition>();
  const aggregated = new Map<string, { readonly group: string; readonly discovery: VersionDiscovery }>();
  let known: { readonly groups: readonly GroupDiscovery[]; readonly index: ReadonlyMap<string, ResourceDiscovery> };
  const refresh = () => {
    const groups = withExtensions(builtIn, [...definitions.values()], [...aggregated.values()]);
    const index = new Map<string, ResourceDiscovery>();
    for (const { name, versions } of groups)
      for (const { version: of, resources } of versions ?? [])
        for (const resource of resources ?? []) index.set(`${name}/${of}/${resource.resource}`, resource);
    known = { groups, index };
  };
  refresh();
  const definitionOf = (group: string, resource: string) =>
    [...definitions.values()].find(({ spec }) => spec.group === group && spec.names.plural === resource);
  return {
    groups: () => known.groups,
    find: (group, of, resource) => known.index.get(`${group}/${of}/${resource}`),
    knowsGroup: (group) => known.groups.some(({ name }) => name === group),
    isCustom: (group, resource) => definitionOf(group, resource) !== undefined,
    columnsOf: (group, of, resource) =>
      definitionOf(group, resource)?.spec.versions.find(({ name }) => name === of)?.additionalPrinterColumns ?? [],
    define(name, definition) {
      if (definition === undefined) definitions.delete(name);
      else definitions.set(name, definition as unknown as Definition);
      refresh();
    },
    aggregate(name, service) {
      if (service === undefined) aggregated.delete(name);
      else aggregated.set(name, service);
      refresh();
    },
    isAggregated: (group, of) =>
      [...aggregated.values()].some((entry) => entry.group === group && entry.discovery.version === of),
  };
}

function withExtensions(
  builtIn: readonly GroupDiscovery[],
  definitions: readonly Definition[],
  services: readonly { readonly group: string; readonly discovery: VersionDiscovery }[],
): readonly GroupDiscovery[] {
  const extensions = new Map<string, Map<string, VersionDiscovery>>();
  const add = (group: string, { version, resources = [], freshness = 'Current' }: VersionDiscovery) => {
    const versions = extensions.get(group) ?? new Map<string, VersionDiscovery>();
    extensions.set(group, versions);
    const all = [...(versions.get(version)?.resources ?? []), ...resources];
    all.sort((a, b) => (a.resource < b.resource ? -1 : 1));
    versions.set(version, { version, ...(all.length > 0 && { resources: all }), freshness });
  };
  for (const { spec } of definitions)
    for (const { name, served, subresources } of spec.versions)
      if (served)
        add(spec.group, { version: name, resources: [customResource(spec, name, subresources?.status !== undefined)] });
  for (const { group, discovery } of services) add(group, discovery);
  const groups = builtIn.map((group) => {
    const more = extensions.get(group.name);
    extensions.delete(group.name);
    return more === undefined ? group : { ...group, versions: [...(group.versions ?? []), ...more.values()] };
  });
  const added = [...extensions].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, versions]) => ({ name, versions }));
  return [
    ...groups,
    ...added.map(({ name, versions }) => ({ name, versions: [...versions.values()].sort(preferred) })),
  ];
}

function customResource({ group, names, scope }: Definition['spec'], version: string, status: boolean) {
  const responseKind = { group, version, kind: names.kind };
  const resource: ResourceDiscovery = {
    resource: names.plural,
    responseKind,
    scope,
    singularResource: names.singular ?? names.kind.toLowerCase(),
    verbs: customVerbs,
    ...(names.shortNames !== undefined && { shortNames: names.shortNames }),
    ...(names.categories !== undefined && { categories: names.categories }),
    ...(status && { subresources: [{ subresource: 'status', responseKind, verbs: ['get', 'patch', 'update'] }] }),
  };
  return resource;
}

/** GA before beta before alpha, newest first: Kubernetes' version priority. */
function preferred(a: VersionDiscovery, b: VersionDiscovery): number {
  const rank = ({ version }: VersionDiscovery): readonly number[] => {
    const [, major = '0', stage = '', minor = '0'] = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version) ?? [];
    return [stage === '' ? 2 : stage === 'beta' ? 1 : 0, Number(major), Number(minor)];
  };
  const [first, second] = [rank(a), rank(b)];
  for (const at of [0, 1, 2]) {
    const difference = (second[at] ?? 0) - (first[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.version < b.version ? -1 : 1;
}
