import { parseArgs } from 'node:util';
import { didYouMean } from '../domain/closest-name.ts';

export type Output = 'table' | 'wide' | 'json' | 'yaml';

/** What was asked for, after the command's own name. */
export interface PluginFlags {
  readonly arguments: readonly string[];
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Where the operator runs. */
  readonly namespace: string;
  /** False if nobody said so, and it may be told by the object. */
  readonly namespaceGiven: boolean;
  /** Name of the PeerDiscovery. */
  readonly name: string;
  readonly output: Output;
  readonly watch: boolean;
  readonly method: string;
  readonly target: readonly string[];
  readonly targetVersion: string | undefined;
  readonly auditLogs: readonly string[];
  readonly metricsFiles: readonly string[];
  /** Port of this machine; 0 takes a free one. */
  readonly port: number;
  readonly help: boolean;
  /** Ask no cluster. */
  readonly client: boolean;
}

const every = {
  help: { type: 'boolean', short: 'h' },
} as const;

const clusterFlags = {
  kubeconfig: { type: 'string' },
  context: { type: 'string' },
  namespace: { type: 'string', short: 'n' },
  name: { type: 'string' },
} as const;

const options = {
  ...every,
  ...clusterFlags,
  output: { type: 'string', short: 'o' },
  watch: { type: 'boolean', short: 'w' },
  method: { type: 'string' },
  target: { type: 'string', multiple: true },
  'target-version': { type: 'string' },
  'audit-log': { type: 'string', multiple: true },
  'metrics-file': { type: 'string', multiple: true },
  port: { type: 'string' },
  client: { type: 'boolean' },
} as const;

export type FlagName = keyof typeof options;

/** A command's own shape. */
export interface CommandShape {
  readonly flags: readonly FlagName[];
  readonly outputs: readonly Output[];
  /** Fewest and most positional arguments, and what they are. */
  readonly arguments: { readonly min: number; readonly max: number; readonly what: string };
}

export const clusterFlagNames = ['kubeconfig', 'context', 'namespace', 'name'] as const;

/** The arguments with the command, which is the first that is no flag and no flag's value, in front of its flags. */
export function commandFirst(args: readonly string[]): readonly string[] {
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true, allowPositionals: true });
  const at = tokens.find(({ kind }) => kind === 'positional')?.index;
  return at === undefined ? args : [args[at] ?? '', ...args.slice(0, at), ...args.slice(at + 1)];
}

function unknownFlag(flag: string, allowed: readonly string[]): string {
  const names = allowed.map((name) => `--${name}`);
  return `unknown flag ${flag}${didYouMean(flag, names)}${didYouMean(flag, names) === '' ? '; it' : ' It'} takes ${names.join(', ')}`;
}

/** Methods of HTTP that kube-apiserver gives a meaning. */
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT'];

/** Reads the flags of one command; every problem is reported at once, each with its cure. */
export function parsePluginFlags(
  args: readonly string[],
  shape: CommandShape,
): { readonly flags: PluginFlags } | { readonly problems: readonly string[] } {
  const allowed = ['help', ...shape.flags] as readonly string[];
  const problems: string[] = [];
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const known = Object.hasOwn(options, token.name) ? options[token.name as FlagName] : undefined;
    if (known === undefined || !allowed.includes(token.name)) problems.push(unknownFlag(token.rawName, allowed));
    else if (known.type === 'string' && (token.value === undefined || token.value === ''))
      problems.push(`${token.rawName} needs a value`);
    else if (known.type === 'boolean' && token.value !== undefined)
      problems.push(`${token.rawName} takes no value; leave ${JSON.stringify(token.value)} out`);
  }
  const one = (name: FlagName) => {
    const value = values[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const many = (name: FlagName) => {
    const value = values[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  };
  const { min, max, what } = shape.arguments;
  if (values.help !== true && (positionals.length < min || positionals.length > max))
    problems.push(max === 0 ? `unexpected argument ${JSON.stringify(positionals[0])}; it takes none` : `give ${what}`);
  const wanted = one('output') ?? 'table';
  const output = shape.outputs.find((candidate) => candidate === wanted);
  if (output === undefined)
    problems.push(
      `-o ${wanted} is not supported; give one of ${shape.outputs.filter((o) => o !== 'table').join(', ')}`,
    );
  const port = one('port') ?? '0';
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535)
    problems.push(`--port ${port} is no port; give 1 to 65535, or 0 for a free one`);
  const method = (one('method') ?? 'GET').toUpperCase();
  if (!methods.includes(method))
    problems.push(
      `--method ${method} is no HTTP method${didYouMean(method, methods)}; give one of ${methods.join(', ')}`,
    );
  if (problems.length > 0) return { problems };
  return {
    flags: {
      arguments: positionals,
      kubeconfig: one('kubeconfig'),
      context: one('context'),
      namespace: one('namespace') ?? 'peerdiscovery-system',
      namespaceGiven: one('namespace') !== undefined,
      name: one('name') ?? 'cluster',
      output: output ?? 'table',
      watch: values.watch === true,
      method,
      target: many('target'),
      targetVersion: one('target-version'),
      auditLogs: many('audit-log'),
      metricsFiles: many('metrics-file'),
      port: Number(port),
      help: values.help === true,
      client: values.client === true,
    },
  };
}
