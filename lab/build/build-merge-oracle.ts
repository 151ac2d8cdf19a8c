import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, go, hashOf } from './build-control-plane.ts';

/** Minors of k8s.io/apiserver whose merge can be asked. */
export const oracleMinors = ['0.35', '0.36', '0.37'] as const;

const module = join(dirname(dirname(fileURLToPath(import.meta.url))), 'merge-oracle');

/** Resolves to the path of a program that wraps the merge of this k8s.io/apiserver; built once into the cache. */
export async function buildMergeOracle(
  minor: (typeof oracleMinors)[number],
  log: (message: string) => void = () => {},
): Promise<string> {
  const folder = join(cacheFolder(), 'merge-oracle', await hashOf(module));
  const binary = join(folder, `merge-oracle-${minor}`);
  if (existsSync(binary)) return binary;
  await mkdir(folder, { recursive: true });
  const partial = `${binary}.${process.pid}`;
  await go(['build', '-trimpath', '-ldflags', '-s -w', `-modfile=v${minor}.mod`, '-o', partial, '.'], module, log);
  await rename(partial, binary);
  return binary;
}
