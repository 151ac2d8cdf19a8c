import { existsSync } from 'node:fs';
import { commandWorks, type Runs, runCommand } from './run-command.ts';

/** A local cluster, and how its nodes get an image from an archive. */
export interface ImageLoader {
  readonly name: 'kind' | 'k3d' | 'minikube' | 'k3s' | 'containerd';
  /** Ends with 0 where such a cluster runs. */
  readonly probe: readonly string[];
  readonly load: (archive: string) => readonly string[];
}

const some = (list: string) => ['sh', '-c', `${list} 2>/dev/null | grep -q .`];

/** In the order in which they are tried. */
export const imageLoaders: readonly ImageLoader[] = [
  {
    name: 'kind',
    probe: some('kind get clusters'),
    load: (archive) => ['kind', 'load', 'image-archive', archive],
  },
  {
    name: 'k3d',
    probe: some('k3d cluster list --no-headers'),
    load: (archive) => ['k3d', 'image', 'import', archive],
  },
  {
    name: 'minikube',
    probe: ['minikube', 'status'],
    load: (archive) => ['minikube', 'image', 'load', archive],
  },
  {
    name: 'k3s',
    probe: ['k3s', 'ctr', 'version'],
    load: (archive) => ['k3s', 'ctr', '--namespace', 'k8s.io', 'images', 'import', archive],
  },
  {
    name: 'containerd',
    probe: ['ctr', 'version'],
    load: (archive) => ['ctr', '--namespace', 'k8s.io', 'images', 'import', archive],
  },
];

/** The first local cluster that is found, or the one of that name; throws with the cure where there is none. */
export function chooseLoader(wanted: string | undefined, runs: Runs): ImageLoader {
  const names = imageLoaders.map(({ name }) => name).join(', ');
  if (wanted !== undefined) {
    const named = imageLoaders.find(({ name }) => name === wanted);
    if (named === undefined) throw new Error(`CLUSTER=${wanted} is not known: choose one of ${names}`);
    return named;
  }
  const found = imageLoaders.find(({ probe }) => runs(probe));
  if (found !== undefined) return found;
  throw new Error(
    `no local cluster was found (${names}): name one by CLUSTER=, or push the image to a registry that your nodes can reach`,
  );
}

if (import.meta.main) {
  const [archive = 'dist/image.tar', wanted] = process.argv.slice(2).map((word) => word || undefined);
  try {
    if (!existsSync(archive)) throw new Error(`${archive} is not there: run \`make image\` first`);
    const loader = chooseLoader(wanted, commandWorks);
    runCommand(loader.load(archive));
    process.stdout.write(`${archive} is loaded into ${loader.name}\n`);
  } catch (error) {
    process.stderr.write(`make load: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
