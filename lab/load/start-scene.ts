import { startProxyScene } from '../attack/start-scene.ts';
import { inspectedBy } from '../chaos/inspect-process.ts';
import { startFakePod } from '../plane/fake-pod.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { idleNamespace } from './idle-watches.ts';
import { loadNamespace, mapCount } from './mixed-load.ts';
import { largeNamespace } from './slow-readers.ts';

/** The port of the proxy's inspector. */
export const inspectorPort = 9_311;
const largeMaps = 12;
const largeBytes = 500_000;

/** Starts two real servers, a kubelet, an operator and a proxy with its default flags, and fills the namespaces. */
export async function startLoadScene(log: (message: string) => void) {
  const scene = await startProxyScene(log, { by: inspectedBy(inspectorPort) });
  await startFakePod(scene.mixed);
  await fill(scene.mixed);
  return scene;
}

async function fill(mixed: MixedPlane): Promise<void> {
  const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  const map = (at: number, within: string, data: string) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `map-${at}`, namespace: within },
    data: { at: data },
  });
  const times = (count: number, within: string, data: string) =>
    Array.from({ length: count }, (_, at) => map(at, within, data));
  const rbac = 'rbac.authorization.k8s.io';
  const items = [
    ...[loadNamespace, idleNamespace, largeNamespace].map(namespace),
    ...times(mapCount, loadNamespace, 'x'.repeat(2_000)),
    ...times(1, idleNamespace, ''),
    ...times(largeMaps, largeNamespace, 'x'.repeat(largeBytes)),
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: 'load-reader' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'watch'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'load-reader' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'load-reader' },
      subjects: [{ apiGroup: rbac, kind: 'User', name: 'reader' }],
    },
    { apiVersion: 'resource.k8s.io/v1', kind: 'DeviceClass', metadata: { name: 'load' }, spec: {} },
  ];
  for (const item of items) {
    const { code, stderr } = await mixed.kubectl('new-1', ['create', '-f', '-'], JSON.stringify(item));
    if (code !== 0) throw new Error(stderr);
  }
}
