/** The parts of a resource request's path. A missing part is empty. */
export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

/** Parses `/api/<version>/...` and `/apis/<group>/<version>/...`; undefined for any other path. */
export function readResourcePath(path: string): ResourcePath | undefined {
  const parts = path
    .split('/')
    .slice(1)
    .map((part) => decodeURIComponent(part));
  if (parts[0] !== 'api' && parts[0] !== 'apis') return undefined;
  const [group = '', version = '', ...rest] = parts[0] === 'api' ? ['', ...parts.slice(1)] : parts.slice(1);
  if (rest.length === 0 || rest[0] === '') return undefined;
  // `namespaces/x/status` and `namespaces/x/finalize` refer to the namespace itself.
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize';
  const [namespace = '', own] = inNamespace ? [rest[1], rest.slice(2)] : ['', rest];
  const [resource = '', name = '', ...subresource] = own ?? [];
  return { group, version, resource, namespace, name, subresource: subresource.join('/') };
}
