#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { didYouMean } from '../domain/closest-name.ts';
import { readEnvironment } from '../flags/environment.ts';
import { parseVersionFlags, versionUsage } from '../flags/version-flags.ts';
import { messageOf } from '../runtime/message-of.ts';
import { version } from './version.ts';

const commands = ['operator', 'proxy', 'merge', 'version', 'help'] as const;

const usage = `peerdiscovery makes a control plane of mixed kube-apiserver versions answer as one.

Usage:
  peerdiscovery operator [flags]   watch the kube-apiservers, fill PeerDiscovery status, publish the routing table
  peerdiscovery proxy [flags]      send each request to a kube-apiserver that can serve it
  peerdiscovery merge [flags]      merge saved discovery documents as kube-apiserver does
  peerdiscovery version [-o json]  print the version

"peerdiscovery COMMAND --help" lists the flags of a command, with examples.

Examples:
  peerdiscovery operator --kubeconfig ~/.kube/config --leader-elect false --log-format text
  peerdiscovery version -o json
`;

/** Runs `peerdiscovery version`. */
function printVersion(args: readonly string[]): number {
  const parsed = parseVersionFlags(args);
  if (parsed.kind === 'problems') {
    stderr(parsed.problems.map((problem) => `peerdiscovery version: ${problem}\n`).join(''));
    return 2;
  }
  if (parsed.kind === 'help') stdout(versionUsage);
  else if (parsed.output === 'json') stdout(`${JSON.stringify({ version, node: process.versions.node })}\n`);
  else stdout(`peerdiscovery ${version}\n`);
  return 0;
}

const stdout = (output: string) => void process.stdout.write(output);
const stderr = (output: string) => void process.stderr.write(output);

/** Loads only the chosen command: an operator need not hold the proxy's code in memory, nor the other way round. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case 'operator':
      return (await import('./operator.ts')).runOperator(rest, {
        environment: readEnvironment(process.env),
        stdout,
        stderr,
        signal: terminationSignal(),
      });
    case 'proxy':
      return (await import('./proxy.ts')).runProxy(rest, {
        environment: readEnvironment(process.env),
        stdout,
        stderr,
        signal: terminationSignal(),
      });
    case 'merge':
      return (await import('../plugin/merge-documents.ts')).runMerge(rest, {
        readFile: (path) => (path === '-' ? text(process.stdin) : readFile(path, 'utf8')),
        stdout,
        stderr,
      });
    case 'version':
    case '--version':
      return printVersion(rest);
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      if (command === 'help' && rest[0] !== undefined) return main([rest[0], '--help']);
      stdout(usage);
      return command === undefined ? 2 : 0;
    default:
      stderr(`peerdiscovery: unknown command ${JSON.stringify(command)}${didYouMean(command, commands)}\n\n${usage}`);
      return 2;
  }
}

/** Aborts at the first SIGTERM or SIGINT. A second one ends the process at once. */
function terminationSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(1);
      controller.abort();
    });
  return controller.signal;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  stderr(`peerdiscovery: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
