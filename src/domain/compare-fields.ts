import type { OutlineNode, SchemaOutline } from './schema-outline.ts';

/** Some of the fields of a kind, as paths such as `spec.template.spec.hostUsers`. */
export interface FieldList {
  /** The first paths, shallowest first. */
  readonly paths: readonly string[];
  readonly count: number;
}

/** How two schemas of one kind differ in their fields. */
export interface FieldComparison {
  readonly onlyLeft: FieldList;
  readonly onlyRight: FieldList;
  /** Fields that both have but describe differently, as when a field graduates. */
  readonly described: FieldList;
}

/** A kind in a document. */
export interface OutlinedKind {
  readonly outline: SchemaOutline;
  /** Name of its definition. */
  readonly definition: string;
}

const maxPaths = 50;

/** Compares two schemas of a kind, following all references. Each type is compared only where it first occurs. */
export function compareFields(left: OutlinedKind, right: OutlinedKind): FieldComparison {
  const found = { onlyLeft: emptyList(), onlyRight: emptyList(), described: emptyList() };
  const met = new Set<string>();
  const start = (kind: OutlinedKind): OutlineNode => ({
    digest: '',
    text: '',
    gated: false,
    refs: [kind.definition],
    fields: new Map(),
  });
  const open = [{ left: start(left), right: start(right), path: '' }];
  for (let at = 0; at < open.length; at += 1) {
    const pair = open[at];
    if (pair === undefined) continue;
    const key = `${placeOf(pair.left)}|${placeOf(pair.right)}`;
    const isKnown = met.has(key);
    met.add(key);
    const a = resolve(left.outline, pair.left);
    const b = resolve(right.outline, pair.right);
    if (pair.left.text !== pair.right.text || (!isKnown && a.texts !== b.texts)) add(found.described, pair.path);
    if (isKnown) continue;
    const below = (name: string) => (pair.path === '' ? name : `${pair.path}.${name}`);
    for (const [name, field] of a.fields) {
      const other = b.fields.get(name);
      if (other === undefined) add(found.onlyLeft, below(name));
      else open.push({ left: field, right: other, path: below(name) });
    }
    for (const name of b.fields.keys()) if (!a.fields.has(name)) add(found.onlyRight, below(name));
  }
  return found;
}

/** Equal for nodes with the same fields, whatever their own descriptions say. */
function placeOf({ digest, refs, fields }: OutlineNode): string {
  return fields.size > 0 || refs.length === 0 ? digest : refs.join();
}

/** The fields of a node and of its references, and the descriptions of the latter. */
function resolve(
  { definitions }: SchemaOutline,
  node: OutlineNode,
): { readonly texts: string; readonly fields: ReadonlyMap<string, OutlineNode> } {
  if (node.refs.length === 0) return { texts: '', fields: node.fields };
  const fields = new Map(node.fields);
  const texts: string[] = [];
  const met = new Set<string>();
  const open = [...node.refs];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const definition = met.has(next) ? undefined : definitions.get(next);
    met.add(next);
    if (definition === undefined) continue;
    texts.push(definition.text);
    for (const [name, field] of definition.fields) if (!fields.has(name)) fields.set(name, field);
    open.push(...definition.refs);
  }
  return { texts: texts.join(), fields };
}

function emptyList(): { paths: string[]; count: number } {
  return { paths: [], count: 0 };
}

function add(list: { paths: string[]; count: number }, path: string): void {
  list.count += 1;
  if (list.paths.length < maxPaths) list.paths.push(path);
}
