import { parseArgs } from 'node:util';
import { didYouMean } from '../domain/closest-name.ts';
import { defaultNamespace } from './environment.ts';
import { readFlags } from './read-flags.ts';

export type Output = 'table' | 'wide' | 'json' | 'yaml';

/** The arguments after the command's name. */
export interface PluginFlags {
  readonly arguments: readonly string[];
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** The namespace of the operator. */
  readonly namespace: string;
  /** False if the user named no namespace, so that the object may tell it. */
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
  /** Does not contact a cluster. */
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
  port: { type: 'string', default: '0' },
  client: { type: 'boolean' },
} as const;

export type FlagName = keyof typeof options;

/** A command's own shape. */
export interface CommandShape {
  readonly flags: readonly FlagName[];
  readonly outputs: readonly Output[];
  /** The permitted number of positional arguments, and their meaning. */
  readonly arguments: { readonly min: number; readonly max: number; readonly what: string };
}

export const clusterFlagNames = ['kubeconfig', 'context', 'namespace', 'name'] as const;

/**
 * The arguments with the command in front of its flags. The command is the first argument that is neither a flag nor a
 * flag's value.
 */
export function commandFirst(args: readonly string[]): readonly string[] {
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true, allowPositionals: true });
  const at = tokens.find(({ kind }) => kind === 'positional')?.index;
  return at === undefined ? args : [args[at] ?? '', ...args.slice(0, at), ...args.slice(at + 1)];
}

/** HTTP methods with a meaning in kube-apiserver. */
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT'];

/** Reads the flags of one command. It reports all problems at once, each with its cure. */
export function parsePluginFlags(
  args: readonly string[],
  shape: CommandShape,
): { readonly flags: PluginFlags } | { readonly problems: readonly string[] } {
  const given = readFlags(args, options, { takes: ['help', ...shape.flags], takesArguments: true });
  const { problems, help, arguments: positionals } = given;
  const { min, max, what } = shape.arguments;
  if (!help && (positionals.length < min || positionals.length > max))
    problems.push(max === 0 ? `unexpected argument ${JSON.stringify(positionals[0])}; it takes none` : `give ${what}`);
  const wanted = given.text('output') ?? 'table';
  const output = shape.outputs.find((candidate) => candidate === wanted);
  if (output === undefined)
    problems.push(
      `-o ${wanted} is not supported; give one of ${shape.outputs.filter((o) => o !== 'table').join(', ')}`,
    );
  const method = (given.text('method') ?? 'GET').toUpperCase();
  if (!methods.includes(method))
    problems.push(
      `--method ${method} is no HTTP method${didYouMean(method, methods)}; give one of ${methods.join(', ')}`,
    );
  const namespace = given.text('namespace');
  const flags: PluginFlags = {
    arguments: positionals,
    kubeconfig: given.text('kubeconfig'),
    context: given.text('context'),
    namespace: namespace ?? defaultNamespace,
    namespaceGiven: namespace !== undefined,
    name: given.text('name') ?? 'cluster',
    output: output ?? 'table',
    watch: given.isOn('watch'),
    method,
    target: given.list('target'),
    targetVersion: given.text('target-version'),
    auditLogs: given.list('audit-log'),
    metricsFiles: given.list('metrics-file'),
    port: given.number('port', 0, 65_535, 'a port from 1 to 65535, or 0 for a free one'),
    help,
    client: given.isOn('client'),
  };
  return problems.length > 0 ? { problems } : { flags };
}
