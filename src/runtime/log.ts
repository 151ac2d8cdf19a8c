/** Fields of a structured log line. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The log of every part; `adapters/logging` implements it with winston. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Log;
}

/** A log that drops everything. */
export const silentLog: Readonly<Log> = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
