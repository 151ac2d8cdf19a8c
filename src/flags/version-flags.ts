import { readFlags } from './read-flags.ts';

/** The wish, a request for help, or all problems. */
export type VersionFlagsResult =
  | { readonly kind: 'flags'; readonly output: 'text' | 'json' }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

const options = {
  output: { type: 'string', short: 'o' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Text of `--help`. */
export const versionUsage = `Print the version.

Usage: peerdiscovery version [-o json]

  -o, --output json   version, and the Node that runs it, as JSON

Examples:
  peerdiscovery version
  peerdiscovery version -o json
`;

/** Reads the flags of `peerdiscovery version`. Any unknown flag is wrong usage. */
export function parseVersionFlags(args: readonly string[]): VersionFlagsResult {
  const given = readFlags(args, options);
  const wanted = given.text('output');
  const output = wanted === undefined ? 'text' : 'json';
  if (wanted !== undefined && wanted !== output) given.problems.push(`-o ${wanted} is not supported; give json`);
  if (given.problems.length > 0) return { kind: 'problems', problems: given.problems };
  return given.help ? { kind: 'help' } : { kind: 'flags', output };
}
