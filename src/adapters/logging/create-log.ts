import { Writable } from 'node:stream';
import { createLogger, format, transports } from 'winston';
import type { Log, LogFields } from '../../runtime/log.ts';

export type LogFormat = 'text' | 'json';
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export interface LogOptions {
  /** `json`: one object per line, starting with `ts`, `level` and `msg`. `text`: lines for people. */
  readonly format: LogFormat;
  /** The least important level that is written. */
  readonly level: LogLevel;
  /** Receives whole lines, newline included; standard error by default. */
  readonly write?: (line: string) => void;
}

type Printable = string | number | boolean | null | Printable[] | { [name: string]: Printable };

const secretNames =
  /^(token|authorization|key|password|secret|cookie|(bearer|access|refresh|id)[-_]?token|(private|client)[-_]?key|key[-_]?(pem|data))$/i;
const maxDepth = 6;
const maxEntries = 100;
const maxTextLength = 8_192;

/**
 * Writes every entry as exactly one line, never throws because of its arguments, and never prints a secret's value.
 *
 * A secret is a field at any depth with a name like `token`, `authorization` or `key`. Errors appear with message, code
 * and cause.
 */
export function createLog(options: LogOptions): Log {
  const write = options.write ?? ((line) => void process.stderr.write(line));
  const stream = new Writable({
    decodeStrings: false,
    write(line, _encoding, done) {
      write(String(line));
      done();
    },
  });
  const render = options.format === 'json' ? renderJson : renderText;
  const logger = createLogger({
    level: options.level,
    format: format.printf((info) => render(info.level, String(info.message), info.fields as LogFields)),
    transports: [new transports.Stream({ stream, eol: '\n' })],
    exitOnError: false,
  });
  return bindLog((level, message, fields) => logger.log({ level, message, fields }), {});
}

function bindLog(log: (level: LogLevel, message: string, fields: LogFields) => void, bound: LogFields): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => log(level, message, { ...bound, ...fields });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => bindLog(log, { ...bound, ...fields }),
  };
}

function renderJson(level: string, message: string, fields: LogFields): string {
  const head = { ts: new Date().toISOString(), level, msg: message };
  const rest = Object.entries(printableFields(fields)).map(([name, value]) => [
    name in head ? `${name}_` : name,
    value,
  ]);
  return JSON.stringify({ ...head, ...Object.fromEntries(rest) });
}

function renderText(level: string, message: string, fields: LogFields): string {
  const rest = Object.entries(printableFields(fields)).map(([name, value]) => ` ${name}=${inText(value)}`);
  const oneLine = message.replace(/\p{Cc}+/gu, ' ');
  return `${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${oneLine}${rest.join('')}`;
}

function inText(value: Printable): string {
  return typeof value === 'string' && /^[\w./:@%+,~-]+$/.test(value) ? value : JSON.stringify(value);
}

function printableFields(fields: LogFields): { [name: string]: Printable } {
  return printableEntries(() => Object.entries(fields), 0, []);
}

function printableEntries(
  entriesOf: () => (readonly [string, unknown])[],
  depth: number,
  ancestors: readonly object[],
): { [name: string]: Printable } {
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
    // Somebody else's getter, proxy or toJSON threw.
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
