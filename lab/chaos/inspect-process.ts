import { readdirSync, readFileSync } from 'node:fs';
import { waitUntil } from '../wait-until.ts';

/** The resources that a process holds. */
export interface Held {
  readonly residentBytes: number;
  /** JavaScript heap after a garbage collection. */
  readonly heapBytes: number;
  readonly descriptors: number;
}

/** Node flags that open the inspector at this port. */
export const inspectedBy = (port: number): readonly string[] => ['env', `NODE_OPTIONS=--inspect=127.0.0.1:${port}`];

/** Collects the garbage of such a program, and returns the resources that it still holds. */
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
  const inspector = await openInspector(port);
  try {
    // The second collection finds objects that finalizers released.
    await inspector.call('HeapProfiler.collectGarbage');
    await inspector.call('HeapProfiler.collectGarbage');
    return Number(await inspector.evaluate('process.memoryUsage().heapUsed'));
  } finally {
    inspector.close();
  }
}

interface InspectorAnswer {
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

/** A connection to the inspector of a program. */
interface Inspector {
  call(method: string, params?: object): Promise<InspectorAnswer>;
  /** Evaluates a JavaScript expression in the program. Returns a number or a string. */
  evaluate(expression: string): Promise<unknown>;
  close(): void;
}

async function openInspector(port: number): Promise<Inspector> {
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
    new Promise<InspectorAnswer>((resolve) => {
      const wanted = ++id;
      const onMessage = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data)) as InspectorAnswer & { readonly id?: number };
        if (answer.id !== wanted) return;
        socket.removeEventListener('message', onMessage);
        resolve(answer);
      };
      socket.addEventListener('message', onMessage);
      socket.send(JSON.stringify({ id: wanted, method, params }));
    });
  return {
    call,
    evaluate: async (expression) => (await call('Runtime.evaluate', { expression })).result?.result?.value,
    close: () => socket.close(),
  };
}

/** How long tasks have blocked a program's event loop. */
export interface LoopDelay {
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Measures the event loop of a program that was started with `inspectedBy`. */
export interface LoopGauge {
  /** Figures since the last call. */
  take(): Promise<LoopDelay>;
  close(): void;
}

const resolutionMs = 10;

/** Starts the measurement. */
export async function measureLoop(port: number): Promise<LoopGauge> {
  const inspector = await openInspector(port);
  const histogram = "process.getBuiltinModule('node:perf_hooks').monitorEventLoopDelay";
  await inspector.evaluate(
    `globalThis.loopDelay = ${histogram}({ resolution: ${resolutionMs} }); loopDelay.enable(); 0`,
  );
  const read =
    '(() => { const seen = [loopDelay.percentile(99), loopDelay.max]; loopDelay.reset(); return seen.join(); })()';
  return {
    async take() {
      const [p99 = 0, max = 0] = String(await inspector.evaluate(read))
        .split(',')
        .map(Number);
      // A timer fires only at intervals, so this much does not count as a delay.
      const [p99Ms, maxMs] = [p99, max].map((nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolutionMs));
      return { p99Ms: p99Ms ?? 0, maxMs: maxMs ?? 0 };
    },
    close: () => inspector.close(),
  };
}
