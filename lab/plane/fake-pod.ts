import type { MixedPlane } from './mixed-plane.ts';

const kubeletAddress = '10.77.0.38';

/**
 * Creates Pod `web` on a Node with the lab's kubelet. The kubelet streams, and runs the Pod's commands on this machine.
 */
export async function startFakePod(mixed: MixedPlane): Promise<void> {
  const must = async (args: readonly string[], input?: object) => {
    const { code, stderr } = await mixed.kubectl('old-1', args, input && JSON.stringify(input));
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}`);
  };
  const { cert, key } = mixed.plane.issueServingCert('kubelet', ['worker'], [kubeletAddress]);
  const tls = ['--tls-cert-file', cert, '--tls-private-key-file', key];
  mixed.plane.spawn('fake-kubelet', ['--address', `${kubeletAddress}:10250`, ...tls], { name: 'kubelet' });
  await must(['create', '-f', '-'], { apiVersion: 'v1', kind: 'Node', metadata: { name: 'worker' } });
  const node = {
    status: {
      addresses: [{ type: 'InternalIP', address: kubeletAddress }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    },
  };
  await must(['patch', 'node', 'worker', '--subresource=status', '--type=merge', '-p', JSON.stringify(node)]);
  await must(['create', 'serviceaccount', 'default']);
  const spec = {
    nodeName: 'worker',
    automountServiceAccountToken: false,
    containers: [{ name: 'main', image: 'none' }],
  };
  await must(['create', '-f', '-'], { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec });
  const state = { running: { startedAt: '2026-01-01T00:00:00Z' } };
  const status = { name: 'main', ready: true, restartCount: 0, image: 'none', imageID: '', state };
  const running = { status: { phase: 'Running', containerStatuses: [status] } };
  await must(['patch', 'pod', 'web', '--subresource=status', '--type=merge', '-p', JSON.stringify(running)]);
}
