import { apiVersion, type PeerDiscovery, plural } from '../api/peer-discovery.ts';
import { defaultTableName } from '../api/table-name.ts';
import { didYouMean } from '../domain/closest-name.ts';
import { documentationUrl } from '../domain/documentation-url.ts';
import type { RoutingBundle } from '../domain/routing-table.ts';
import type { PluginFlags } from '../flags/plugin-flags.ts';
import { type Cluster, PluginError } from './ports.ts';

/** Reads the PeerDiscovery that the flags name. */
export async function readObject(cluster: Cluster, { name }: Pick<PluginFlags, 'name'>): Promise<PeerDiscovery> {
  const object = await cluster.get<PeerDiscovery>(`/apis/${apiVersion}/${plural}/${name}`);
  if (object !== undefined) return object;
  throw new PluginError(
    `there is no PeerDiscovery ${JSON.stringify(name)} at ${cluster.serverUrl}${didYouMean(name, await namesOfObjects(cluster))}`,
    `name another with --name; "kubectl get peerdiscovery" lists them. Without any, create one: ${documentationUrl('guides/install.md')}`,
  );
}

/** The names of other PeerDiscovery objects, as far as this user may read them. */
async function namesOfObjects(cluster: Cluster): Promise<readonly string[]> {
  try {
    const objects = await cluster.list<PeerDiscovery>(`/apis/${apiVersion}/${plural}`);
    return objects.map(({ metadata }) => metadata.name);
  } catch {
    return [];
  }
}

/**
 * The operator's namespace: that of the flags, else the one where it publishes a table without an explicit namespace.
 */
export function operatorNamespace(
  flags: Pick<PluginFlags, 'namespace' | 'namespaceGiven'>,
  object: PeerDiscovery | undefined,
): string {
  if (flags.namespaceGiven || object?.spec?.routingTable?.namespace !== undefined) return flags.namespace;
  return object?.status?.routingTable?.namespace ?? flags.namespace;
}

/** The location of a PeerDiscovery's routing table. */
export function tableLocation(object: PeerDiscovery, flags: Pick<PluginFlags, 'namespace' | 'name'>) {
  return (
    object.status?.routingTable ?? {
      namespace: object.spec?.routingTable?.namespace ?? flags.namespace,
      name: object.spec?.routingTable?.name ?? defaultTableName(flags.name),
    }
  );
}

/** Reads the published bundle, complete and validated. */
export async function readPublished(
  cluster: Cluster,
  flags: Pick<PluginFlags, 'namespace' | 'name'>,
): Promise<{ readonly object: PeerDiscovery; readonly bundle: RoutingBundle }> {
  const object = await readObject(cluster, flags);
  const location = tableLocation(object, flags);
  const read = await cluster.readBundle(location);
  if (read.ok) return { object, bundle: read.bundle };
  throw new PluginError(
    `the routing table ${location.namespace}/${location.name} cannot be used: ${read.reason}`,
    'check that the operator runs ("kubectl peerdiscovery doctor"); it publishes the table within seconds',
  );
}

/** The age of the operator's last confirmation of the table; undefined if there is none. */
export async function confirmationAgeMs(
  cluster: Cluster,
  location: { readonly namespace: string; readonly name: string },
  now: number,
): Promise<number | undefined> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${location.namespace}/leases/${location.name}`;
  const lease = await cluster.get<{
    readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
    readonly spec?: { readonly renewTime?: string };
  }>(path);
  // A Lease of other software with this name confirms nothing.
  if (lease?.metadata?.annotations?.['peerdiscovery.dev/revision'] === undefined) return undefined;
  const at = Date.parse(lease?.spec?.renewTime ?? '');
  return Number.isNaN(at) ? undefined : Math.max(0, now - at);
}
