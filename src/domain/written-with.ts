/** A built-in resource, or with `/` a subresource whose body is of another kind. */
export interface WrittenKind {
  readonly group: string;
  readonly resource: string;
}

const pods: Readonly<WrittenKind> = { group: '', resource: 'pods' };
const coreEvents: Readonly<WrittenKind> = { group: '', resource: 'events' };
const groupEvents: Readonly<WrittenKind> = { group: 'events.k8s.io', resource: 'events' };

/**
 * Stored objects that a server writes in addition to the one in the path, by `group/resource[/subresource]`.
 *
 * Sources: `LegacyBindingREST` and `EvictionREST` in `pkg/registry/core/pod/storage`, and `TokenREST` in
 * `pkg/registry/core/serviceaccount/storage` of kube-apiserver.
 */
const exceptions: ReadonlyMap<string, readonly WrittenKind[]> = new Map([
  ['/bindings', [pods]],
  // An eviction counts the disruption in the budget, and writes the reason into the Pod.
  ['/pods/eviction', [pods, { group: 'policy', resource: 'poddisruptionbudgets' }]],
  ['/serviceaccounts/token', []],
  // An Event is one object in two groups.
  ['/events', [groupEvents]],
  ['events.k8s.io/events', [coreEvents]],
]);

/** The kinds that a request for this path must keep complete: the kind of its body first, then the stored objects. */
export function writtenWith(group: string, resource: string, subresource: string): readonly WrittenKind[] {
  const name = subresource === '' ? resource : `${resource}/${subresource}`;
  const parent = subresource === '' ? [] : [{ group, resource }];
  return [{ group, resource: name }, ...(exceptions.get(`${group}/${name}`) ?? parent)];
}

/** True if a request with this path makes a server write a stored object. */
export function writesStored(group: string, resource: string, subresource: string): boolean {
  return exceptions.get(`${group}/${resource}/${subresource}`)?.length !== 0;
}
