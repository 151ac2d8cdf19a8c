import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, go, hashOf } from './build-control-plane.ts';

/** Resolves to the folder of a real `helm`, built once from Go modules into the cache. */
export function ensureHelm(log: (message: string) => void): Promise<string> {
  return ensureTool('helm', 'helm.sh/helm/v4/cmd/helm', 'about 3 minutes', log);
}

/** Resolves to the folder of `h2spec`, which tries a server of HTTP/2 with some 150 cases, built likewise. */
export function ensureH2spec(log: (message: string) => void): Promise<string> {
  return ensureTool('h2spec', 'github.com/summerwind/h2spec/cmd/h2spec', 'half a minute', log);
}

async function ensureTool(name: string, command: string, takes: string, log: (message: string) => void) {
  const module = fileURLToPath(new URL(name, import.meta.url));
  const folder = join(cacheFolder(), name, await hashOf(module));
  const program = join(folder, name);
  if (existsSync(program)) return folder;
  log(`building ${name} from Go modules into ${folder} (${takes} the first time)`);
  await mkdir(folder, { recursive: true });
  const partial = `${program}.${process.pid}`;
  await go(['build', '-trimpath', '-ldflags', '-s -w', '-o', partial, command], module, log);
  await rename(partial, program);
  return folder;
}
