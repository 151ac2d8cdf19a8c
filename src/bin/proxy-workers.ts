import { type ChildProcess, fork } from 'node:child_process';
import type { ReadinessCheck } from '../adapters/telemetry/http-endpoint.ts';
import { aggregateMetrics } from '../adapters/telemetry/proxy-metrics.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

/** Set for processes that another `peerdiscovery proxy` has started; they answer it instead of having endpoints. */
export const workerVariable = 'PEERDISCOVERY_PROXY_WORKER';

/** What a worker says of itself. */
export interface WorkerReport {
  readonly metrics: readonly object[];
  readonly checks: readonly ReadinessCheck[];
}

type ToWorker =
  | { readonly kind: 'ticketKeys'; readonly keys: string }
  | { readonly kind: 'report'; readonly id: number };
type FromWorker =
  | { readonly kind: 'up' }
  | { readonly kind: 'report'; readonly id: number; readonly report: WorkerReport };

/** The other processes that share this one's port. */
export interface ProxyWorkers {
  /** Metrics of all processes as one, in Prometheus' text format. */
  metrics(own: readonly object[]): Promise<string>;
  /** The checks of all processes; one that is being replaced takes no requests and is no trouble. */
  checks(): readonly ReadinessCheck[];
  /** Lets every worker drain; resolves when all have ended. */
  stop(): Promise<void>;
}

/** What starting workers needs. */
export interface WorkerOptions {
  /** How many besides this process. */
  readonly count: number;
  readonly args: readonly string[];
  readonly port: number;
  /** Keys of TLS session tickets: a client may come back to another process. */
  readonly ticketKeys: Buffer;
  readonly clock: Clock;
  readonly log: Log;
}

interface Worker {
  readonly name: string;
  child: ChildProcess | undefined;
  checks: readonly ReadinessCheck[];
  readonly asked: Map<number, (report: WorkerReport | undefined) => void>;
}

const reportEveryMs = 1_000;
const reportTimeoutMs = 2_000;
const restartAfterMs = 1_000;

/** Starts processes that listen on the same port (SO_REUSEPORT); one that ends is replaced. */
export function startWorkers(options: WorkerOptions): ProxyWorkers {
  const { count, args, port, ticketKeys, clock, log } = options;
  const stopping = new AbortController();
  let lastId = 0;
  const ask = (worker: Worker): Promise<WorkerReport | undefined> => {
    const { child } = worker;
    if (child?.connected !== true) return Promise.resolve(undefined);
    const id = ++lastId;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(undefined), reportTimeoutMs);
      const settle = (report: WorkerReport | undefined) => {
        clearTimeout(timer);
        worker.asked.delete(id);
        resolve(report);
      };
      worker.asked.set(id, settle);
      child.send({ kind: 'report', id } satisfies ToWorker, (error) => {
        if (error !== null) settle(undefined);
      });
    });
  };
  const start = (worker: Worker) => {
    const own = [
      '--workers',
      '1',
      '--secure-port',
      String(port),
      '--health-bind-address',
      '0',
      '--metrics-bind-address',
      '0',
    ];
    const child = fork(process.argv[1] ?? '', ['proxy', ...args, ...own], {
      env: { ...process.env, [workerVariable]: '1' },
    });
    worker.child = child;
    child.on('error', (error) => log.error('a worker cannot be run', { worker: worker.name, error: error.message }));
    child.on('message', (message) => {
      const said = message as FromWorker;
      if (said.kind === 'report') worker.asked.get(said.id)?.(said.report);
      else log.info('a worker serves', { worker: worker.name, pid: child.pid });
    });
    child.once('exit', (code, signal) => {
      worker.child = undefined;
      worker.checks = [];
      for (const settle of worker.asked.values()) settle(undefined);
      if (stopping.signal.aborted) return;
      log.error('a worker has ended and is replaced', { worker: worker.name, code, signal });
      void clock.sleep(restartAfterMs, stopping.signal).then(() => {
        if (!stopping.signal.aborted) start(worker);
      });
    });
    child.send({ kind: 'ticketKeys', keys: ticketKeys.toString('base64') } satisfies ToWorker, () => {});
  };
  const workers = Array.from(
    { length: count },
    (_, at): Worker => ({ name: `worker-${at + 2}`, child: undefined, checks: [], asked: new Map() }),
  );
  for (const worker of workers) start(worker);
  const follow = async () => {
    while (!stopping.signal.aborted) {
      await Promise.all(
        workers.map(async (worker) => {
          const report = await ask(worker);
          if (report !== undefined) worker.checks = report.checks;
        }),
      );
      await clock.sleep(reportEveryMs, stopping.signal);
    }
  };
  follow().catch((error: unknown) => log.error('asking workers failed', { error: String(error) }));
  return {
    metrics: async (own) => {
      const reports = await Promise.all(workers.map(ask));
      return aggregateMetrics([own, ...reports.flatMap((report) => (report === undefined ? [] : [report.metrics]))]);
    },
    checks: () =>
      workers.flatMap(({ name, checks }) => checks.map((check) => ({ ...check, name: `${name}-${check.name}` }))),
    stop: async () => {
      stopping.abort();
      await Promise.all(
        workers.map(({ child }) => {
          if (child === undefined || child.exitCode !== null) return undefined;
          const exited = new Promise((resolve) => child.once('exit', resolve));
          // Not a signal: a terminal's has reached the worker already, and a second one would end it at once.
          if (child.connected) child.disconnect();
          return exited;
        }),
      );
    },
  };
}

/** What a worker does for the process that has started it. */
export interface WorkerDuties {
  readonly report: () => Promise<WorkerReport>;
  readonly useTicketKeys: (keys: Buffer) => void;
}

/** Answers the process that has started this one, from when it serves; `onOrphaned` is called when that one has gone. */
export function serveParent({ report, useTicketKeys }: WorkerDuties, onOrphaned: () => void): () => void {
  const answer = (message: ToWorker) => {
    if (message.kind === 'ticketKeys') useTicketKeys(Buffer.from(message.keys, 'base64'));
    else
      report().then(
        (made) => send({ kind: 'report', id: message.id, report: made }),
        () => {},
      );
  };
  process.on('message', answer);
  process.once('disconnect', onOrphaned);
  return () => {
    process.off('message', answer);
    if (process.connected) process.disconnect?.();
  };
}

/** Tells the process that has started this one that requests are taken. */
export function tellParentUp(): void {
  send({ kind: 'up' });
}

/** The other side may have gone meanwhile. */
function send(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
