import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, go, hashOf } from './build-control-plane.ts';

/** Resolves to the folder of a real `helm`, built once from Go modules into the cache. */
export async function ensureHelm(log: (message: string) => void): Promise<string> {
  const module = fileURLToPath(new URL('helm', import.meta.url));
  const folder = join(cacheFolder(), 'helm', await hashOf(module));
  const program = join(folder, 'helm');
  if (existsSync(program)) return folder;
  log(`building Helm from Go modules into ${folder} (about 3 minutes the first time)`);
  await mkdir(folder, { recursive: true });
  const partial = `${program}.${process.pid}`;
  await go(['build', '-trimpath', '-ldflags', '-s -w', '-o', partial, 'helm.sh/helm/v4/cmd/helm'], module, log);
  await rename(partial, program);
  return folder;
}
