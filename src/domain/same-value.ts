/**
 * True if both values are equal: objects by their fields in any order, with an absent field equal to an undefined one;
 * arrays in order; Sets by their members; Maps by their keys. For plain data without cycles.
 */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && sameList(a, b);
  if (Array.isArray(b)) return false;
  if (a instanceof Map) return b instanceof Map && sameMap(a, b);
  if (a instanceof Set) return b instanceof Set && a.size === b.size && [...a].every((member) => b.has(member));
  return !(b instanceof Map) && !(b instanceof Set) && sameFields(a as Fields, b as Fields);
}

type Fields = Readonly<Record<string, unknown>>;

function sameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => sameValue(item, b[index]));
}

function sameMap(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.has(key) && sameValue(value, b.get(key)));
}

function sameFields(a: Fields, b: Fields): boolean {
  return (
    Object.keys(a).every((name) => sameValue(a[name], b[name])) &&
    Object.keys(b).every((name) => a[name] !== undefined || b[name] === undefined)
  );
}
