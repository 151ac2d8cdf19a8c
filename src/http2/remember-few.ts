const most = 1_000;
const longest = 64;

/** Caches a value for the life of the process. Long keys, and keys beyond a fixed number, are not kept. */
export function rememberFew<Value>(known: Map<string, Value>, key: string, value: Value): void {
  if (known.size < most && key.length <= longest) known.set(key, value);
}
