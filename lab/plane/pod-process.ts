import type { V1Container, V1Pod } from '@kubernetes/client-node';

/** A Pod's container as a command of this machine: its own mount and network namespaces, user, and read-only root. */
export interface PodProcess {
  readonly command: string;
  readonly args: readonly string[];
}

/** Where the Pod runs. */
export interface PodPlace {
  /** The image's file system. */
  readonly rootfs: string;
  readonly entrypoint: readonly string[];
  /** An empty folder of this Pod's own. */
  readonly folder: string;
  readonly podIp: string;
  readonly hostIp: string;
  /** Of the bridge that Pods are on; a Pod with `hostNetwork` needs none. */
  readonly gateway: string;
  /** Host folder of each volume. */
  readonly volumes: ReadonlyMap<string, string>;
  /** What a kubelet puts into every container's environment. */
  readonly apiServer: { readonly host: string; readonly port: string };
  /** False in a user namespace that has one user only. */
  readonly canChangeUser: boolean;
}

/**
 * The environment of a container with references to fields of its Pod and to earlier variables resolved, as a kubelet
 * does: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
 */
function resolveEnvironment(
  container: V1Container,
  place: Pick<PodPlace, 'podIp' | 'hostIp' | 'apiServer'>,
): Map<string, string> {
  const { podIp, hostIp, apiServer } = place;
  const fields: Readonly<Record<string, string>> = { 'status.podIP': podIp, 'status.hostIP': hostIp };
  const environment = new Map([
    ['PATH', '/usr/bin'],
    ['KUBERNETES_SERVICE_HOST', apiServer.host],
    ['KUBERNETES_SERVICE_PORT', apiServer.port],
  ]);
  for (const { name, value, valueFrom } of container.env ?? []) {
    const fieldPath = valueFrom?.fieldRef?.fieldPath;
    const resolved = fieldPath === undefined ? expand(value ?? '', environment) : fields[fieldPath];
    if (resolved === undefined) throw new Error(`the lab does not know the field ${fieldPath} of a Pod`);
    environment.set(name, resolved);
  }
  return environment;
}

/** Replaces `$(NAME)` where NAME is known, and leaves everything else, as a kubelet does. */
function expand(text: string, environment: ReadonlyMap<string, string>): string {
  return text.replace(/\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g, (whole, name: string) => environment.get(name) ?? whole);
}

/** Name of a Pod's network device on the machine's side. */
export function deviceOf(podIp: string): string {
  return `pod${podIp.replaceAll('.', '').slice(-8)}`;
}

/** The command that runs the only container of an admitted Pod. */
export function podProcess(pod: V1Pod, place: PodPlace): PodProcess {
  const [container, ...more] = pod.spec?.containers ?? [];
  if (container === undefined || more.length > 0) throw new Error('the lab runs Pods of one container');
  const environment = resolveEnvironment(container, place);
  const args = (container.args ?? []).map((arg) => expand(arg, environment));
  const security = { ...pod.spec?.securityContext, ...container.securityContext };
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const root = `${place.folder}/root`;
  const mounts = (container.volumeMounts ?? []).flatMap(({ name, mountPath }) => {
    const source = place.volumes.get(name);
    if (source === undefined) throw new Error(`the Pod has no volume ${name}`);
    // A runtime makes mount points in a layer of the container's own; here the image has them in common.
    const target = quoted(root + mountPath);
    const writable = pod.spec?.volumes?.find((volume) => volume.name === name)?.emptyDir !== undefined;
    return [
      `mkdir -p ${quoted(place.rootfs + mountPath)}`,
      `mount --bind ${quoted(source)} ${target}`,
      ...(writable ? [] : [`mount -o remount,bind,ro ${target}`]),
    ];
  });
  const script = [
    'set -e',
    'mount --make-rprivate /',
    ...mounts.filter((line) => line.startsWith('mkdir')),
    `mkdir -p ${quoted(root)}`,
    `mount --bind ${quoted(place.rootfs)} ${quoted(root)}`,
    ...(security.readOnlyRootFilesystem === true ? [`mount -o remount,bind,ro ${quoted(root)}`] : []),
    `mount --rbind /proc ${quoted(`${root}/proc`)}`,
    `mount --rbind /dev ${quoted(`${root}/dev`)}`,
    ...mounts.filter((line) => line.startsWith('mount')),
    ...(pod.spec?.hostNetwork === true
      ? []
      : [
          'until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done',
          'ip link set lo up',
          `ip address add ${place.podIp}/24 dev eth0`,
          'ip link set eth0 up',
          `ip route add default via ${place.gateway}`,
        ]),
    'exec "$@"',
  ].join('\n');
  const user = place.canChangeUser
    ? [`--userspec=${security.runAsUser ?? 0}:${security.runAsGroup ?? 0}`, `--groups=${security.fsGroup ?? ''}`]
    : [];
  const privileges = security.allowPrivilegeEscalation === false ? ['--no-new-privs'] : [];
  return {
    command: 'unshare',
    args: [
      '--mount',
      ...(pod.spec?.hostNetwork === true ? [] : ['--net']),
      ...['sh', '-c', script, 'sh', 'setpriv', ...privileges, 'env', '-i'],
      ...[...environment].map(([name, value]) => `${name}=${value}`),
      ...['/usr/sbin/chroot', ...user, root, ...place.entrypoint, ...args],
    ],
  };
}
