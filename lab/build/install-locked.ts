import { execFileSync } from 'node:child_process';
import { delimiter } from 'node:path';

/** Installs what the package-lock.json of `folder` lists, into that folder; runs no package's scripts. */
export function installLocked(folder: string): void {
  // npm runs under the Node that it came with.
  const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !entry.endsWith('node_modules/.bin'));
  const env = { ...process.env, PATH: path.join(delimiter) };
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-progress', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}
