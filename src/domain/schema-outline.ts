import { compareText } from './compare-text.ts';

/** One schema or a place in it: its own statements, and the fields below it. */
export interface OutlineNode {
  /** Equal for nodes that are equal including all their fields. References count by name only. */
  readonly digest: string;
  /** Hash of the schema's own statements and description, without its fields. */
  readonly text: string;
  /** True if it needs a feature gate and is not marked as an alpha feature. */
  readonly gated: boolean;
  /** Names of the definitions that it refers to. */
  readonly refs: readonly string[];
  readonly fields: ReadonlyMap<string, OutlineNode>;
}

/** The parts of an OpenAPI v3 document that are kept: names and hashes. */
export interface SchemaOutline {
  readonly definitions: ReadonlyMap<string, OutlineNode>;
  /** Maps `group/version/kind` to the name of its definition. */
  readonly kinds: ReadonlyMap<string, string>;
}

/** Equal nodes are one object, even across documents. */
export type NodePool = Map<string, OutlineNode>;

const kindsExtension = 'x-kubernetes-group-version-kind';
const refPrefix = '#/components/schemas/';

/**
 * Extracts from an OpenAPI v3 document what distinguishes fields. Undefined if the value is not such a document.
 *
 * It ignores `x-kubernetes-group-version-kind`, because that lists every group-version of the server on the types of
 * options.
 */
export function outlineDocument(
  document: unknown,
  hash: (text: string) => string,
  pool: NodePool = new Map(),
): SchemaOutline | undefined {
  const schemas = asRecord(asRecord(asRecord(document)?.components)?.schemas);
  if (schemas === undefined) return undefined;
  const definitions = new Map<string, OutlineNode>();
  const kinds = new Map<string, string>();
  for (const [name, schema] of Object.entries(schemas)) {
    definitions.set(name, outlineSchema(schema, hash, pool));
    const listed = asRecord(schema)?.[kindsExtension];
    for (const entry of Array.isArray(listed) ? listed : []) {
      const { group, version, kind } = asRecord(entry) ?? {};
      const key = kindKey({ group: String(group), version: String(version), kind: String(kind) });
      if (!kinds.has(key)) kinds.set(key, name);
    }
  }
  return { definitions, kinds };
}

/** The key of a kind in `kinds` of an outline. */
export function kindKey({ group, version, kind }: { group: string; version: string; kind: string }): string {
  return `${group}/${version}/${kind}`;
}

/** A definition together with everything that it refers to. */
export interface DefinitionDigest {
  /** Equal for definitions that are the same including their references. */
  readonly digest: string;
  /**
   * True if part of it needs a feature gate that may be on in one version and off in another without a change of the
   * schema. Alpha features do not count: they are off by default in both.
   */
  readonly gated: boolean;
}

/** Undefined if there is no definition of this name. */
export function digestDefinition(
  { definitions }: SchemaOutline,
  name: string,
  hash: (text: string) => string,
): DefinitionDigest | undefined {
  if (!definitions.has(name)) return undefined;
  let gated = false;
  const seen = new Map<string, string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const node = definitions.get(next);
    if (node === undefined || seen.has(next)) continue;
    seen.set(next, node.digest);
    gated ||= isGated(node);
    open.push(...refsBelow(node));
  }
  return { digest: hash(JSON.stringify([...seen].sort(([a], [b]) => compareText(a, b)))), gated };
}

function isGated(node: OutlineNode): boolean {
  return node.gated || [...node.fields.values()].some(isGated);
}

function refsBelow(node: OutlineNode): readonly string[] {
  return [...node.refs, ...[...node.fields.values()].flatMap(refsBelow)];
}

function outlineSchema(schema: unknown, hash: (text: string) => string, pool: NodePool): OutlineNode {
  const refs: string[] = [];
  const fields = new Map<string, OutlineNode>();
  const said = JSON.stringify(
    sayWithoutFields(schema, refs, (name, field) => {
      fields.set(name, outlineSchema(field, hash, pool));
    }),
  );
  const text = hash(said);
  const named = [...fields].map(([name, { digest }]) => `${name} ${digest}`).sort(compareText);
  const digest = named.length === 0 ? text : hash(`${text}\n${named.join('\n')}`);
  const known = pool.get(digest);
  if (known !== undefined) return known;
  const node = { digest, text, gated: namesGate(schema), refs: [...new Set(refs)], fields };
  pool.set(digest, node);
  return node;
}

function namesGate(schema: unknown): boolean {
  const description = asRecord(schema)?.description;
  return typeof description === 'string' && /feature ?gate/i.test(description) && !/\balpha\b/i.test(description);
}

/** The schema with sorted keys and without `properties`, because a field may have the name of any keyword. */
function sayWithoutFields(schema: unknown, refs: string[], onField: (name: string, schema: unknown) => void): unknown {
  if (Array.isArray(schema)) return schema.map((item) => sayWithoutFields(item, refs, onField));
  const record = asRecord(schema);
  if (record === undefined) return schema;
  const said: [string, unknown][] = [];
  for (const [key, value] of Object.entries(record).sort(([a], [b]) => compareText(a, b))) {
    if (key === kindsExtension) continue;
    const properties = key === 'properties' ? asRecord(value) : undefined;
    if (properties !== undefined) for (const [name, field] of Object.entries(properties)) onField(name, field);
    else if (key === '$ref' && typeof value === 'string') {
      refs.push(value.startsWith(refPrefix) ? value.slice(refPrefix.length) : value);
      said.push([key, value]);
    } else said.push([key, key === 'default' || key === 'enum' ? value : sayWithoutFields(value, refs, onField)]);
  }
  return said;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return value as Record<string, unknown>;
}
