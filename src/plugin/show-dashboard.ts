import type { PluginFlags } from '../flags/plugin-flags.ts';
import { exitCodes } from './exit-codes.ts';
import { type Cluster, type PluginContext, PluginError } from './ports.ts';
import { operatorNamespace, readObject } from './read-cluster.ts';

function unlessOther(error: unknown): undefined {
  if (!(error instanceof PluginError)) throw error;
  return undefined;
}

/** `dashboard` shows the operator's status page on this machine until it is stopped. */
export async function showDashboard(flags: PluginFlags, cluster: Cluster, context: PluginContext): Promise<number> {
  // A user with the role for this page may lack the right to read the object.
  const object = flags.namespaceGiven ? undefined : await readObject(cluster, flags).catch(unlessOther);
  const read = cluster.statusPage(operatorNamespace(flags, object));
  // Errors are easier to read here than in a browser.
  await read('');
  const url = await context.serveDashboard(read, flags.port);
  context.stdout(
    `The status page is at ${url}\nOnly this machine can open it, and only with this address. Press ` +
      `Ctrl-C to end it.\n`,
  );
  await new Promise<void>((resolve) => {
    if (context.signal.aborted) resolve();
    else context.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  return exitCodes.yes;
}
