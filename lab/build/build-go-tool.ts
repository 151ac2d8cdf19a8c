import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, go, hashOf } from './build-control-plane.ts';

/** A program built from Go modules, which `lab/NAME/go.mod` pins. */
export interface GoTool {
  readonly name: string;
  readonly commands: Readonly<Record<string, string>>;
  readonly tags?: string;
  readonly takes: string;
}

const prometheus: GoTool = {
  name: 'prometheus',
  commands: {
    promtool: 'github.com/prometheus/prometheus/cmd/promtool',
    prometheus: 'github.com/prometheus/prometheus/cmd/prometheus',
  },
  // The lab has static targets, and those that the Prometheus Operator finds by Kubernetes.
  tags: 'remove_all_sd enable_kubernetes_sd',
  takes: 'about 2 minutes',
};

const containerd: GoTool = {
  name: 'cluster/containerd',
  commands: {
    'containerd-shim-runc-v2': 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
    ctr: 'github.com/containerd/containerd/v2/cmd/ctr',
    containerd: 'github.com/containerd/containerd/v2/cmd/containerd',
  },
  tags: 'no_btrfs no_devmapper no_zfs no_erofs',
  takes: 'about 5 minutes',
};

/** Resolves to the folder of a real `helm`, which is built once from Go modules and cached. */
export function ensureHelm(log: (message: string) => void): Promise<string> {
  return ensureTool({ name: 'helm', commands: { helm: 'helm.sh/helm/v4/cmd/helm' }, takes: 'about 3 minutes' }, log);
}

/**
 * Resolves to the folder of `h2spec`, which tests an HTTP/2 server with some 150 cases. It is built once and cached.
 */
export function ensureH2spec(log: (message: string) => void): Promise<string> {
  const commands = { h2spec: 'github.com/summerwind/h2spec/cmd/h2spec' };
  return ensureTool({ name: 'h2spec', commands, takes: 'half a minute' }, log);
}

/** Resolves to the folder of `krew`, which installs kubectl plugins. It is built once and cached. */
export function ensureKrew(log: (message: string) => void): Promise<string> {
  return ensureTool({ name: 'krew', commands: { krew: 'sigs.k8s.io/krew/cmd/krew' }, takes: 'half a minute' }, log);
}

/** Resolves to the folder of `prometheus` and `promtool`, which are built once and cached. */
export function ensurePrometheus(log: (message: string) => void): Promise<string> {
  return ensureTool(prometheus, log);
}

/** Resolves to the folder of containerd, its shim and `ctr`, which are built once and cached. */
export function ensureContainerd(log: (message: string) => void): Promise<string> {
  return ensureTool(containerd, log);
}

/** The folder that `ensureContainerd` builds into, whether or not it exists. */
export function containerdFolder(): Promise<string> {
  return folderOf(containerd);
}

/** Resolves to the folder of `coredns`, built likewise. */
export function ensureCoreDns(log: (message: string) => void): Promise<string> {
  const commands = { coredns: '.' };
  return ensureTool({ name: 'cluster/coredns', commands, takes: 'about 3 minutes' }, log);
}

/** Resolves to the folder of `kube-router`, whose firewall enforces NetworkPolicies, built likewise. */
export function ensureKubeRouter(log: (message: string) => void): Promise<string> {
  const commands = { 'kube-router': 'github.com/cloudnativelabs/kube-router/v2/cmd/kube-router' };
  return ensureTool({ name: 'cluster/kube-router', commands, takes: 'about 3 minutes' }, log);
}

/** Resolves to the folder of `client-go`: informers, candidates for a Lease and a manager of controllers. */
export function ensureClientGo(log: (message: string) => void): Promise<string> {
  const commands = { 'client-go': '.' };
  return ensureTool({ name: 'cluster/client-go', commands, takes: 'about a minute' }, log);
}

/** Folder that `ensurePrometheus` builds into, built or not. */
export function prometheusFolder(): Promise<string> {
  return folderOf(prometheus);
}

const moduleOf = ({ name }: GoTool) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const folderOf = async (tool: GoTool) => join(cacheFolder(), tool.name, await hashOf(moduleOf(tool)));

/** Resolves to the folder of the tool's programs, built once into the cache. */
export async function ensureTool(tool: GoTool, log: (message: string) => void): Promise<string> {
  const folder = await folderOf(tool);
  const missing = Object.entries(tool.commands).filter(([name]) => !existsSync(join(folder, name)));
  if (missing.length === 0) return folder;
  log(`building ${tool.name} from Go modules into ${folder} (${tool.takes} the first time)`);
  await mkdir(folder, { recursive: true });
  const tags = tool.tags === undefined ? [] : ['-tags', tool.tags];
  for (const [name, command] of missing) {
    const program = join(folder, name);
    const partial = `${program}.${process.pid}`;
    await go(['build', '-trimpath', '-ldflags', '-s -w', ...tags, '-o', partial, command], moduleOf(tool), log);
    await rename(partial, program);
  }
  return folder;
}
