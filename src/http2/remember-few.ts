const most = 1_000;
const longest = 64;

/** Remembers a value by its key for the life of the process; a stranger's many keys, or long ones, are not kept. */
export function rememberFew<Value>(known: Map<string, Value>, key: string, value: Value): void {
  if (known.size < most && key.length <= longest) known.set(key, value);
}
