#!/usr/bin/env node
import { createReadStream, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { createApiClient } from '../adapters/kubernetes/api-client.ts';
import { loadKubeConfig } from '../adapters/kubernetes/connect-cluster.ts';
import { createPluginCluster } from '../adapters/kubernetes/plugin-cluster.ts';
import { serveDashboard } from '../adapters/kubernetes/serve-dashboard.ts';
import { didYouMean } from '../domain/closest-name.ts';
import { readEnvironment } from '../flags/environment.ts';
import { runMerge } from '../plugin/merge-documents.ts';
import { type PluginContext, PluginError } from '../plugin/ports.ts';
import { commandNames, readCommand, runPlugin } from '../plugin/run-plugin.ts';
import { systemClock } from '../runtime/clock.ts';
import { silentLog } from '../runtime/log.ts';
import { messageOf } from '../runtime/message-of.ts';
import { version } from './version.ts';

const { stdout, stderr } = process;
const environment = readEnvironment(process.env);
const stopped = abortOnSignals();
// A reader that has seen enough, such as `head`, ends the command.
stdout.on('error', () => process.exit(0));

const context: Readonly<PluginContext> = {
  connect({ kubeconfig, context: contextName }) {
    const own = join(environment.home ?? homedir(), '.kube', 'config');
    const { kubeconfigFiles } = environment;
    const fallback = kubeconfigFiles.length === 0 && existsSync(own) ? [own] : kubeconfigFiles;
    try {
      const kubeConfig = loadKubeConfig({
        kubeconfig,
        context: contextName,
        environment: { ...environment, kubeconfigFiles: fallback },
      });
      const userAgent = `kubectl-peerdiscovery/${version}`;
      return createPluginCluster(createApiClient(kubeConfig, { timeoutMs: 15_000, log: silentLog, userAgent }));
    } catch (error) {
      throw new PluginError(messageOf(error), 'give --kubeconfig FILE and --context NAME, or set KUBECONFIG', {
        cause: error,
      });
    }
  },
  readFile: (path) => (path === '-' ? text(process.stdin) : readFile(path, 'utf8')),
  async *readLines(path) {
    try {
      yield* createInterface({ input: path === '-' ? process.stdin : createReadStream(path) });
    } catch (error) {
      const why = messageOf(error);
      throw new PluginError(`${path} cannot be read: ${why}`, 'check the path and its permissions', { cause: error });
    }
  },
  serveDashboard: (read, port) => serveDashboard(read, port, stopped),
  stdout: (output) => void stdout.write(output),
  stderr: (output) => void stderr.write(output),
  color: stdout.isTTY === true && environment.color,
  columns: stdout.isTTY === true ? stdout.columns : undefined,
  version,
  now: () => systemClock.date(),
  signal: stopped,
};

function abortOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  return stop.signal;
}

async function main(args: readonly string[]): Promise<number> {
  const code = await runPlugin(args, context);
  if (code !== undefined) return code;
  const [command = '', ...rest] = readCommand(args);
  if (command === 'merge') return runMerge(rest, context);
  context.stderr(
    `error: unknown command ${JSON.stringify(command)}${didYouMean(command, commandNames)}\n  cure: "kubectl peerdiscovery help" lists them\n`,
  );
  return 2;
}

process.exitCode = await main(process.argv.slice(2));
