import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { waitUntil } from '../wait-until.ts';
import { registry } from './build-images.ts';
import type { NodeBuild } from './build-programs.ts';
import type { Remedy } from './cluster-plan.ts';
import type { Machine } from './machine.ts';
import { newApiOf } from './new-api.ts';

const api = 'kubeadm.k8s.io/v1beta4';
const endpoint = 'cluster.test:6443';
// A fixed token is safe: the cluster lives for minutes, in its own namespaces.
const token = 'abcdef.0123456789abcdef';
const certificateKey = '0123456789abcdef'.repeat(4);

/** Everything may take long while other work runs on this machine. */
const timeouts = {
  controlPlaneComponentHealthCheck: '10m',
  kubeletHealthCheck: '10m',
  kubernetesAPICall: '5m',
  etcdAPICall: '5m',
  tlsBootstrap: '10m',
  discovery: '10m',
  upgradeManifests: '10m',
};

/** Checks that fail here but not on a real machine: control groups of version 1, and no kernel modules. */
const ignored = ['SystemVerification'];

/** Sets up the first machine of a control plane. */
export async function initialize(machine: Machine, { version }: NodeBuild): Promise<void> {
  const documents = [
    {
      apiVersion: api,
      kind: 'InitConfiguration',
      localAPIEndpoint: { advertiseAddress: machine.address },
      certificateKey,
      bootstrapTokens: [
        {
          token,
          ttl: '24h0m0s',
          usages: ['signing', 'authentication'],
          groups: ['system:bootstrappers:kubeadm:default-node-token'],
        },
      ],
      nodeRegistration: registrationOf(machine),
      timeouts,
    },
    {
      apiVersion: api,
      kind: 'ClusterConfiguration',
      kubernetesVersion: version,
      controlPlaneEndpoint: endpoint,
      imageRepository: registry,
      networking: { podSubnet: '10.244.0.0/16' },
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      cgroupDriver: 'cgroupfs',
      failCgroupV1: false,
      failSwapOn: false,
      imageGCHighThresholdPercent: 100,
      evictionHard: {
        'nodefs.available': '0%',
        'imagefs.available': '0%',
        'nodefs.inodesFree': '0%',
        'memory.available': '50Mi',
      },
    },
    {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode: 'iptables',
      conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    },
  ];
  await kubeadm(machine, ['init', '--upload-certs'], documents);
}

/** Joins another machine to the control plane. It gets its own etcd member. */
export async function joinControlPlane(machine: Machine): Promise<void> {
  const configuration = {
    apiVersion: api,
    kind: 'JoinConfiguration',
    discovery: { bootstrapToken: { token, apiServerEndpoint: endpoint, unsafeSkipCAVerification: true } },
    controlPlane: { localAPIEndpoint: { advertiseAddress: machine.address }, certificateKey },
    nodeRegistration: registrationOf(machine),
    timeouts,
  };
  await kubeadm(machine, ['join'], [configuration]);
  // From now on, the machine uses its own kube-apiserver to reach the cluster.
  await machine.must(['sed', '-i', `s/.* cluster.test/${machine.address} cluster.test/`, '/etc/hosts']);
}

/** Turns on Kubernetes' own peer proxy. kubeadm sets its other flags, and 1.36 its feature gate. */
const peerProxyFlags = ['--peer-ca-file=/etc/kubernetes/pki/ca.crt'];

/** The part of an upgrade that is the same for all machines. */
export interface Upgrade {
  readonly node: NodeBuild;
  readonly remedy: Remedy;
}

/** Upgrades the control plane of a machine, etcd first, then its kubelet, as kubeadm's documentation says. */
export async function upgradeMachine(machine: Machine, first: boolean, { node, remedy }: Upgrade): Promise<void> {
  const { version, folder } = node;
  machine.use(folder, ['kubeadm']);
  const what = first ? ['apply', version, '--yes'] : ['node'];
  const patches = writePatches(machine, [...newApiOf(version).flags, ...(remedy === 'upstream' ? peerProxyFlags : [])]);
  const flags = [`--ignore-preflight-errors=${ignored.join(',')}`, '--patches', patches];
  await machine.must(['kubeadm', 'upgrade', ...what, ...flags], { log: 'kubeadm.log' });
  machine.use(folder, ['kubelet', 'kubectl']);
  await machine.must(['systemctl', 'restart', 'kubelet']);
}

/** Writes kubeadm's patch that adds flags to kube-apiserver. Returns its folder. */
function writePatches({ folder }: Machine, flags: readonly string[]): string {
  const patches = join(folder, 'patches');
  mkdirSync(patches, { recursive: true });
  const operations = flags.map((value) => ({ op: 'add', path: '/spec/containers/0/command/-', value }));
  writeFileSync(join(patches, 'kube-apiserver0+json.json'), JSON.stringify(operations));
  return patches;
}

/** Resolves when every kube-apiserver has been ready for five rounds and every Node is Ready. */
export async function waitForMachines(machines: readonly Machine[], version: string): Promise<void> {
  const [first] = machines;
  if (first === undefined) return;
  let rounds = 0;
  let last = '';
  const ask = async (args: readonly string[]) => {
    const { code, stdout, stderr } = await first.run(['kubectl', '--request-timeout=3s', ...args]);
    last = stdout + stderr;
    return code === 0 ? stdout : undefined;
  };
  const isGood = async () => {
    for (const { address } of machines)
      if ((await ask(['-s', `https://${address}:6443`, 'get', '--raw', '/readyz'])) === undefined) return false;
    const nodes = ((await ask(['get', 'nodes', '--no-headers'])) ?? '').split('\n');
    return nodes.filter((line) => / Ready /.test(line)).length === machines.length;
  };
  // The static Pods restart once more after a kubelet upgrade.
  await waitUntil(
    `${machines.length} machines with ready servers (${version})`,
    async () => {
      rounds = (await isGood()) ? rounds + 1 : 0;
      return rounds === 5;
    },
    { boundMs: 900_000, everyMs: 1_000, seen: () => last },
  );
}

function registrationOf({ name, address }: Machine) {
  return {
    name,
    criSocket: 'unix:///run/containerd/containerd.sock',
    imagePullPolicy: 'Never',
    taints: [],
    ignorePreflightErrors: ignored,
    kubeletExtraArgs: [{ name: 'node-ip', value: address }],
  };
}

async function kubeadm(machine: Machine, [command = '', ...flags]: readonly string[], documents: readonly object[]) {
  const file = join(machine.folder, 'kubeadm.yaml');
  writeFileSync(file, documents.map((document) => stringify(document)).join('---\n'));
  await machine.must(['kubeadm', command, '--config', file, ...flags], { log: 'kubeadm.log' });
}
