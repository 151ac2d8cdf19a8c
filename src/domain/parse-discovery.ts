import type {
  GroupDiscovery,
  GroupVersionKind,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from './discovery-document.ts';

/** Thrown for a value that is not an APIGroupDiscoveryList. Its message begins with the path of the fault. */
export class InvalidDiscoveryError extends Error {
  override readonly name = 'InvalidDiscoveryError';
}

/**
 * Reads a decoded APIGroupDiscoveryList of v2 or v2beta1 as kube-apiserver's own decoder does.
 *
 * Field names are case-sensitive. Unknown fields, and all metadata but the name, are dropped. Null means absent, and
 * ill-formed text becomes U+FFFD. An empty list stays distinct from an absent one, because the merge tells them apart.
 * The caller must check kind and apiVersion of the list itself. Source: `apidiscovery/v2/types.go` of k8s.io/api 0.36,
 * decoded with sigs.k8s.io/json.
 * @param options.maxResources the maximum of groups, versions, resources and subresources in total; 100,000 by default
 * @throws InvalidDiscoveryError
 */
export function parseDiscoveryList(value: unknown, options: { readonly maxResources?: number } = {}): GroupDiscovery[] {
  const budget: Budget = { max: options.maxResources ?? 100_000, used: 0 };
  const document = asFields(value, '');
  return readList(document, 'items', '', (item, path) => readGroup(item, path, budget)) ?? [];
}

interface Budget {
  readonly max: number;
  used: number;
}

type Fields = Readonly<Record<string, unknown>>;

const noFields: Readonly<Fields> = {};

function readGroup(value: unknown, path: string, budget: Budget): GroupDiscovery {
  spend(budget, path);
  const fields = asFieldsOrNone(value, path);
  const kind = readText(fields, 'kind', path);
  const apiVersion = readText(fields, 'apiVersion', path);
  const versions = readList(fields, 'versions', path, (item, at) => readVersion(item, at, budget));
  return {
    name: readText(asFieldsOrNone(fields.metadata, join(path, 'metadata')), 'name', join(path, 'metadata')),
    ...(kind !== '' && { kind }),
    ...(apiVersion !== '' && { apiVersion }),
    ...(versions !== undefined && { versions }),
  };
}

function readVersion(value: unknown, path: string, budget: Budget): VersionDiscovery {
  spend(budget, path);
  const fields = asFieldsOrNone(value, path);
  const resources = readList(fields, 'resources', path, (item, at) => readResource(item, at, budget));
  const freshness = readText(fields, 'freshness', path);
  return {
    version: readText(fields, 'version', path),
    ...(resources !== undefined && { resources }),
    ...(freshness !== '' && { freshness }),
  };
}

function readResource(value: unknown, path: string, budget: Budget): ResourceDiscovery {
  spend(budget, path);
  const fields = asFieldsOrNone(value, path);
  const responseKind = readKind(fields.responseKind, join(path, 'responseKind'));
  const shortNames = readTexts(fields, 'shortNames', path);
  const categories = readTexts(fields, 'categories', path);
  const subresources = readList(fields, 'subresources', path, (item, at) => readSubresource(item, at, budget));
  return {
    resource: readText(fields, 'resource', path),
    ...(responseKind !== undefined && { responseKind }),
    scope: readText(fields, 'scope', path),
    singularResource: readText(fields, 'singularResource', path),
    verbs: readTexts(fields, 'verbs', path) ?? null,
    ...(shortNames !== undefined && { shortNames }),
    ...(categories !== undefined && { categories }),
    ...(subresources !== undefined && { subresources }),
  };
}

function readSubresource(value: unknown, path: string, budget: Budget): SubresourceDiscovery {
  spend(budget, path);
  const fields = asFieldsOrNone(value, path);
  const responseKind = readKind(fields.responseKind, join(path, 'responseKind'));
  const acceptedTypes = readList(fields, 'acceptedTypes', path, (item, at) => readKind(item, at) ?? emptyKind);
  return {
    subresource: readText(fields, 'subresource', path),
    ...(responseKind !== undefined && { responseKind }),
    ...(acceptedTypes !== undefined && { acceptedTypes }),
    verbs: readTexts(fields, 'verbs', path) ?? null,
  };
}

const emptyKind: Readonly<GroupVersionKind> = { group: '', version: '', kind: '' };

function readKind(value: unknown, path: string): GroupVersionKind | undefined {
  if (value === undefined || value === null) return undefined;
  const fields = asFields(value, path);
  return {
    group: readText(fields, 'group', path),
    version: readText(fields, 'version', path),
    kind: readText(fields, 'kind', path),
  };
}

function readList<Item>(
  fields: Fields,
  name: string,
  path: string,
  readItem: (value: unknown, path: string) => Item,
): Item[] | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const at = join(path, name);
  if (!Array.isArray(value)) throw unexpected(at, 'a list', value);
  return value.map((item: unknown, index) => readItem(item, `${at}[${index}]`));
}

function readTexts(fields: Fields, name: string, path: string): string[] | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const at = join(path, name);
  if (!Array.isArray(value)) throw unexpected(at, 'a list of strings', value);
  return value.map((item: unknown, index) => {
    if (typeof item === 'string') return item.toWellFormed();
    if (item === null) return '';
    throw unexpected(`${at}[${index}]`, 'a string', item);
  });
}

function readText(fields: Fields, name: string, path: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value.toWellFormed();
  if (value === undefined || value === null) return '';
  throw unexpected(join(path, name), 'a string', value);
}

function asFieldsOrNone(value: unknown, path: string): Fields {
  return value === undefined || value === null ? noFields : asFields(value, path);
}

function asFields(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw unexpected(path, 'an object', value);
}

function spend(budget: Budget, path: string): void {
  if (++budget.used > budget.max)
    throw new InvalidDiscoveryError(
      `${path}: the document has more than ${budget.max} groups, versions, resources and subresources in all`,
    );
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function unexpected(path: string, expected: string, value: unknown): InvalidDiscoveryError {
  const got = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  return new InvalidDiscoveryError(`${path === '' ? 'document' : path}: expected ${expected}, got ${got}`);
}
