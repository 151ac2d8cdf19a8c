import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundlePrograms } from './bundle.ts';
import { gatherLicences } from './shipped-packages.ts';
import { writeLauncher } from './write-launcher.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { bin, files } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
};

/** `npm pack` keeps the modes of files, which depend on the umask of the user. */
async function letEverybodyRead(path: string): Promise<void> {
  const isFolder = (await stat(path)).isDirectory();
  await chmod(path, isFolder || programs.has(path) ? 0o755 : 0o644);
  if (isFolder) for (const name of await readdir(path)) await letEverybodyRead(`${path}/${name}`);
}

await rm(`${root}/dist`, { recursive: true, force: true });
const bundles = await bundlePrograms();
await writeFile(`${root}/dist/lib/LICENSES.txt`, await gatherLicences(bundles));
await mkdir(`${root}/dist/bin`);
for (const [name, path] of Object.entries(bin)) writeLauncher(`${root}/${path}`, name, `../lib/${basename(path)}`);
const programs = new Set(Object.values(bin).map((path) => join(root, path)));
for (const path of [...files, 'package.json', 'README.md', 'LICENSE']) await letEverybodyRead(join(root, path));
