import { stringify } from 'yaml';
import type { Output } from '../flags/plugin-flags.ts';

/** A value as JSON or YAML with a newline at its end. Undefined for output meant for people. */
export function printData(value: unknown, output: Output): string | undefined {
  if (output === 'json') return `${JSON.stringify(value, undefined, 4)}\n`;
  if (output === 'yaml') return stringify(value, { lineWidth: 0 });
  return undefined;
}
