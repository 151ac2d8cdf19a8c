import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import type { ObjectKey, ObjectStore, StoredObject, StoreEvent } from './object-store.ts';
import type { SimulatedVersion } from './version-profile.ts';

/** One field in the spec of a kind, and the 1.x minors that know it. */
export interface SimulatedField {
  readonly name: string;
  /** The first minor whose types contain it. */
  readonly since: number;
  /** The first minor that accepts it. Earlier minors have its feature gate off. */
  readonly on: number;
  /** The first minor whose types no longer contain it. */
  readonly until?: number;
}

/** Fields by `group/resource`. Every version knows all other fields of a spec. */
export type SimulatedFields = ReadonlyMap<string, readonly SimulatedField[]>;

/** The types of a server, and the version that sets its gates. */
export interface Types {
  readonly fields: SimulatedFields;
  readonly program: SimulatedVersion;
  readonly served: SimulatedVersion;
}

/** True if the server's types contain the field, so that it keeps a stored one. */
export function knows({ program }: Pick<Types, 'program'>, { since, until }: SimulatedField): boolean {
  const minor = minorOf(program);
  return since <= minor && (until === undefined || minor < until);
}

/** True if the server accepts the field in a request. */
export function accepts(types: Pick<Types, 'program' | 'served'>, field: SimulatedField): boolean {
  return knows(types, field) && field.on <= minorOf(types.served);
}

/**
 * The store as a server with these types sees it. The server reads objects without unknown fields, and writes them back
 * without them. It keeps a stored field whose gate is off, but drops a new one.
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
      // As on a real server, each document contains the program's version.
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
    // A program reports the gate defaults of its own version.
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
