import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../repository.ts';
import { waitUntil } from '../wait-until.ts';
import { runGuide } from './guide-steps.ts';
import type { Machine } from './machine.ts';

/** Loads an archive of images into the machine's containerd. */
export async function loadImages(machine: Machine, archives: readonly string[]): Promise<void> {
  for (const archive of archives) await machine.must(['ctr', 'images', 'import', archive]);
}

/** The folder of a machine with the kustomization that installs this project. */
export const deployFolderOf = (machine: Machine): string => join(machine.folder, 'deploy');

/** The folder of this project as a machine sees it. */
const linkOf = (machine: Machine) => join(machine.folder, 'peerdiscovery');

/** Installs the overlay `control-plane`, with the operator as the issuer of certificates. Resolves when it is Ready. */
export async function installProduct(machine: Machine): Promise<void> {
  const folder = deployFolderOf(machine);
  mkdirSync(folder);
  await machine.must(['ln', '-s', repository, linkOf(machine)]);
  writeFileSync(
    join(folder, 'kustomization.yaml'),
    [
      'apiVersion: kustomize.config.k8s.io/v1beta1',
      'kind: Kustomization',
      'resources: [../peerdiscovery/config/overlays/control-plane]',
      'components:',
      '  - ../peerdiscovery/config/components/self-issued',
      '  - ../peerdiscovery/config/components/self-issued/front-proxy',
      '',
    ].join('\n'),
  );
  await applyInstallation(machine);
}

/**
 * Applies what `installProduct` prepared, as docs/guides/install.md says. Resolves when operator and proxies are rolled
 * out and the PeerDiscovery is Ready.
 */
export async function applyInstallation(machine: Machine): Promise<void> {
  const kubectl = (...args: string[]) => machine.must(['kubectl', ...args], { log: 'install.log' });
  await kubectl('apply', '--server-side', '-k', join(linkOf(machine), 'crds'));
  const definition = 'crd/peerdiscoveries.peerdiscovery.dev';
  await kubectl('wait', '--for=jsonpath={.status.acceptedNames.kind}=PeerDiscovery', definition);
  await kubectl('wait', '--for=condition=Established', definition);
  await kubectl('apply', '--server-side', '-k', deployFolderOf(machine));
  const pki = '/etc/kubernetes/pki/front-proxy-client';
  const secret = ['secret', 'tls', 'peerdiscovery-front-proxy-client', '-n', 'peerdiscovery-front-proxy'];
  await kubectl('create', ...secret, `--cert=${pki}.crt`, `--key=${pki}.key`);
  const rollout = (namespace: string, what: string) =>
    kubectl('-n', namespace, 'rollout', 'status', what, '--timeout=5m');
  await rollout('peerdiscovery-system', 'deployment/peerdiscovery-operator');
  await rollout('peerdiscovery-front-proxy', 'daemonset/peerdiscovery-front-proxy');
  await waitUntil(
    'a PeerDiscovery that is Ready',
    async () =>
      (await machine.run(['kubectl', 'wait', '--for=condition=Ready', 'peerdiscovery/cluster', '--timeout=5s']))
        .code === 0,
  );
}

/**
 * Lets the machine's kube-controller-manager use its proxy, as docs/guides/clients.md says. Run it again after `kubeadm
 * upgrade`, which writes only the cluster's CA into the kubeconfig.
 */
export async function pointControllerManager(machine: Machine): Promise<void> {
  await runGuide(machine, 'clients.md', '--certificate-authority=/root/both.crt');
  await runGuide(machine, 'clients.md', 'crictl stop');
}

/** Points it back at the machine's kube-apiserver, as the same guide says. */
export async function pointControllerManagerBack(machine: Machine): Promise<void> {
  await runGuide(machine, 'clients.md', '# Back to the kube-apiserver of this node');
}
