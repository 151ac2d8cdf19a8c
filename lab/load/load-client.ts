import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A process that loads the proxy. */
export interface LoadClient<Tally> {
  /** Its counts since the last call. */
  take(): Promise<Tally>;
  end(): void;
}

const program = fileURLToPath(new URL('run-client.ts', import.meta.url));

/** Starts a load process. Resolves when it is working. */
export async function startLoadClient<Tally>(
  role: 'mixed' | 'watches' | 'slow',
  { url, caFile, token }: { readonly url: string; readonly caFile: string; readonly token: string },
  number: number,
): Promise<LoadClient<Tally>> {
  const child = fork(program, [role, url, caFile, token, String(number)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const failed = once(child, 'exit').then(() => {
    throw new Error(`the client with the role ${role} has ended`);
  });
  failed.catch(() => {});
  await Promise.race([once(child, 'message'), failed]);
  return {
    take: async () => {
      const answered = once(child, 'message');
      child.send('take');
      const [tally] = await Promise.race([answered, failed]);
      return tally as Tally;
    },
    end: () => void child.kill('SIGKILL'),
  };
}
