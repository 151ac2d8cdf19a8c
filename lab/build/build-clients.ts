import { existsSync } from 'node:fs';
import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, go, hashOf } from './build-control-plane.ts';

/** Releases of client-go and kubectl to test with: one without aggregated discovery, and one with it. */
export const clientMinors = ['0.24', '0.36'] as const;

const module = join(dirname(dirname(fileURLToPath(import.meta.url))), 'clients');
const programs = ['kubectl', 'discovery-client'];

/** Resolves to a folder with `kubectl` and `discovery-client` of this release. They are built once and cached. */
export async function buildClients(
  minor: (typeof clientMinors)[number],
  log: (message: string) => void,
): Promise<string> {
  const folder = join(cacheFolder(), 'clients', `${minor}-${await hashOf(module)}`);
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}`;
  await mkdir(partial, { recursive: true });
  log(`building kubectl and client-go ${minor} from Go modules`);
  const output = join(partial, 'clients');
  await go(['build', '-trimpath', '-ldflags', '-s -w', `-modfile=v${minor}.mod`, '-o', output, '.'], module, log);
  for (const program of programs) await symlink('clients', join(partial, program));
  await rename(partial, folder).catch(async (error: unknown) => {
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  });
  return folder;
}
