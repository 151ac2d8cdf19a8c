import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A program of `lab/cluster/client-go` that runs. */
export interface Figures {
  /** Resolves to its figures now. Rejects if the program has ended. */
  ask(): Promise<unknown>;
  kill(): void;
}

/** Starts a program that answers each line of input with a line of JSON. */
export function startFigures(
  [program = '', ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
): Figures {
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = createInterface(child.stdout);
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ${args[0]} ended with ${code}`)));
  });
  failed.catch(() => {});
  child.stdin.on('error', () => {});
  return {
    ask: async () => {
      child.stdin.write('\n');
      const [line] = await Promise.race([once(lines, 'line') as Promise<[string]>, failed]);
      return JSON.parse(line);
    },
    kill: () => child.kill('SIGKILL'),
  };
}
