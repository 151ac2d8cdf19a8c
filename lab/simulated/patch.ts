import type { ManagedFields, ObjectMeta, StoredObject } from './object-store.ts';

type Fields = Readonly<Record<string, unknown>>;

/** JSON merge patch (RFC 7396). */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const merged: Record<string, unknown> = isFields(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch))
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  return merged;
}

/** The result of an apply. */
export type ApplyResult =
  | { readonly kind: 'applied'; readonly object: Fields }
  | { readonly kind: 'conflict'; readonly manager: string; readonly path: string };

/**
 * Simplified server-side apply: lists are atomic, and only applies own fields; updates do not.
 *
 * As in Kubernetes, a field of another manager with another value is a conflict unless the apply is forced. A forced
 * apply takes the field over. A field is removed when its only manager no longer applies it.
 */
export function applyPatch(
  before: StoredObject | undefined,
  patch: Fields,
  { manager, subresource, force }: { readonly manager: string; readonly subresource?: string; readonly force: boolean },
): ApplyResult {
  const applied = new Map([...leavesOf(patch)].filter(([path]) => isOwnable(path)));
  const isSelf = (entry: ManagedFields) => entry.manager === manager && entry.subresource === subresource;
  const all = before?.metadata.managedFields ?? [];
  const own = all.find(isSelf);
  let others = all.filter((entry) => !isSelf(entry));
  const current = new Map(before === undefined ? [] : leavesOf(before));
  for (const [path, value] of applied) {
    const owner = others.find(({ paths }) => paths.includes(path));
    if (owner === undefined || JSON.stringify(current.get(path)) === JSON.stringify(value)) continue;
    if (!force) return { kind: 'conflict', manager: owner.manager, path: pathForPeople(path) };
    others = others.map((entry) => ({ ...entry, paths: entry.paths.filter((other) => other !== path) }));
  }
  let object: Fields = before ?? {};
  const stillOwned = new Set([...applied.keys(), ...others.flatMap(({ paths }) => paths)]);
  for (const path of own?.paths ?? []) if (!stillOwned.has(path)) object = withoutLeaf(object, JSON.parse(path));
  object = overlay(object, patch);
  const entry: ManagedFields = {
    manager,
    ...(subresource !== undefined && { subresource }),
    paths: [...applied.keys()],
  };
  const managedFields = [...others.filter(({ paths }) => paths.length > 0), entry];
  return { kind: 'applied', object: { ...object, metadata: { ...(object.metadata as ObjectMeta), managedFields } } };
}

function overlay(target: Fields, patch: Fields): Fields {
  const merged: Record<string, unknown> = { ...target };
  for (const [name, value] of Object.entries(patch)) {
    const before = merged[name];
    merged[name] = isFields(value) && isFields(before) ? overlay(before, value) : value;
  }
  return merged;
}

/** Every value that is not an object, by its path as JSON. */
function* leavesOf(value: Fields, path: readonly string[] = []): Generator<[string, unknown]> {
  for (const [name, child] of Object.entries(value)) {
    const at = [...path, name];
    if (isFields(child) && Object.keys(child).length > 0) yield* leavesOf(child, at);
    else yield [JSON.stringify(at), child];
  }
}

function isOwnable(path: string): boolean {
  const [first, second = ''] = JSON.parse(path) as string[];
  if (first === 'apiVersion' || first === 'kind') return false;
  return first !== 'metadata' || second === 'labels' || second === 'annotations';
}

function withoutLeaf(target: Fields, [name = '', ...rest]: readonly string[]): Fields {
  const { [name]: child, ...others } = target;
  if (rest.length === 0 || !isFields(child)) return others;
  const left = withoutLeaf(child, rest);
  return Object.keys(left).length === 0 ? others : { ...others, [name]: left };
}

function pathForPeople(path: string): string {
  return `.${(JSON.parse(path) as string[]).join('.')}`;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
