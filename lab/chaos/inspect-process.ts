import { readdirSync, readFileSync } from 'node:fs';
import { waitUntil } from '../wait-until.ts';

/** What a process holds. */
export interface Held {
  readonly residentBytes: number;
  /** Of JavaScript, after a collection of garbage. */
  readonly heapBytes: number;
  readonly descriptors: number;
}

/** What starts a Node program so that its heap can be seen at this port. */
export const inspectedBy = (port: number): readonly string[] => ['env', `NODE_OPTIONS=--inspect=127.0.0.1:${port}`];

/** Collects the garbage of a program that was started so, and gives what it holds then. */
export async function readHeld(pid: number, port: number): Promise<Held> {
  const heapBytes = await collectGarbage(port);
  const [, kilobytes = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return {
    residentBytes: Number(kilobytes) * 1024,
    heapBytes,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

async function collectGarbage(port: number): Promise<number> {
  const url = await waitUntil('the inspector to answer', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/json/list`).catch(() => undefined);
    const targets = (await response?.json()) as readonly { readonly webSocketDebuggerUrl: string }[] | undefined;
    return targets?.[0]?.webSocketDebuggerUrl;
  });
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', () => reject(new Error(`${url} cannot be reached`)), { once: true });
  });
  let id = 0;
  const call = (method: string, params: object = {}) =>
    new Promise<{ readonly result?: { readonly result?: { readonly value?: unknown } } }>((resolve) => {
      const wanted = ++id;
      const onMessage = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data)) as { readonly id?: number };
        if (answer.id !== wanted) return;
        socket.removeEventListener('message', onMessage);
        resolve(answer as Awaited<ReturnType<typeof call>>);
      };
      socket.addEventListener('message', onMessage);
      socket.send(JSON.stringify({ id: wanted, method, params }));
    });
  try {
    // What a finalizer lets go of is found by the second.
    await call('HeapProfiler.collectGarbage');
    await call('HeapProfiler.collectGarbage');
    const { result } = await call('Runtime.evaluate', { expression: 'process.memoryUsage().heapUsed' });
    return Number(result?.result?.value);
  } finally {
    socket.close();
  }
}
