import {
  type CommandShape,
  clusterFlagNames,
  commandFirst,
  type FlagName,
  type PluginFlags,
  parsePluginFlags,
} from '../flags/plugin-flags.ts';
import { type Commands, complete } from './complete.ts';
import { diffPeers } from './diff-peers.ts';
import { doctor } from './doctor.ts';
import { exitCodes } from './exit-codes.ts';
import { explainRoute } from './explain-route.ts';
import { usualColumns, wrapParagraph } from './format-table.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { preflight } from './preflight.ts';
import { showDashboard } from './show-dashboard.ts';
import { showStatus } from './show-status.ts';
import { showTable } from './show-table.ts';
import { showVersion } from './show-version.ts';

interface Command {
  readonly shape: CommandShape;
  readonly usage: string;
  readonly summary: string;
  readonly details: string;
  /** Command lines after `kubectl peerdiscovery`, each with its purpose. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  run(flags: PluginFlags, connect: () => Cluster, context: PluginContext): Promise<number>;
}

const none = { min: 0, max: 0, what: 'no argument' } as const;
const withOutput: readonly FlagName[] = [...clusterFlagNames, 'output'];

const commands: Readonly<Record<string, Command>> = {
  status: {
    shape: { flags: [...withOutput, 'watch'], outputs: ['table', 'wide', 'json', 'yaml'], arguments: none },
    usage: 'status [-o wide|json|yaml] [-w]',
    summary: 'Show the kube-apiservers, their state, and what they serve differently',
    details:
      'Exit code 0 if the PeerDiscovery is Ready, 1 if not, 3 if that is Unknown. ' +
      'With -w, it prints every change with its time, until you stop it. The output fits the width of the ' +
      'terminal; -o wide has more columns and wraps nothing.',
    examples: [
      ['status', 'the state of the servers'],
      ['status -w', 'every change with its time, during an upgrade'],
      ['status -o json', 'the whole object, for programs'],
    ],
    run: (flags, connect, context) => showStatus(flags, connect(), context),
  },
  explain: {
    shape: {
      flags: [...withOutput, 'method'],
      outputs: ['table', 'json', 'yaml'],
      arguments: {
        min: 1,
        max: 1,
        what: 'one path, such as /apis/apps/v1/deployments, or one resource, such as pods/exec',
      },
    },
    usage: 'explain PATH|RESOURCE [--method GET] [-o json|yaml]',
    summary: 'Show which servers serve something, where a request for it goes, and why',
    details:
      'RESOURCE is named as kubectl names it: po, deployments.apps, deployments.v1.apps, pods/exec. ' +
      'Exit code 0 if it is served, 1 if no server serves it (404), 3 if nobody can serve it now (503), or if it is unknown ' +
      'whether some server serves it.',
    examples: [
      ['explain resourceclaims.v1.resource.k8s.io', 'which servers have it'],
      ['explain pods/exec', 'where a subresource goes'],
      ['explain deployments --method DELETE', 'the same for another method'],
      ['explain /apis/apps/v1/namespaces/default/deployments/web', 'where one request goes'],
    ],
    run: (flags, connect, context) => explainRoute(flags, connect(), context),
  },
  diff: {
    shape: {
      flags: withOutput,
      outputs: ['table', 'json', 'yaml'],
      arguments: { min: 2, max: 2, what: 'two peers, or two saved documents as NAME=FILE' },
    },
    usage: 'diff PEER PEER | NAME=FILE NAME=FILE [-o json|yaml]',
    summary: 'Show what two servers, or two saved discovery documents, serve differently',
    details:
      'PEER is a hostname, an id or an address. Saved documents are compared without a cluster, and in every detail. ' +
      'Exit code 0 if they serve the same, 1 if not, 3 if a peer is not known well enough.',
    examples: [
      ['diff old-1 new-1', 'two servers of this cluster'],
      ['diff before=before.json after=after.json', 'two saved answers of /apis, without a cluster'],
    ],
    run: diffPeers,
  },
  table: {
    shape: { flags: withOutput, outputs: ['table', 'wide', 'json', 'yaml'], arguments: none },
    usage: 'table [-o wide|json|yaml]',
    summary: 'Show the published routing table, decoded',
    details:
      'It lists a subresource if its servers are not those of its resource; -o wide lists all subresources. While ' +
      'servers know different fields, WRITES GO TO names those that know all, and those that stand in for them. ' +
      'Exit code 0 if the table is complete and no server is away, 3 if not.',
    examples: [
      ['table', 'every group, version and resource with its servers'],
      ['table -o wide', 'subresources too'],
    ],
    run: (flags, connect, context) => showTable(flags, connect(), context),
  },
  preflight: {
    shape: {
      flags: [...withOutput, 'target', 'target-version', 'audit-log', 'metrics-file'],
      outputs: ['table', 'json', 'yaml'],
      arguments: none,
    },
    usage: 'preflight [--target FILE]... [--target-version V] [--audit-log FILE]... [--metrics-file FILE]...',
    summary: 'Before an upgrade: is the control plane ready, what will it change, and whom will it hurt',
    details:
      "--target is the target version's saved /apis as aggregated discovery; give it again for its /api. " +
      '--audit-log is a log of kube-apiserver as JSON lines; "-" is standard input. Without --metrics-file, it ' +
      'reads the metrics of the API server of the kubeconfig. Exit code 0 if no check speaks against the upgrade, 1 ' +
      'if one does, 3 if the cluster cannot be read.',
    examples: [
      ['preflight --target-version v1.37.0', 'whether the control plane is ready for it'],
      ['preflight --target apis.json --audit-log audit.log', 'and whom it would hurt'],
    ],
    run: (flags, connect, context) => preflight(flags, connect(), context),
  },
  doctor: {
    shape: { flags: withOutput, outputs: ['table', 'json', 'yaml'], arguments: none },
    usage: 'doctor [-o json|yaml]',
    summary: 'Look for what keeps PeerDiscovery from working: RBAC, certificates, addresses, clocks',
    details:
      'It connects to every server to look at its certificate and clock, and sends no credential for that. ' +
      'It also reads /metrics of servers of the same version, and warns if their feature gates differ. ' +
      'For that it sends the credential of the kubeconfig, but only to a server whose certificate the ' +
      'CA of the kubeconfig verifies. It skips what you may not read, and says so. Exit code 0 if ' +
      'nothing is broken, 1 if something is.',
    examples: [
      ['doctor', 'look at everything'],
      ['doctor -n default', 'of an operator in the namespace default'],
    ],
    run: (flags, connect, context) => doctor(flags, connect(), context),
  },
  dashboard: {
    shape: {
      flags: ['kubeconfig', 'context', 'namespace', 'port'],
      outputs: ['table'],
      arguments: none,
    },
    usage: 'dashboard [--port PORT]',
    summary: "Show the operator's status page in a browser of this machine, until you stop it",
    details:
      'It prints an address of 127.0.0.1, and fetches the page through the API server as the user of the ' +
      'kubeconfig. Your own credential goes only to the API server; the operator gets a token for the ' +
      'page, which is valid for ten minutes.',
    examples: [
      ['dashboard', 'on a free port'],
      ['dashboard --port 8888', 'on this one'],
    ],
    run: (flags, connect, context) => showDashboard(flags, connect(), context),
  },
  version: {
    shape: { flags: [...withOutput, 'client'], outputs: ['table', 'json', 'yaml'], arguments: none },
    usage: 'version [--client] [-o json|yaml]',
    summary: 'Print the versions of this plugin, of the operator, and of the API server',
    details:
      'The operator reports its version with each confirmation of the routing table. A version that cannot ' +
      'be read is unknown, and standard error says why. Exit code 0.',
    examples: [
      ['version', 'both sides'],
      ['version --client -o json', 'this plugin alone, without a cluster'],
    ],
    run: showVersion,
  },
};

const offline: Readonly<Commands> = {
  merge: {
    shape: { flags: [], outputs: ['table'], arguments: { min: 0, max: 99, what: '' } },
    summary: 'Merge saved discovery documents as kube-apiserver does',
  },
};

/** All commands, including `merge`, which runs elsewhere. */
export const commandNames: readonly string[] = [...Object.keys(commands), ...Object.keys(offline), 'help'];

/** A synopsis. Flags that do not fit into 80 columns continue on the next line. */
function wrapUsage(before: string, synopsis: string): string {
  const lines = [before];
  for (const word of synopsis.split(/ (?=\[)/)) {
    const last = lines.at(-1) ?? '';
    const longer = lines.length === 1 && last === before ? `${last}${word}` : `${last} ${word}`;
    if (longer.length > usualColumns) lines.push(`${' '.repeat(before.length)}  ${word}`);
    else lines[lines.length - 1] = longer;
  }
  return `${lines.join('\n')}\n`;
}

const usage = `Look at a control plane of mixed kube-apiserver versions through PeerDiscovery.

Usage: kubectl peerdiscovery COMMAND [flags]

${Object.values(commands)
  .map(({ usage: line, summary }) => `${wrapUsage('  ', line)}${wrapParagraph(summary, '      ')}`)
  .join('')}  merge --local ID ID=FILE...
      Merge saved discovery documents as kube-apiserver does
  help [COMMAND]
      What a command does, with examples

Flags of every command that asks a cluster:
      --kubeconfig FILE  kubeconfig to use (default $KUBECONFIG, else
                         ~/.kube/config)
      --context NAME     context of the kubeconfig
  -n, --namespace NAME   where the operator runs (default: where the table is,
                         else peerdiscovery-system)
      --name NAME        the PeerDiscovery to look at (default cluster)
  -h, --help             what a command does

Examples:
  kubectl peerdiscovery status
  kubectl peerdiscovery explain resourceclaims.v1.resource.k8s.io
  kubectl peerdiscovery doctor

Exit codes: 0 yes, 1 no, 2 wrong usage, 3 nobody can tell (the cluster or a
file cannot be read, or it is in doubt).
`;

/** The command line as `COMMAND ...`: flags may stand before the command, and `help COMMAND` is `COMMAND --help`. */
export function readCommand(args: readonly string[]): readonly string[] {
  const ordered = commandFirst(args);
  const [name, about] = ordered;
  if (name === '--version') return ['version', '--client'];
  if (name !== 'help') return ordered;
  return about === undefined || about === 'help' ? ['--help'] : [about, '--help'];
}

/** Runs a command of `kubectl peerdiscovery`. Resolves to its exit code, or undefined if the command is unknown. */
export async function runPlugin(args: readonly string[], context: PluginContext): Promise<number | undefined> {
  if (args[0] === '__complete') {
    await completeWords(args.slice(1), context);
    return exitCodes.yes;
  }
  const [name, ...rest] = readCommand(args);
  if (name === undefined || name === '--help' || name === '-h') {
    context.stdout(usage);
    return name === undefined ? exitCodes.usage : exitCodes.yes;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) return undefined;
  const parsed = parsePluginFlags(rest, command.shape);
  if ('problems' in parsed) {
    for (const problem of parsed.problems) context.stderr(`error: ${problem}\n`);
    context.stderr(`See "kubectl peerdiscovery ${name} --help".\n`);
    return exitCodes.usage;
  }
  const { flags } = parsed;
  if (flags.help) {
    const { summary, details, usage: line } = command;
    const examples = command.examples.map(([example, what]) => `  # ${what}\n  kubectl peerdiscovery ${example}\n`);
    context.stdout(
      `${wrapParagraph(`${summary}.`)}\n${wrapUsage('Usage: kubectl peerdiscovery ', line)}\n${wrapParagraph(details)}\nExamples:\n${examples.join('')}`,
    );
    return exitCodes.yes;
  }
  return withClusters(context, flags, (connect) => command.run(flags, connect, context));
}

async function completeWords(words: readonly string[], context: PluginContext): Promise<void> {
  const opened: Cluster[] = [];
  const connect: Parameters<typeof complete>[2] = (flags) => {
    const cluster = context.connect(flags);
    opened.push(cluster);
    return cluster;
  };
  await complete(words, { ...commands, ...offline }, connect, context);
  await Promise.all(opened.map((cluster) => cluster.close()));
}

/** Closes all connections, and prints an error as two lines: the problem and the cure. */
async function withClusters(
  context: PluginContext,
  { kubeconfig, context: contextName }: PluginFlags,
  work: (connect: () => Cluster) => Promise<number>,
): Promise<number> {
  let cluster: Cluster | undefined;
  try {
    return await work(() => {
      cluster ??= context.connect({ kubeconfig, context: contextName });
      return cluster;
    });
  } catch (error) {
    if (context.signal.aborted) return exitCodes.yes;
    if (!(error instanceof PluginError)) throw error;
    context.stderr(`error: ${error.message}\n  cure: ${error.cure}\n`);
    return exitCodes.unknown;
  } finally {
    await cluster?.close();
  }
}
