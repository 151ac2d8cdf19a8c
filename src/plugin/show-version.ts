import { operatorVersionAnnotation } from '../api/operator-version.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { printData } from './print-data.ts';
import { readObject, tableLocation } from './read-cluster.ts';

/**
 * `version` prints the version of this program, and by default those of the operator and the API server. Failures print
 * as unknown.
 */
export async function showVersion(flags: PluginFlags, connect: () => Cluster, context: PluginContext): Promise<number> {
  const both = flags.client ? undefined : await askBoth(flags, connect, context);
  const data = {
    clientVersion: { version: context.version },
    ...(both !== undefined && {
      operatorVersion: { version: both.operator ?? null },
      serverVersion: { gitVersion: both.server ?? null },
    }),
  };
  const lines = [
    `kubectl-peerdiscovery ${context.version}`,
    ...(both?.operator === undefined && both?.server === undefined
      ? []
      : [`operator ${both.operator ?? 'unknown'}`, `kube-apiserver ${both.server ?? 'unknown'}`]),
  ];
  context.stdout(printData(data, flags.output) ?? `${lines.join('\n')}\n`);
  return exitCodes.yes;
}

async function askBoth(flags: PluginFlags, connect: () => Cluster, context: PluginContext) {
  const told = new Set<string>();
  const orUnknown = async (what: string, read: () => Promise<string | undefined>): Promise<string | undefined> => {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      const why = `${error.message}\n  cure: ${error.cure}\n`;
      context.stderr(told.has(why) ? '' : `${what} is unknown: ${why}`);
      told.add(why);
      return undefined;
    }
  };
  return {
    server: await orUnknown('the version of the API server', async () => {
      const version = await connect().get<{ readonly gitVersion?: string }>('/version');
      return version?.gitVersion;
    }),
    operator: await orUnknown('the version of the operator', () => readOperatorVersion(flags, connect())),
  };
}

async function readOperatorVersion(flags: PluginFlags, cluster: Cluster): Promise<string | undefined> {
  const { namespace, name } = tableLocation(await readObject(cluster, flags), flags);
  const lease = await cluster.get<{
    readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  }>(`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`);
  const version = lease?.metadata?.annotations?.[operatorVersionAnnotation];
  if (version !== undefined) return version;
  throw new PluginError(
    `the Lease ${namespace}/${name} does not say it: no operator has confirmed the table, or the operator ` +
      `is older than this plugin`,
    'check that the operator runs: kubectl peerdiscovery doctor',
  );
}
