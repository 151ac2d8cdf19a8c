import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import type { ObjectKey, ObjectStore, StoredObject, StoreEvent } from './object-store.ts';
import type { SimulatedVersion } from './version-profile.ts';

/** One field of the spec of a kind, and the minors of 1.x that know it. */
export interface SimulatedField {
  readonly name: string;
  /** In the types from this minor on. */
  readonly since: number;
  /** Accepted from this minor on: before, its feature gate is off. */
  readonly on: number;
  /** No more in the types from this minor on. */
  readonly until?: number;
}

/** Fields by `group/resource`; whatever else a spec has, every version knows. */
export type SimulatedFields = ReadonlyMap<string, readonly SimulatedField[]>;

/** Which types a server has, and the version whose gates it has. */
export interface Types {
  readonly fields: SimulatedFields;
  readonly program: SimulatedVersion;
  readonly served: SimulatedVersion;
}

/** Whether the server's types have the field, so that it keeps one that is stored. */
export function knows({ program }: Pick<Types, 'program'>, { since, until }: SimulatedField): boolean {
  const minor = minorOf(program);
  return since <= minor && (until === undefined || minor < until);
}

/** Whether the server takes the field from a request. */
export function accepts(types: Pick<Types, 'program' | 'served'>, field: SimulatedField): boolean {
  return knows(types, field) && field.on <= minorOf(types.served);
}

/**
 * The store as a server with these types sees it: it reads without the fields that it does not know, and writes objects
 * back without them. A field whose gate is off is kept where it is stored, and else dropped.
 */
export function throughTypes(store: ObjectStore, types: () => Types): ObjectStore {
  const of = (resource: string) => types().fields.get(resource) ?? [];
  const prune = (resource: string, object: StoredObject): StoredObject =>
    withoutFields(
      object,
      of(resource).filter((field) => !knows(types(), field)),
    );
  const see = (event: StoreEvent): StoreEvent => ({
    ...event,
    object: prune(event.resource, event.object),
    ...(event.before !== undefined && { before: prune(event.resource, event.before) }),
  });
  const read = (key: ObjectKey) => {
    const stored = store.get(key);
    return stored === undefined ? undefined : prune(key.resource, stored);
  };
  return {
    get revision() {
      return store.revision;
    },
    get: read,
    list: (resource, namespace) => store.list(resource, namespace).map((object) => prune(resource, object)),
    put(key, object) {
      const before = specOf(read(key));
      const dropped = of(key.resource).filter((field) => !accepts(types(), field) && before[field.name] === undefined);
      const given = prune(key.resource, object as StoredObject);
      return prune(key.resource, store.put(key, withoutFields(given, dropped)));
    },
    delete: (key) => store.delete(key),
    since: (revision) => store.since(revision)?.map(see),
    compact: () => store.compact(),
    listen: (onEvent) => store.listen((event) => onEvent(see(event))),
  };
}

/** The OpenAPI v3 documents by `group/version`, as a program of this version describes the kinds. */
export function describeKinds(groups: readonly GroupDiscovery[], types: Types): ReadonlyMap<string, object> {
  const documents = new Map<string, object>();
  for (const { name, versions = [] } of groups)
    for (const { version, resources = [] } of versions) {
      const schemas = Object.assign(
        {},
        ...resources.map(({ resource, responseKind }) =>
          describeKind({ group: name, version, kind: responseKind?.kind ?? '' }, types, `${name}/${resource}`),
        ),
      );
      // As on a real server, each document names the program's version.
      const info = { title: 'Kubernetes', version: types.program };
      documents.set(`${name}/${version}`, { openapi: '3.0.0', info, paths: {}, components: { schemas } });
    }
  return documents;
}

function describeKind(gvk: { group: string; version: string; kind: string }, types: Types, resource: string): object {
  const fields = (types.fields.get(resource) ?? []).filter((field) => knows(types, field));
  const name = `${gvk.group}.${gvk.version}.${gvk.kind}`;
  const properties = fields.map((field) => [
    field.name,
    // What a program says of a gate is what its own version has by default.
    { type: 'string', description: `${field.name} is ${field.on <= minorOf(types.program) ? 'stable' : 'alpha'}.` },
  ]);
  return {
    [name]: {
      type: 'object',
      description: gvk.kind,
      properties: { spec: { description: 'spec', allOf: [{ $ref: `#/components/schemas/${name}Spec` }] } },
      'x-kubernetes-group-version-kind': [gvk],
    },
    [`${name}Spec`]: { type: 'object', description: 'spec', properties: Object.fromEntries(properties) },
  };
}

function withoutFields(object: StoredObject, fields: readonly SimulatedField[]): StoredObject {
  const spec = specOf(object);
  const gone = fields.filter(({ name }) => spec[name] !== undefined);
  if (gone.length === 0) return object;
  const names = new Set(gone.map(({ name }) => name));
  return { ...object, spec: Object.fromEntries(Object.entries(spec).filter(([name]) => !names.has(name))) };
}

function specOf(object: StoredObject | undefined): Readonly<Record<string, unknown>> {
  const spec = object?.spec;
  return typeof spec === 'object' && spec !== null ? (spec as Record<string, unknown>) : {};
}

function minorOf(version: SimulatedVersion): number {
  return Number(version.split('.')[1]);
}
