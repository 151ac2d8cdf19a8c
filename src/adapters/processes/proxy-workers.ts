import type { ChildProcess } from 'node:child_process';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type KeptMetrics, keepMetrics } from '../metrics/kept-metrics.ts';
import { aggregateMetrics } from '../metrics/proxy-metrics.ts';
import type { ReadinessCheck } from '../serving/http-endpoint.ts';

/** A worker's report about itself. */
export interface WorkerReport {
  readonly metrics: readonly object[];
  readonly checks: readonly ReadinessCheck[];
}

type ToWorker =
  | { readonly kind: 'ticketKeys'; readonly keys: string }
  | { readonly kind: 'report'; readonly id: number };
type FromWorker =
  | { readonly kind: 'up' }
  /** Has no report if the worker could not make one. */
  | { readonly kind: 'report'; readonly id: number; readonly report: WorkerReport | undefined };

/** The other processes that share this process's port. */
export interface ProxyWorkers {
  /**
   * Metrics of all processes together, in Prometheus' text format. A worker that is late or has ended keeps its counts.
   */
  metrics(own: readonly object[]): Promise<string>;
  /**
   * The checks of all workers, plus whether each serving worker answers. A worker that is being replaced takes no
   * requests and fails no check.
   */
  checks(): readonly ReadinessCheck[];
  /** Drains every worker. Resolves when all have ended. */
  stop(): Promise<void>;
}

/** The options for starting workers. */
export interface WorkerOptions {
  /** Number of processes besides this one. */
  readonly count: number;
  readonly args: readonly string[];
  readonly port: number;
  /** Keys of TLS session tickets, because a client may return to another process. */
  readonly ticketKeys: Buffer;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs this program again, with these arguments, as a worker. */
  readonly run: (args: readonly string[]) => ChildProcess;
}

/** A pending request for one report. */
interface Asking {
  /** Aborts when there is nothing left to wait for. */
  readonly over: AbortController;
  reported: boolean;
}

interface Worker {
  readonly name: string;
  child: ChildProcess | undefined;
  /** True once the process accepts connections. */
  serves: boolean;
  checks: readonly ReadinessCheck[];
  readonly metrics: KeptMetrics;
  /** Pending requests by id, in order. */
  readonly asked: Map<number, Asking>;
  /** The id of the request that its last report answered. */
  reportId: number;
  /** Number of reports in a row that were late. */
  missed: number;
}

const reportEveryMs = 1_000;
const reportTimeoutMs = 2_000;
const restartAfterMs = 1_000;
/** A worker counts as hung after this many late reports in a row. */
const missesToFail = 3;

/** Starts processes that listen on the same port (SO_REUSEPORT), and replaces those that end. */
export function startWorkers(options: WorkerOptions): ProxyWorkers {
  const { count, args, port, ticketKeys, clock, log, run } = options;
  const stopping = new AbortController();
  let lastId = 0;
  const send = (worker: Worker, child: ChildProcess): Asking => {
    const id = ++lastId;
    const asking = { over: new AbortController(), reported: false };
    worker.asked.set(id, asking);
    child.send({ kind: 'report', id } satisfies ToWorker, () => {});
    return asking;
  };
  /** Asks for a report and waits for it. Returns false if it is late. */
  const ask = async (worker: Worker, child: ChildProcess): Promise<boolean> => {
    // Asks a hung worker only once: otherwise it would have to answer every request when it continues.
    const open = worker.missed > 0 ? [...worker.asked.values()].at(-1) : undefined;
    const asking = open ?? send(worker, child);
    await clock.sleep(reportTimeoutMs, asking.over.signal);
    return asking.reported;
  };
  const take = (worker: Worker, id: number, report: WorkerReport | undefined) => {
    for (const [askedId, asking] of worker.asked) {
      if (askedId > id) break;
      worker.asked.delete(askedId);
      asking.reported = report !== undefined;
      asking.over.abort();
    }
    if (report === undefined || id < worker.reportId) return;
    worker.reportId = id;
    worker.checks = report.checks;
    worker.metrics.take(report.metrics);
    if (worker.missed >= missesToFail)
      log.info('a worker answers again', { worker: worker.name, pid: worker.child?.pid });
    worker.missed = 0;
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
    const child = run(['proxy', ...args, ...own]);
    worker.child = child;
    child.on('error', (error) => log.error('cannot start a worker', { worker: worker.name, error: error.message }));
    child.on('message', (message) => {
      const said = message as FromWorker;
      // Messages from an ended process say nothing about its replacement.
      if (worker.child !== child) return;
      if (said.kind === 'report') return take(worker, said.id, said.report);
      worker.serves = true;
      log.info('a worker serves', { worker: worker.name, pid: child.pid });
    });
    child.once('exit', (code, signal) => {
      worker.child = undefined;
      worker.serves = false;
      worker.checks = [];
      worker.metrics.end();
      worker.missed = 0;
      for (const { over } of worker.asked.values()) over.abort();
      worker.asked.clear();
      if (stopping.signal.aborted) return;
      log.error('a worker has ended; starting another', { worker: worker.name, code, signal });
      void clock.sleep(restartAfterMs, stopping.signal).then(() => {
        if (!stopping.signal.aborted) start(worker);
      });
    });
    child.send({ kind: 'ticketKeys', keys: ticketKeys.toString('base64') } satisfies ToWorker, () => {});
  };
  const workers = Array.from(
    { length: count },
    (_, at): Worker => ({
      name: `worker-${at + 2}`,
      child: undefined,
      serves: false,
      checks: [],
      metrics: keepMetrics(),
      asked: new Map(),
      reportId: 0,
      missed: 0,
    }),
  );
  for (const worker of workers) start(worker);
  const follow = async (worker: Worker) => {
    while (!stopping.signal.aborted) {
      const { child } = worker;
      if (child?.connected === true) {
        const reported = await ask(worker, child);
        // A worker that does not serve yet accepts no connections.
        if (!reported && worker.child === child && worker.serves && ++worker.missed === missesToFail)
          log.error('a worker does not answer', { worker: worker.name, pid: child.pid });
      }
      await clock.sleep(reportEveryMs, stopping.signal);
    }
  };
  for (const worker of workers)
    follow(worker).catch((error: unknown) => log.error('asking workers failed', { error: String(error) }));
  return {
    metrics: async (own) => {
      // Does not wait for a late worker.
      await Promise.all(
        workers.map((worker) => {
          const { child, missed } = worker;
          return child?.connected === true && missed === 0 ? ask(worker, child) : undefined;
        }),
      );
      return aggregateMetrics([own, ...workers.map(({ metrics }) => metrics.read())]);
    },
    checks: () =>
      workers.flatMap((worker) => [
        ...worker.checks.map((check) => ({ ...check, name: `${worker.name}-${check.name}` })),
        ...(worker.serves ? [checkAnswers(worker)] : []),
      ]),
    stop: async () => {
      stopping.abort();
      await Promise.all(
        workers.map(({ child }) => {
          if (child === undefined || child.exitCode !== null) return undefined;
          const exited = new Promise((resolve) => child.once('exit', resolve));
          // Not a signal: one from the terminal has already reached the worker, and a second one would end it at once.
          if (child.connected) child.disconnect();
          return exited;
        }),
      );
    },
  };
}

function checkAnswers({ name, missed }: Worker): ReadinessCheck {
  return {
    name: `${name}-answers`,
    ok: missed < missesToFail,
    message: `it hangs, and so do its connections: it has missed ${missed} reports in a row`,
  };
}

/** A worker's tasks for its parent process. */
export interface WorkerDuties {
  readonly report: () => Promise<WorkerReport>;
  readonly useTicketKeys: (keys: Buffer) => void;
}

/** Answers the parent process once this one serves. Calls `onOrphaned` when the parent has gone. */
export function serveParent({ report, useTicketKeys }: WorkerDuties, onOrphaned: () => void): () => void {
  const answer = (message: ToWorker) => {
    if (message.kind === 'ticketKeys') useTicketKeys(Buffer.from(message.keys, 'base64'));
    else
      report().then(
        (made) => send({ kind: 'report', id: message.id, report: made }),
        () => send({ kind: 'report', id: message.id, report: undefined }),
      );
  };
  process.on('message', answer);
  process.once('disconnect', onOrphaned);
  return () => {
    process.off('message', answer);
    if (process.connected) process.disconnect?.();
  };
}

/** Tells the parent process that this one accepts requests. */
export function tellParentUp(): void {
  send({ kind: 'up' });
}

/** The other side may be gone by now. */
function send(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
