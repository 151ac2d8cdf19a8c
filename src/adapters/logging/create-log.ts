import { Writable } from 'node:stream';
import { createLogger, format, transports } from 'winston';
import type { Log, LogFields } from '../../runtime/log.ts';
import { type Printable, type PrintableFields, printableFields } from './printable-fields.ts';

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

/** From the most important to the least. */
const levels: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

/**
 * Writes every entry as exactly one line, never throws because of its arguments, and never prints a secret's value.
 *
 * A secret is a field at any depth with a name like `token`, `authorization` or `key`. Errors appear with message, code
 * and cause.
 */
export function createLog({ format: form, level, write }: LogOptions): Log {
  const logger = createLogger({
    levels,
    level,
    format: format.combine(withPrintableFields(), form === 'json' ? jsonLine : textLine),
    transports: [write === undefined ? new transports.Console({ stderrLevels: Object.keys(levels) }) : streamTo(write)],
    exitOnError: false,
  });
  return bindLog((level, message, fields) => logger.log({ level, message, fields }), {});
}

function streamTo(write: (line: string) => void): transports.StreamTransportInstance {
  const stream = new Writable({
    decodeStrings: false,
    write(line, _encoding, done) {
      write(String(line));
      done();
    },
  });
  return new transports.Stream({ stream, eol: '\n' });
}

/** Replaces fields by printable values. */
const withPrintableFields = format((info) => ({ ...info, fields: printableFields(info.fields as LogFields) }));

const jsonLine = format.printf(({ level, message, fields }) => {
  const head = { ts: new Date().toISOString(), level, msg: String(message) };
  const rest = Object.entries(fields as PrintableFields).map(([name, value]) => [
    name in head ? `${name}_` : name,
    value,
  ]);
  return JSON.stringify({ ...head, ...Object.fromEntries(rest) });
});

const textLine = format.printf(({ level, message, fields }) => {
  const rest = Object.entries(fields as PrintableFields).map(([name, value]) => ` ${name}=${inText(value)}`);
  const oneLine = String(message).replace(/\p{Cc}+/gu, ' ');
  return `${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${oneLine}${rest.join('')}`;
});

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

function inText(value: Printable): string {
  return typeof value === 'string' && /^[\w./:@%+,~-]+$/.test(value) ? value : JSON.stringify(value);
}
