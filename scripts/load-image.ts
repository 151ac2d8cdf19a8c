import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { runCommand } from './run-command.ts';

/** What a command prints, or undefined if it fails. */
export type Reads = (command: readonly string[]) => string | undefined;

/** A program that runs local clusters, and how it gives their nodes an image from an archive. */
export interface ImageLoader {
  readonly name: 'kind' | 'k3d' | 'minikube' | 'k3s' | 'containerd';
  /** The command that prints its clusters. It fails or prints none if there is none. */
  readonly list: readonly string[];
  /** Names of the clusters in what `list` prints. */
  readonly read: (printed: string) => readonly string[];
  /** The name of this cluster in the kubeconfig that the program writes. */
  readonly contextOf: (cluster: string) => string | undefined;
  readonly load: (archive: string, cluster: string) => readonly string[];
}

/** The chosen local cluster. */
export interface LocalCluster {
  readonly loader: ImageLoader;
  readonly cluster: string;
}

/** For programs with a single cluster, on their own machine. */
const thisMachine = () => ['here'];
const importBy = (ctr: readonly string[]) => (archive: string) => [
  ...ctr,
  '--namespace',
  'k8s.io',
  'images',
  'import',
  archive,
];

/** In the order in which they are tried. */
export const imageLoaders: readonly ImageLoader[] = [
  {
    name: 'kind',
    list: ['kind', 'get', 'clusters'],
    read: firstWords,
    contextOf: (cluster) => `kind-${cluster}`,
    load: (archive, cluster) => ['kind', 'load', 'image-archive', archive, '--name', cluster],
  },
  {
    name: 'k3d',
    list: ['k3d', 'cluster', 'list', '--no-headers'],
    read: firstWords,
    contextOf: (cluster) => `k3d-${cluster}`,
    load: (archive, cluster) => ['k3d', 'image', 'import', archive, '--cluster', cluster],
  },
  {
    name: 'minikube',
    list: ['minikube', 'profile', 'list', '--light', '--output', 'json'],
    read: minikubeProfiles,
    contextOf: (cluster) => cluster,
    load: (archive, cluster) => ['minikube', 'image', 'load', archive, '--profile', cluster],
  },
  {
    name: 'k3s',
    list: ['k3s', 'ctr', 'version'],
    read: thisMachine,
    contextOf: () => 'default',
    load: importBy(['k3s', 'ctr']),
  },
  {
    name: 'containerd',
    list: ['ctr', 'version'],
    read: thisMachine,
    contextOf: () => undefined,
    load: importBy(['ctr']),
  },
];

function firstWords(printed: string): readonly string[] {
  return printed.split('\n').flatMap((line) => line.trim().split(/\s+/).slice(0, 1).filter(Boolean));
}

function minikubeProfiles(printed: string): readonly string[] {
  const { valid } = JSON.parse(printed) as { readonly valid?: readonly { readonly Name: string }[] | null };
  return (valid ?? []).map(({ Name }) => Name);
}

const names = imageLoaders.map(({ name }) => name).join(', ');

/**
 * The local cluster to load into. Throws with the cure if there is none, or if the choice is unclear.
 *
 * It is the wanted one (`kind`, or `kind/NAME`), else that of kubectl's context, else the first one found.
 */
export function chooseCluster(wanted: string | undefined, context: string | undefined, reads: Reads): LocalCluster {
  const [program, named] = splitOnce(wanted ?? '');
  const loaders = imageLoaders.filter(({ name }) => wanted === undefined || name === program);
  if (loaders.length === 0) throw new Error(`CLUSTER=${wanted} is not known: choose one of ${names}`);
  const found = loaders.flatMap((loader) => findClusters(loader, reads));
  const chosen =
    found.find(({ cluster }) => cluster === named) ??
    (named === undefined && context !== undefined
      ? found.find(({ loader, cluster }) => loader.contextOf(cluster) === context)
      : undefined);
  if (chosen !== undefined) return chosen;
  const [first] = found;
  if (first === undefined) throw new Error(adviseNone(wanted));
  const siblings = found.filter(({ loader }) => loader === first.loader).map(({ cluster }) => cluster);
  if (named !== undefined)
    throw new Error(`${program} has no cluster ${named} here: CLUSTER=${program}/NAME takes ${siblings.join(', ')}`);
  if (siblings.length === 1) return first;
  const example = `CLUSTER=${first.loader.name}/${siblings[0]}`;
  throw new Error(`${first.loader.name} has several clusters (${siblings.join(', ')}): name one, as in ${example}`);
}

function splitOnce(wanted: string): readonly [string, string | undefined] {
  const at = wanted.indexOf('/');
  return at < 0 ? [wanted, undefined] : [wanted.slice(0, at), wanted.slice(at + 1)];
}

function findClusters(loader: ImageLoader, reads: Reads): readonly LocalCluster[] {
  const printed = reads(loader.list);
  return printed === undefined ? [] : loader.read(printed).map((cluster) => ({ loader, cluster }));
}

function adviseNone(wanted: string | undefined): string {
  const cure = 'push the image to a registry that your nodes can reach';
  if (wanted === undefined) return `no local cluster was found (${names}): start one, or ${cure}`;
  const [loader] = imageLoaders.filter(({ name }) => name === splitOnce(wanted)[0]);
  return `CLUSTER=${wanted} was not found, by "${loader?.list.join(' ')}": start it, or ${cure}`;
}

/** A hint about where the image is now, if kubectl also knows another cluster. */
export function describeLoaded(
  archive: string,
  { loader, cluster }: LocalCluster,
  context: string | undefined,
): string {
  const own = loader.contextOf(cluster);
  const what = `${archive} is loaded into ${loader.name}${loader.read === thisMachine ? '' : `, cluster ${cluster}`}`;
  if (own === undefined || context === undefined || own === context) return what;
  return `${what}; kubectl's context is ${context}: "kubectl config use-context ${own}" chooses this cluster`;
}

function readCommand([program = '', ...args]: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout : undefined;
}

if (import.meta.main) {
  const [archive = 'dist/image.tar', wanted] = process.argv.slice(2).map((word) => word || undefined);
  try {
    if (!existsSync(archive)) throw new Error(`${archive} is not there: run \`make image\` first`);
    const context = readCommand(['kubectl', 'config', 'current-context'])?.trim();
    const chosen = chooseCluster(wanted, context, readCommand);
    runCommand(chosen.loader.load(archive, chosen.cluster));
    process.stdout.write(`${describeLoaded(archive, chosen, context)}\n`);
  } catch (error) {
    process.stderr.write(`make load: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
