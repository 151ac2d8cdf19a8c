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

/** The Kubernetes minors that machines can run, each the successor of the one before. */
export const nodeMinors = ['1.33', '1.34', '1.35', '1.36', '1.37'] as const;

/** One of `nodeMinors`. */
export type NodeMinor = (typeof nodeMinors)[number];

/** All minors from one to another, in order; none if one of them is unknown or the second is not the later one. */
export function minorsBetween(from: string, to: string): readonly NodeMinor[] {
  const known: readonly string[] = nodeMinors;
  return known.includes(from) ? nodeMinors.slice(known.indexOf(from), known.indexOf(to) + 1) : [];
}

/** All programs that a cluster runs besides this project. */
export interface Programs {
  readonly containerd: string;
  readonly coredns: string;
  /** The programs of each wanted minor. */
  readonly nodes: readonly NodeBuild[];
}

/** The folders of the programs that clients of the cluster run. */
export interface ClientPrograms {
  readonly kubectl: string;
  readonly helm: string;
  /** The program of `lab/cluster/client-go`. */
  readonly clientGo: string;
}

type Log = (message: string) => void;

const module = fileURLToPath(new URL('node', import.meta.url));

/** Resolves to the folders of all programs, with these minors of Kubernetes. Each is built once and cached. */
export async function ensurePrograms(minors: readonly NodeMinor[], log: Log): Promise<Programs> {
  const containerd = await ensureContainerd(log);
  const nodes: NodeBuild[] = [];
  for (const minor of minors) nodes.push(await buildNode(minor, log));
  return { containerd, coredns: await ensureCoreDns(log), nodes };
}

/** Resolves to the folders of the programs that clients run, built and cached likewise. */
export async function ensureClientPrograms(log: Log): Promise<ClientPrograms> {
  const kubectl = await buildClients('0.36', log);
  return { kubectl, helm: await ensureHelm(log), clientGo: await ensureClientGo(log) };
}

async function buildNode(minor: NodeMinor, log: Log): Promise<NodeBuild> {
  const modfile = `v${minor}.mod`;
  const version = kubernetesVersion(await readFile(join(module, modfile), 'utf8'));
  // A version that is added rebuilds no other.
  const sources = ['main.go', 'go.mod', modfile, `v${minor}.sum`];
  const folder = join(cacheFolder(), 'cluster', 'node', `${minor}-${await hashOf(module, sources)}`);
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

if (import.meta.main) {
  const wanted = nodeMinors.filter((minor) => process.argv.includes(minor));
  await ensurePrograms(wanted, (message) => void process.stderr.write(`${message}\n`));
}
