import type { V1Container, V1Pod } from '@kubernetes/client-node';

/**
 * Runs a Pod's container as a command of this machine, with its own mount and network namespaces, user, and read-only
 * root.
 */
export interface PodProcess {
  readonly command: string;
  readonly args: readonly string[];
}

/** The location of the Pod. */
export interface PodPlace {
  /** The image's file system. */
  readonly rootfs: string;
  readonly entrypoint: readonly string[];
  /** An empty folder for this Pod. */
  readonly folder: string;
  readonly podIp: string;
  readonly hostIp: string;
  /** The address of the Pods' bridge. A Pod with `hostNetwork` needs none. */
  readonly gateway: string;
  /** The host folder of each volume. */
  readonly volumes: ReadonlyMap<string, string>;
  /** The API server in the variables that a kubelet sets in every container. */
  readonly apiServer: { readonly host: string; readonly port: string };
  /** False in a user namespace with only one user. */
  readonly canChangeUser: boolean;
}

/**
 * The environment of a container. References to Pod fields and to earlier variables are resolved, as in a kubelet:
 * https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
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

/** Replaces `$(NAME)` if NAME is known, and leaves everything else, as a kubelet does. */
function expand(text: string, environment: ReadonlyMap<string, string>): string {
  return text.replace(/\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g, (whole, name: string) => environment.get(name) ?? whole);
}

/** The name of a Pod's network device on the machine's side. */
export function deviceOf(podIp: string): string {
  return `pod${podIp.replaceAll('.', '').slice(-8)}`;
}

/** The command that runs the single container of an admitted Pod. */
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
    // A runtime creates mount points in the container's own layer. Here, all Pods share those of the image.
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
