import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { captureCommand } from './run-command.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Keeps young memory from growing to 32 MiB and more; for example, an idle watch then takes 15 KiB instead of 21. */
export const nodeFlags = ['--max-semi-space-size=8'] as const;

/** The command of a container; a Pod's `args` follow. */
export const entrypoint = ['/usr/bin/node', ...nodeFlags, '/app/dist/bin/peerdiscovery.js'] as const;

/** Builds the npm package from the sources into a folder. Returns the file. */
export function packPackage(folder: string): string {
  mkdirSync(folder, { recursive: true });
  captureCommand(['npm', 'pack', '--silent', '--pack-destination', folder], root);
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  if (file === undefined) throw new Error(`npm pack wrote nothing into ${folder}`);
  return join(folder, file);
}

/**
 * Writes the container image's whole file system into an empty folder: Node with the libraries it links to, the npm
 * package, its production dependencies as locked, and two accounts. It has no shell, no package manager, and nothing
 * set-uid.
 *
 * @param packed the npm package, if it is already packed
 */
export function buildRootfs(target: string, packed?: string): void {
  if (existsSync(target) && readdirSync(target).length > 0) throw new Error(`${target} is not empty`);
  const scratch = mkdtempSync(join(tmpdir(), 'peerdiscovery-rootfs-'));
  try {
    const app = join(target, 'app');
    mkdirSync(app, { recursive: true });
    captureCommand(
      ['tar', '-xzf', packed ?? packPackage(scratch), '--strip-components=1', '--no-same-owner', '-C', app],
      root,
    );
    for (const path of productionPackages())
      cpSync(join(root, path), join(app, path), { recursive: true, filter: (source) => !isNested(source, path) });
    copyProgram(realpathSync(process.execPath), join(target, 'usr/bin/node'), target);
    mkdirSync(join(target, 'etc'));
    const account = (name: string, id: number) => `${name}:x:${id}:${id}::/:/nonexistent`;
    writeFileSync(join(target, 'etc/passwd'), `${account('root', 0)}\n${account('nonroot', 65532)}\n`);
    writeFileSync(join(target, 'etc/group'), 'root:x:0:\nnonroot:x:65532:\n');
    writeFileSync(join(target, 'etc/nsswitch.conf'), 'hosts: files dns\n');
    for (const name of ['dev', 'proc', 'sys', 'tmp', 'var/run']) mkdirSync(join(target, name), { recursive: true });
    // Whatever the umask is, everybody may read and only root may write.
    captureCommand(['chmod', '-R', 'u=rwX,go=rX', target], root);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Folders of the production dependencies, as `npm ci` created them from the lock file, relative to the repository. */
function productionPackages(): string[] {
  const listed = captureCommand(['npm', 'ls', '--omit=dev', '--all', '--parseable'], root).trim().split('\n');
  return listed.map((path) => relative(root, path)).filter((path) => path !== '');
}

/** True for a package within a package, which is listed by itself. */
function isNested(source: string, path: string): boolean {
  return relative(join(root, path), source).split(sep)[0] === 'node_modules';
}

/** Copies a program, the loader, and every shared library that it links to, to where the loader looks. */
export function copyProgram(program: string, destination: string, target: string): void {
  cpSync(program, destination, { dereference: true });
  const libraries = captureCommand(['ldd', program], root).matchAll(/(?:=> )?(\/\S+) \(0x/g);
  for (const [, library = ''] of libraries) {
    const copy = join(target, library);
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(realpathSync(library), copy);
  }
}

if (import.meta.main) {
  const [target] = process.argv.slice(2);
  if (target === undefined) {
    process.stderr.write('Usage: node scripts/build-rootfs.ts FOLDER\n');
    process.exitCode = 2;
  } else buildRootfs(resolve(target));
}
