import { type Commands, complete } from './complete.ts';
import { diffPeers } from './diff-peers.ts';
import { doctor } from './doctor.ts';
import { exitCodes } from './exit-codes.ts';
import { explainRoute } from './explain-route.ts';
import {
  type CommandShape,
  clusterFlagNames,
  type FlagName,
  type PluginFlags,
  parsePluginFlags,
} from './plugin-flags.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { preflight } from './preflight.ts';
import { showDashboard } from './show-dashboard.ts';
import { showStatus } from './show-status.ts';
import { showTable } from './show-table.ts';

interface Command {
  readonly shape: CommandShape;
  readonly usage: string;
  readonly summary: string;
  readonly details: string;
  run(flags: PluginFlags, connect: () => Cluster, context: PluginContext): Promise<number>;
}

const none = { min: 0, max: 0, what: 'no argument' };
const withOutput: readonly FlagName[] = [...clusterFlagNames, 'output'];

const commands: Readonly<Record<string, Command>> = {
  status: {
    shape: { flags: [...withOutput, 'watch'], outputs: ['table', 'wide', 'json', 'yaml'], arguments: none },
    usage: 'status [-o wide|json|yaml] [-w]',
    summary: 'Show the kube-apiservers, how they are, and what they serve differently',
    details: 'Exit code 0 if the PeerDiscovery is Ready, 1 if not. With -w it shows every change until it is stopped.',
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
      'RESOURCE is named as kubectl names it: po, deployments.apps, deployments.v1.apps, pods/exec.\n' +
      'Exit code 0 if it is served, 1 if no server serves it (404), 3 if that is in doubt or nobody can serve it now (503).',
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
      'PEER is a hostname, an id or an address. Saved documents are compared without a cluster, and in every detail.\n' +
      'Exit code 0 if they serve the same, 1 if not.',
    run: diffPeers,
  },
  table: {
    shape: { flags: withOutput, outputs: ['table', 'wide', 'json', 'yaml'], arguments: none },
    usage: 'table [-o wide|json|yaml]',
    summary: 'Show the published routing table, decoded',
    details:
      'Subresources are listed where they are served by others than their resource, with -o wide always.\n' +
      'Exit code 0 if the table is complete, 3 if not.',
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
      "--target is the target version's saved /apis as aggregated discovery; give it again for its /api.\n" +
      '--audit-log is a log of kube-apiserver as JSON lines; "-" is standard input. Without --metrics-file, the metrics\n' +
      'of the API server of the kubeconfig are asked.\n' +
      'Exit code 0 if nothing speaks against the upgrade, 1 if something does.',
    run: (flags, connect, context) => preflight(flags, connect(), context),
  },
  doctor: {
    shape: { flags: withOutput, outputs: ['table', 'json', 'yaml'], arguments: none },
    usage: 'doctor [-o json|yaml]',
    summary: 'Look for what keeps PeerDiscovery from its work: RBAC, certificates, addresses, clocks',
    details:
      'It connects to every server to look at its certificate and clock, and sends no credential.\n' +
      'Exit code 0 if nothing is broken, 1 if something is.',
    run: (flags, connect, context) => doctor(flags, connect(), context),
  },
  dashboard: {
    shape: {
      flags: ['kubeconfig', 'context', 'namespace', 'port'],
      outputs: ['table'],
      arguments: none,
    },
    usage: 'dashboard [--port PORT]',
    summary: "Show the operator's status page in a browser of this machine, until it is stopped",
    details:
      'It prints an address of 127.0.0.1 and passes the page on through the API server, as the user of the kubeconfig.\n' +
      'Your own credential goes to the API server alone; the operator gets a token for the page, made for ten minutes.',
    run: (flags, connect, context) => showDashboard(flags, connect(), context),
  },
};

const offline: Commands = {
  merge: {
    shape: { flags: [], outputs: ['table'], arguments: { min: 0, max: 99, what: '' } },
    summary: 'Merge saved discovery documents as kube-apiserver does',
  },
};

const usage = `Look at a control plane of mixed kube-apiserver versions through PeerDiscovery.

Usage: kubectl peerdiscovery COMMAND

${Object.values(commands)
  .map(({ usage: line, summary }) => `  ${line}\n      ${summary}\n`)
  .join('')}  merge --local ID ID=FILE...
      Merge saved discovery documents as kube-apiserver does
  version
      Print the version

Flags of every command that asks a cluster:
      --kubeconfig FILE   kubeconfig to use (default $KUBECONFIG, else ~/.kube/config)
      --context NAME      context of the kubeconfig
  -n, --namespace NAME    where the operator runs (default peerdiscovery-system)
      --name NAME         the PeerDiscovery to look at (default cluster)
  -h, --help              what a command does

Exit codes: 0 yes, 1 no, 2 wrong usage, 3 nobody can tell (the cluster or a file cannot be read, or it is in doubt).
`;

/** Runs a command of `kubectl peerdiscovery` that this role knows; resolves to its exit code, undefined if it knows none. */
export async function runPlugin(args: readonly string[], context: PluginContext): Promise<number | undefined> {
  const [name, ...rest] = args;
  if (name === '__complete') {
    await completeWords(rest, context);
    return exitCodes.yes;
  }
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
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
    context.stdout(`${summary}.\n\nUsage: kubectl peerdiscovery ${line}\n\n${details}\n`);
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

/** Closes what was connected, and turns what stood in the way into two lines: what, and what to do. */
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
