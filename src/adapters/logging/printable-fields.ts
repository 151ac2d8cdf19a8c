import type { LogFields } from '../../runtime/log.ts';

/** Values that can be written as JSON. */
export type Printable = string | number | boolean | null | Printable[] | PrintableFields;
export interface PrintableFields {
  [name: string]: Printable;
}

const secretNames =
  /^(token|authorization|key|password|secret|cookie|(bearer|access|refresh|id)[-_]?token|(private|client)[-_]?key|key[-_]?(pem|data))$/i;
const maxDepth = 6;
const maxEntries = 100;
const maxTextLength = 8_192;

/** The fields with secrets redacted, and bounded in depth, number and length. Never throws. */
export function printableFields(fields: LogFields): PrintableFields {
  return printableEntries(() => Object.entries(fields), 0, []);
}

function printableEntries(
  entriesOf: () => (readonly [string, unknown])[],
  depth: number,
  ancestors: readonly object[],
): PrintableFields {
  const shown: [string, Printable][] = [];
  const entries = entriesOf();
  for (const [name, value] of entries.slice(0, maxEntries)) {
    if (value === undefined) continue;
    shown.push([name, secretNames.test(name) ? '[redacted]' : printable(value, depth, ancestors)]);
  }
  if (entries.length > maxEntries) shown.push(['more', entries.length - maxEntries]);
  return Object.fromEntries(shown);
}

function printable(value: unknown, depth: number, ancestors: readonly object[]): Printable {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'string') return shorten(value);
  if (typeof value !== 'object') return shorten(String(value));
  if (ancestors.includes(value)) return '[circular]';
  if (depth >= maxDepth) return '[deep]';
  try {
    return printableObject(value, depth + 1, [...ancestors, value]);
  } catch {
    // A getter, proxy or toJSON of the value threw.
    return '[unprintable]';
  }
}

function printableObject(value: object, depth: number, ancestors: readonly object[]): Printable {
  if (value instanceof Error) {
    const { message, cause } = value;
    const code = (value as NodeJS.ErrnoException).code;
    const causes = value instanceof AggregateError ? { errors: value.errors } : {};
    return printableEntries(() => Object.entries({ message, code, cause, ...causes }), depth, ancestors);
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Map) {
    return printableEntries(() => [...value].map(([name, entry]) => [String(name), entry] as const), depth, ancestors);
  }
  if (Array.isArray(value) || value instanceof Set) {
    const all = [...value];
    const shown = all.slice(0, maxEntries).map((entry) => printable(entry, depth, ancestors));
    return all.length > maxEntries ? [...shown, `[${all.length - maxEntries} more]`] : shown;
  }
  return printableEntries(() => Object.entries(value), depth, ancestors);
}

function shorten(text: string): string {
  return text.length > maxTextLength ? `${text.slice(0, maxTextLength)}[${text.length - maxTextLength} more]` : text;
}
