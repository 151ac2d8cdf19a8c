import { waitUntil } from '../wait-until.ts';
import { runGuide } from './guide-steps.ts';
import {
  applyInstallation,
  deployFolderOf,
  pointControllerManager,
  pointControllerManagerBack,
} from './install-product.ts';
import type { Off, Outcome } from './life.ts';
import type { LifeCluster } from './life-cluster.ts';
import { waysOf } from './load.ts';
import type { Machine } from './machine.ts';

/** All kinds of objects that an installation creates or causes; in all namespaces. */
const kinds = [
  'namespaces',
  'customresourcedefinitions',
  'clusterroles',
  'clusterrolebindings',
  'roles',
  'rolebindings',
  'serviceaccounts',
  'services',
  'configmaps',
  'secrets',
  'leases',
  'deployments',
  'daemonsets',
  'networkpolicies',
  'poddisruptionbudgets',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'validatingwebhookconfigurations',
  'pods',
];
/** The namespace that is created and deleted while there is no PeerDiscovery. */
const namespace = 'without-peerdiscovery';

/** Removes this project while clients use the servers, and installs it again. Whatever it leaves is a problem. */
export async function removeProduct({ machines, load }: LifeCluster): Promise<Outcome> {
  const [first] = machines;
  for (const machine of machines) await pointControllerManager(machine);
  await waitForController(first, 'kube-controller-manager deletes a namespace over a proxy');
  for (const machine of machines) await pointControllerManagerBack(machine);
  const from = Date.now();
  await runGuide(first, 'rollback-uninstall.md', 'kubectl delete -k .', deployFolderOf(first));
  const left = leftovers(await first.must(['kubectl', 'get', kinds.join(','), '-A', '-o', 'name']));
  await waitForController(first, 'kube-controller-manager deletes a namespace without proxies');
  await applyInstallation(first);
  // The new operator has a CA of its own.
  await load.renew(first);
  const to = Date.now();
  return {
    offs: waysOf(machines)
      .filter(({ proxied }) => proxied)
      .map(({ name }): Off => ({ way: name, from, to, excuses: 'all' })),
    problems: left.map((name) => `the removal left ${name}`),
    notes: [`Removal and installation took ${((to - from) / 1_000).toFixed(0)} s together.`],
  };
}

/** The objects of this project in a list of names as `kubectl get -o name` prints it. */
export function leftovers(names: string): readonly string[] {
  return names.split('\n').filter((name) => name.includes('peerdiscovery') && !name.endsWith(`/${namespace}`));
}

/** Resolves when a namespace with an object was created and deleted. Only kube-controller-manager can do that. */
async function waitForController(machine: Machine, what: string): Promise<void> {
  await machine.must(['kubectl', 'create', 'namespace', namespace]);
  await machine.must(['kubectl', 'create', 'configmap', 'kept', '-n', namespace]);
  await machine.must(['kubectl', 'delete', 'namespace', namespace, '--wait=false']);
  const isGone = async () => {
    const { code, stderr } = await machine.run(['kubectl', 'get', 'namespace', namespace]);
    return code !== 0 && stderr.includes('NotFound');
  };
  await waitUntil(what, isGone, { boundMs: 180_000, everyMs: 1_000 });
}
