import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

/** Any Kubernetes object. */
export interface StoredObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

/** The metadata that the simulation uses. It keeps all other metadata unchanged. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly managedFields?: readonly ManagedFields[];
  readonly [field: string]: unknown;
}

/** The fields that a manager has applied. The simulation keeps plain paths instead of Kubernetes' `fieldsV1`. */
export interface ManagedFields {
  readonly manager: string;
  readonly subresource?: string;
  readonly paths: readonly string[];
}

/** One change, as a watch reports it. */
export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly revision: number;
  /** `group/resource`, for all versions together. */
  readonly resource: string;
  readonly object: StoredObject;
  /** The object before the change. */
  readonly before?: StoredObject;
}

/**
 * The location of an object: `group/resource` (the core group is empty), and its namespace, empty for cluster scope.
 */
export interface ObjectKey {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

/** The etcd that all simulated servers share. Every write has a revision, and listeners get it at once. */
export interface ObjectStore {
  readonly revision: number;
  get(key: ObjectKey): StoredObject | undefined;
  /** Objects of a resource, in all namespaces if the namespace is empty, in key order. */
  list(resource: string, namespace?: string): StoredObject[];
  /** Creates or replaces an object, and returns the stored one. A write that changes nothing is ignored. */
  put(key: ObjectKey, object: Readonly<Record<string, unknown>>): StoredObject;
  delete(key: ObjectKey): StoredObject | undefined;
  /** Changes after a revision; undefined if they were compacted. */
  since(revision: number): readonly StoreEvent[] | undefined;
  /** Forgets the history so far, as etcd's compaction does. Watches from an earlier revision get 410. */
  compact(): void;
  /** Calls back with every change until the returned function is called. */
  listen(onEvent: (event: StoreEvent) => void): () => void;
}

const keptEvents = 10_000;

/** An empty store. */
export function createObjectStore(now: () => number): ObjectStore {
  const objects = new Map<string, Map<string, StoredObject>>();
  const listeners = new Set<(event: StoreEvent) => void>();
  let history: StoreEvent[] = [];
  let revision = 1;
  let compactedAt = 1;

  function tell(event: StoreEvent): void {
    history.push(event);
    if (history.length > keptEvents) {
      history = history.slice(keptEvents / 2);
      compactedAt = (history[0]?.revision ?? revision) - 1;
    }
    for (const listener of [...listeners]) listener(event);
  }

  function ofResource(resource: string): Map<string, StoredObject> {
    const known = objects.get(resource);
    if (known !== undefined) return known;
    const made = new Map<string, StoredObject>();
    objects.set(resource, made);
    return made;
  }

  return {
    get revision() {
      return revision;
    },
    get: (key) => objects.get(key.resource)?.get(pathOf(key)),
    list(resource, namespace = '') {
      const found = [...(objects.get(resource) ?? [])];
      const wanted = namespace === '' ? found : found.filter(([path]) => path.startsWith(`${namespace}/`));
      return wanted.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
    },
    put(key, object) {
      const all = ofResource(key.resource);
      const before = all.get(pathOf(key));
      const { managedFields, ...given } = (object.metadata ?? {}) as ObjectMeta;
      const metadata: ObjectMeta = {
        ...given,
        name: key.name,
        ...(key.namespace !== '' && { namespace: key.namespace }),
        uid: before?.metadata.uid ?? randomUUID(),
        creationTimestamp: before?.metadata.creationTimestamp ?? `${new Date(now()).toISOString().slice(0, 19)}Z`,
        resourceVersion: before?.metadata.resourceVersion ?? '',
        ...(managedFields !== undefined && managedFields.length > 0 && { managedFields }),
      };
      if (before !== undefined && isDeepStrictEqual({ ...object, metadata }, before)) return before;
      revision += 1;
      const stored: StoredObject = { ...object, metadata: { ...metadata, resourceVersion: String(revision) } };
      all.set(pathOf(key), stored);
      const type = before === undefined ? 'ADDED' : 'MODIFIED';
      tell({ type, revision, resource: key.resource, object: stored, ...(before !== undefined && { before }) });
      return stored;
    },
    delete(key) {
      const all = ofResource(key.resource);
      const before = all.get(pathOf(key));
      if (before === undefined) return undefined;
      all.delete(pathOf(key));
      revision += 1;
      const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(revision) } };
      tell({ type: 'DELETED', revision, resource: key.resource, object, before });
      return object;
    },
    since: (from) => (from < compactedAt ? undefined : history.filter((event) => event.revision > from)),
    compact() {
      history = [];
      compactedAt = revision;
    },
    listen(onEvent) {
      listeners.add(onEvent);
      return () => listeners.delete(onEvent);
    },
  };
}

function pathOf({ namespace, name }: ObjectKey): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}
