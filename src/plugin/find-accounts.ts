import { type Cluster, PluginError } from './ports.ts';

/** A ServiceAccount as `namespace:name`. */
export interface Account {
  readonly name: string;
  /** True if a Pod uses it; false if it is the manifests' default. */
  readonly found: boolean;
}

interface Pod {
  readonly metadata?: { readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: { readonly serviceAccountName?: string };
}

/** The labels of the Pods. Proxies on control-plane nodes have their own label and account. */
const labels: Readonly<Record<'operator' | 'proxy', readonly string[]>> = {
  operator: ['operator'],
  proxy: ['proxy', 'front-proxy'],
};

/**
 * Finds the accounts that Pods of a component use, however they were installed.
 *
 * Looks for an operator in its namespace, and for proxies in all namespaces, as far as this user may list Pods.
 */
export async function findAccounts(
  cluster: Cluster,
  component: 'operator' | 'proxy',
  namespace: string,
): Promise<readonly Account[]> {
  const own = `/api/v1/namespaces/${namespace}/pods`;
  const paths = component === 'operator' ? [own] : ['/api/v1/pods', own];
  const pods = (await firstAllowed(cluster, paths)).filter(({ metadata }) =>
    labels[component].includes(metadata?.labels?.['app.kubernetes.io/component'] ?? ''),
  );
  const names = new Set(
    pods.map(({ metadata, spec }) => `${metadata?.namespace ?? namespace}:${spec?.serviceAccountName ?? 'default'}`),
  );
  if (names.size === 0) return [{ name: `${namespace}:peerdiscovery-${component}`, found: false }];
  return [...names].sort().map((name) => ({ name, found: true }));
}

async function firstAllowed(cluster: Cluster, paths: readonly string[]): Promise<readonly Pod[]> {
  for (const path of paths)
    try {
      return await cluster.list<Pod>(path, 'app.kubernetes.io/name=peerdiscovery');
    } catch (error) {
      if (!(error instanceof PluginError) || !error.refused) throw error;
    }
  return [];
}
