/** The name of a peer for people. */
export function nameOf({ hostname, id }: { readonly hostname?: string; readonly id: string }): string {
  return hostname ?? id;
}

/** `resource.version.group`, as kubectl takes it; the core group has none. */
export function formatResource(of: {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}): string {
  return [of.resource, of.version, of.group].filter((part) => part !== '').join('.');
}
