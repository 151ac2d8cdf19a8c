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

/**
 * Installs the overlay `control-plane` as docs/guides/install.md says, with the operator as the issuer of certificates.
 * Resolves when operator and proxies are rolled out and the PeerDiscovery is Ready.
 */
export async function installProduct(machine: Machine): Promise<void> {
  const kubectl = (...args: string[]) => machine.must(['kubectl', ...args], { log: 'install.log' });
  const folder = join(machine.folder, 'deploy');
  mkdirSync(folder);
  const link = join(machine.folder, 'peerdiscovery');
  await machine.must(['ln', '-s', repository, link]);
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
  await kubectl('apply', '--server-side', '-k', join(link, 'crds'));
  await kubectl('wait', '--for=condition=Established', 'crd/peerdiscoveries.peerdiscovery.dev');
  await kubectl('apply', '--server-side', '-k', folder);
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
