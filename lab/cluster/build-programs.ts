import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildClients } from '../build/build-clients.ts';
import { cacheFolder, go, hashOf, kubernetesVersion, versionFlags } from '../build/build-control-plane.ts';
import { ensureClientGo, ensureContainerd, ensureCoreDns, ensureHelm } from '../build/build-go-tool.ts';

/** The programs in Kubernetes' single binary. The link for `kubectl` comes last, because it marks a complete folder. */
export const nodePrograms = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'kubelet',
  'kubeadm',
  'kubectl',
] as const;

/** The programs of one Kubernetes version. */
export interface NodeBuild {
  /** The version as kubeadm takes it: `v1.36.3`. */
  readonly version: string;
  /** Folder in which each of `nodePrograms` is a link to `node`. */
  readonly folder: string;
}

/** All programs that a cluster runs besides this project. */
export interface Programs {
  readonly containerd: string;
  readonly coredns: string;
  readonly nodes: Readonly<Record<NodeMinor, NodeBuild>>;
}

/** The folders of the programs that clients of the cluster run. */
export interface ClientPrograms {
  readonly kubectl: string;
  readonly helm: string;
  /** The program of `lab/cluster/client-go`. */
  readonly clientGo: string;
}

/** The Kubernetes minors that machines can run. */
type NodeMinor = '1.36' | '1.35';

type Log = (message: string) => void;

const module = fileURLToPath(new URL('node', import.meta.url));

/** Resolves to the folders of all programs. Each is built once from Go modules and cached. */
export async function ensurePrograms(log: Log): Promise<Programs> {
  const containerd = await ensureContainerd(log);
  const old = await buildNode('1.35', log);
  const next = await buildNode('1.36', log);
  return { containerd, coredns: await ensureCoreDns(log), nodes: { '1.35': old, '1.36': next } };
}

/** Resolves to the folders of the programs that clients run, built and cached likewise. */
export async function ensureClientPrograms(log: Log): Promise<ClientPrograms> {
  const kubectl = await buildClients('0.36', log);
  return { kubectl, helm: await ensureHelm(log), clientGo: await ensureClientGo(log) };
}

async function buildNode(minor: NodeMinor, log: Log): Promise<NodeBuild> {
  const modfile = `v${minor}.mod`;
  const version = kubernetesVersion(await readFile(join(module, modfile), 'utf8'));
  const folder = join(cacheFolder(), 'cluster', 'node', `${minor}-${await hashOf(module)}`);
  const built = { version: `v${version}`, folder };
  if (existsSync(join(folder, 'kubectl'))) return built;
  log(`building all of Kubernetes v${version} from Go modules into ${folder} (about 10 minutes the first time)`);
  const partial = `${folder}.${process.pid}`;
  await mkdir(partial, { recursive: true });
  const output = join(partial, 'node');
  const flags = `-s -w ${versionFlags(version)} -X k8s.io/component-base/version.gitTreeState=clean`;
  await go(['build', '-trimpath', '-ldflags', flags, `-modfile=${modfile}`, '-o', output, '.'], module, log);
  for (const program of nodePrograms) await symlink('node', join(partial, program));
  await rename(partial, folder).catch(async (error: unknown) => {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(join(folder, 'kubectl'))) throw error;
  });
  return built;
}

if (import.meta.main) await ensurePrograms((message) => void process.stderr.write(`${message}\n`));
