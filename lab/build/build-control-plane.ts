import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { resolve as absolutePath, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from './find-program.ts';

/** Kubernetes minors that the lab can build. */
export type Minor = '1.36' | '1.35' | '1.33';

/** The version to build, and a logger for progress. */
export interface BuildOptions {
  readonly versions: readonly Minor[];
  readonly log: (message: string) => void;
}

const here = dirname(dirname(fileURLToPath(import.meta.url)));
/** The programs in the binary, by the names that start them. */
export const programs = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kubectl',
  'merge-oracle',
  'fake-kubelet',
  'informer-watch',
];
const progressEveryMs = 15_000;

/** The minor that `KUBEBUILDER_ASSETS` may provide. */
const assetsMinor: Minor = '1.36';

/**
 * Resolves to one folder with all programs of the lab per version.
 *
 * Programs of 1.36 in `KUBEBUILDER_ASSETS` are used. All others are built once from Go modules and cached.
 */
export async function ensureControlPlane({ versions, log }: BuildOptions): Promise<Readonly<Record<string, string>>> {
  const folders: Record<string, string> = {};
  const assets = process.env.KUBEBUILDER_ASSETS;
  for (const version of versions)
    folders[version] =
      version === assetsMinor && assets ? await completeAssets(assets, log) : await buildControlPlane(version, log);
  return folders;
}

/**
 * A folder with links to the programs in these assets, and the programs that they lack. For example, envtest ships no
 * kube-controller-manager.
 */
async function completeAssets(assets: string, log: (message: string) => void): Promise<string> {
  const found = programs.filter((program) => findProgram([program], assets) !== undefined);
  const version = found.includes('kube-apiserver') ? versionOf(join(assets, 'kube-apiserver')) : undefined;
  if (!version?.startsWith(`${assetsMinor}.`)) {
    log(`KUBEBUILDER_ASSETS=${assets} has ${describeServer(version)}; the lab needs ${assetsMinor}, and builds it`);
    return buildControlPlane(assetsMinor, log);
  }
  if (found.length === programs.length) return assets;
  log(`KUBEBUILDER_ASSETS=${assets} brings ${found.join(', ')}; the lab builds the rest`);
  const built = await buildControlPlane(assetsMinor, log);
  const folder = join(
    cacheFolder(),
    'controlplane',
    `${assetsMinor}-assets-${hashText(`${assets}\n${built}\n${found}`)}`,
  );
  const partial = `${folder}.${process.pid}`;
  await mkdir(partial, { recursive: true });
  for (const program of programs)
    await symlink(join(found.includes(program) ? absolutePath(assets) : built, program), join(partial, program));
  await rename(partial, folder).catch(() => rm(partial, { recursive: true, force: true }));
  return folder;
}

const describeServer = (version: string | undefined) =>
  version === undefined ? 'no kube-apiserver that runs here' : `kube-apiserver ${version}`;

function versionOf(server: string): string | undefined {
  const { stdout } = spawnSync(server, ['--version'], { encoding: 'utf8' });
  return /v(\d+\.\d+\.\d+)/.exec(stdout ?? '')?.[1];
}

const hashText = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);

const moduleOf = (version: Minor) => join(here, 'controlplane', `v${version}`);
const folderOf = async (version: Minor) =>
  join(cacheFolder(), 'controlplane', `${version}-${await hashOf(moduleOf(version))}`);

/** True if the version has been built before. */
export async function isBuilt(version: Minor): Promise<boolean> {
  return existsSync(join(await folderOf(version), 'kubectl'));
}

/** Resolves to the folder of one version, which is built from Go modules if it does not exist yet. */
export async function buildControlPlane(version: Minor, log: (message: string) => void): Promise<string> {
  const module = moduleOf(version);
  const folder = await folderOf(version);
  if (existsSync(join(folder, 'kubectl'))) return folder;
  const full = kubernetesVersion(await readFile(join(module, 'go.mod'), 'utf8'));
  log(`building Kubernetes v${full} from Go modules into ${folder} (about 5 minutes the first time)`);
  const partial = `${folder}.${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const flags = `-s -w ${versionFlags(full)}`;
  await go(['build', '-trimpath', '-ldflags', flags, '-o', join(partial, 'controlplane'), '.'], module, log);
  // The binary selects the program by its own name. The link for kubectl comes last, because it marks a complete
  // folder.
  for (const program of programs) await symlink('controlplane', join(partial, program));
  await rename(partial, folder).catch(async (error: unknown) => {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(join(folder, 'kubectl'))) throw error;
  });
  log(`built Kubernetes v${full}`);
  return folder;
}

/** The cache folder for all slow builds. */
export function cacheFolder(): string {
  const { PEERDISCOVERY_CACHE, XDG_CACHE_HOME } = process.env;
  return PEERDISCOVERY_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'peerdiscovery');
}

/** A short hash of files of a folder, by default of all. It identifies a build. */
export async function hashOf(folder: string, names?: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const name of [...(names ?? (await readdir(folder)))].sort())
    hash.update(`${name}\0`).update(await readFile(join(folder, name)));
  return hash.digest('hex').slice(0, 12);
}

/** The version of Kubernetes that a go.mod requires: `1.36.3`. */
export function kubernetesVersion(gomod: string): string {
  const found = /k8s\.io\/kubernetes v(\d+\.\d+\.\d+)/.exec(gomod)?.[1];
  if (found === undefined) throw new Error('go.mod does not require k8s.io/kubernetes');
  return found;
}

/** Linker flags that set the version in a Kubernetes program. */
export function versionFlags(version: string): string {
  const stamp = 'k8s.io/component-base/version';
  const [major, minor] = version.split('.');
  return `-X ${stamp}.gitVersion=v${version} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor}`;
}

/** Runs go, and logs every 15 s that it is still running. Retries a network failure twice. */
export async function go(args: readonly string[], cwd: string, log: (message: string) => void): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await runGo(args, cwd, log);
    } catch (error) {
      const network = error instanceof Error && /dial tcp|i\/o timeout|connection re|TLS handshake/.test(error.message);
      if (!network || attempt === 3) throw error;
      log(`modules could not be downloaded; trying again: ${error.message.slice(-200)}`);
    }
  }
}

function runGo(args: readonly string[], cwd: string, log: (message: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const startedAt = Date.now();
    const child = spawn('go', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let downloads = 0;
    let tail = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      downloads += text.split('go: downloading').length - 1;
      tail = (tail + text).slice(-4_000);
    });
    const kill = () => void child.kill();
    process.once('exit', kill);
    const progress = setInterval(() => {
      log(`still building (${Math.round((Date.now() - startedAt) / 1_000)} s, ${downloads} modules downloaded)`);
    }, progressEveryMs);
    child.on('error', (error) => {
      clearInterval(progress);
      reject(
        new Error('cannot run go: install Go 1.26', {
          cause: error,
        }),
      );
    });
    child.on('exit', (code) => {
      clearInterval(progress);
      process.off('exit', kill);
      if (code === 0) resolve();
      else reject(new Error(`go ${args[0]} ended with ${code}:\n${tail}`));
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const versions = process.argv.slice(2) as Minor[];
  const log = (message: string) => void process.stderr.write(`${message}\n`);
  try {
    const folders = await ensureControlPlane({ versions: versions.length > 0 ? versions : ['1.36', '1.35'], log });
    for (const [version, folder] of Object.entries(folders)) process.stdout.write(`${version} ${folder}\n`);
  } catch (error) {
    log(`There is no control plane: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
