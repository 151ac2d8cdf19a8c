import { spawnSync } from 'node:child_process';

/** True if a command ends with 0. */
export type Runs = (command: readonly string[]) => boolean;

/** Runs a command to its end, its output where this process's goes; throws if it fails. */
export function runCommand([program = '', ...args]: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) throw new Error(`${program} cannot be run: ${error.message}`, { cause: error });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}`);
}

/** Asks whether a command works here, without showing what it prints. */
export function commandWorks([program = '', ...args]: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
