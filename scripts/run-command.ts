import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

/** True if a command exits with 0. */
export type Runs = (command: readonly string[]) => boolean;

/** Runs a command to its end and shows its output. Throws if it fails. */
export function runCommand([program = '', ...args]: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) throw new Error(`${program} cannot be run: ${error.message}`, { cause: error });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}`);
}

/** Runs a command to its end; this project's programs come before the machine's. Throws with its output if it fails. */
export function captureCommand([program = '', ...args]: readonly string[], cwd: string): string {
  const path = [join(cwd, 'node_modules/.bin'), process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH: path };
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env,
    maxBuffer: 2 ** 26,
  });
  if (error !== undefined) throw new Error(`${program} cannot be run`, { cause: error });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stderr}${stdout}`);
  return stdout;
}

/** Returns whether a command works here, without showing its output. */
export function commandWorks([program = '', ...args]: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
