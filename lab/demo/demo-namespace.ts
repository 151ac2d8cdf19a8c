import { once } from 'node:events';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import type { Narrator } from './narrator.ts';

/** A ResourceClaim: an object of an API that only the new servers know. */
export function resourceClaim(namespace: string, name: string): object {
  const request = { name: 'gpu', exactly: { deviceClassName: 'gpu.example.com' } };
  return {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaim',
    metadata: { namespace, name },
    spec: { devices: { requests: [request] } },
  };
}

/** The result of deleting a namespace by kube-controller-manager. */
export interface NamespaceDeletion {
  readonly seconds: number;
  /** True if its claim is still stored, although the namespace is gone. */
  readonly leftBehind: boolean;
}

/** Creates a namespace with a ResourceClaim and deletes it. The kube-controller-manager uses `target`. */
export async function deleteNamespaceWithClaim(
  mixed: MixedPlane,
  { target, namespace, witness, narrator }: Record<'target' | 'namespace' | 'witness', string> & { narrator: Narrator },
): Promise<NamespaceDeletion> {
  const { show } = narrator;
  const manager = mixed.startControllerManager(target);
  try {
    await show(mixed, witness, ['create', 'namespace', namespace]);
    const claim = JSON.stringify(resourceClaim(namespace, 'my-gpu'));
    await show(mixed, witness, ['create', '-f', '-'], { input: claim });
    // The ServiceAccount controller starts after the namespace controller, so its first action shows that both run.
    await waitUntil('the controller manager to work', async () => {
      const account = await mixed.kubectl(witness, ['get', 'serviceaccount', 'default', '--namespace', namespace]);
      return account.code === 0;
    });
    const startedAt = Date.now();
    await show(mixed, witness, ['delete', 'namespace', namespace, '--wait=false']);
    await waitUntil('the end of the namespace', async () => {
      const { code, stderr } = await mixed.kubectl(witness, ['get', 'namespace', namespace]);
      return code !== 0 && stderr.includes('NotFound');
    });
    const seconds = (Date.now() - startedAt) / 1000;
    await show(mixed, witness, ['get', 'namespace', namespace]);
    const left = await show(mixed, witness, ['get', 'resourceclaims', '--namespace', namespace]);
    return { seconds, leftBehind: left.stdout.includes('my-gpu') };
  } finally {
    const ended = once(manager, 'exit');
    if (manager.exitCode === null && manager.kill('SIGTERM')) await ended;
  }
}

/** The centre of the story: the harm of a wrong 404 to a namespace, and the same deletion through the proxy. */
export async function tellNamespaceDeletion(mixed: MixedPlane, narrator: Narrator): Promise<void> {
  const { say, chapter, check } = narrator;
  chapter('4. The harm of that 404: a namespace is deleted while kube-controller-manager uses the old server');
  say('   kubeadm points the controller manager of a control-plane node at the server of that node: here the old one.');
  say('   The namespace holds a ResourceClaim, a resource that only the new servers know.\n');
  const before = await deleteNamespaceWithClaim(mixed, {
    target: 'old-1',
    namespace: 'doomed',
    witness: 'new-1',
    narrator,
  });
  check(
    before.leftBehind,
    `the damage: after ${before.seconds.toFixed(1)} s the namespace is gone, but its ResourceClaim is still there; nothing failed`,
  );
  say(
    '   The controller asked the old server what to delete, deleted that, and took the 404 to mean "nothing is left".',
  );

  chapter('5. The same again, but the kubeconfig of kube-controller-manager names the proxy');
  const after = await deleteNamespaceWithClaim(mixed, {
    target: 'proxy',
    namespace: 'saved',
    witness: 'new-1',
    narrator,
  });
  check(
    !after.leftBehind,
    `the namespace and all its objects were deleted in ${after.seconds.toFixed(1)} s; nothing is left behind`,
  );
}
