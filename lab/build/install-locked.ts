import { execFileSync } from 'node:child_process';
import { delimiter } from 'node:path';

/** Installs the packages of `folder`'s package-lock.json into that folder, without running their scripts. */
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
