import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { repository } from '../repository.ts';

/** Builds the product as plain JavaScript, as it is shipped. The lab otherwise runs TypeScript. Returns the program. */
export function buildProduct(): string {
  const { status, stdout, stderr } = spawnSync('node', ['scripts/build.ts'], { cwd: repository, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the build failed: ${stdout}${stderr}`);
  return join(repository, 'dist', 'bin', 'peerdiscovery.js');
}
