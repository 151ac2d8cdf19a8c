import { stringify } from 'yaml';
import type { Output } from './plugin-flags.ts';

/** A value as JSON or YAML, newline at its end; undefined if the output is meant for people. */
export function printData(value: unknown, output: Output): string | undefined {
  if (output === 'json') return `${JSON.stringify(value, undefined, 4)}\n`;
  if (output === 'yaml') return stringify(value, { lineWidth: 0 });
  return undefined;
}
