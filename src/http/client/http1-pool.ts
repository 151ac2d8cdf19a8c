import type { TLSSocket } from 'node:tls';
import type { ResponseParsers } from '../llhttp/response-parser.ts';
import type { AnswerHandler, Call, Dispatcher, FaultKind, HttpOrigin, HttpRequest } from './dispatch.ts';
import { sweepMs } from './dispatch.ts';
import { type Http1Attempt, Http1Connection } from './http1-connection.ts';
import { writeRequestHead } from './request-head.ts';
import { WaitingRequests } from './waiting-requests.ts';

/** Limits on the number of connections and their silence. */
export interface Http1PoolLimits {
  readonly maxConnections: number;
  /** Maximum wait for the head of an answer, or between two pieces of its body; undefined for no limit. */
  readonly answerTimeoutMs: number | undefined;
  readonly idleTimeoutMs: number;
}

/**
 * Gives each request its own connection: the one that became idle last, else a new one.
 *
 * The cost of finding one does not depend on their number. If none is idle, a request waits for a new or idle one.
 */
export function createHttp1Pool(
  target: HttpOrigin,
  connect: () => Promise<TLSSocket>,
  parsers: ResponseParsers,
  limits: Http1PoolLimits,
): Dispatcher {
  const { maxConnections, answerTimeoutMs, idleTimeoutMs } = limits;
  const idle: Http1Connection[] = [];
  const all = new Set<Http1Connection>();
  let closed = false;
  let sweeps = 0;
  const startOnIdle = (attempt: Attempt) => {
    let connection = idle.pop();
    while (connection?.dead) connection = idle.pop();
    if (connection === undefined) return false;
    attempt.startOn(connection);
    return true;
  };
  const owner = {
    onIdle: (connection: Http1Connection) => {
      connection.seenInSweep = sweeps;
      if (closed) return connection.destroy('aborted', new Error('the pool is closed'));
      idle.push(connection);
      if (waiting.size > 0) waiting.serve();
    },
    onClosed: (connection: Http1Connection) => {
      all.delete(connection);
    },
  };
  const waiting = new WaitingRequests<Attempt>({
    perConnection: 1,
    connect: async () => {
      const connection = new Http1Connection(await connect(), parsers.create(), owner);
      all.add(connection);
      owner.onIdle(connection);
    },
    start: (attempt) => {
      if (closed) attempt.fail('aborted', new Error('the pool is closed'));
      return closed || startOnIdle(attempt);
    },
  });
  const isFull = () => all.size + Math.max(waiting.connecting, waiting.size) >= maxConnections;
  return {
    dispatch: (request, handler) => {
      const head = writeRequestHead(target, request);
      const attempt = new Attempt(request, handler, head.kind === 'bad' ? '' : head.text);
      if (head.kind === 'bad') {
        queueMicrotask(() => attempt.fail('request', new Error(head.message)));
        return attempt;
      }
      if (startOnIdle(attempt)) return attempt;
      if (isFull()) waiting.prune();
      if (isFull()) {
        const error = new Error(`all ${maxConnections} connections to ${target.address} are in use`);
        queueMicrotask(() => attempt.fail('saturated', error));
      } else waiting.add(attempt);
      return attempt;
    },
    open: () => all.size + waiting.connecting,
    sweep: () => {
      sweeps++;
      const answerSweeps = answerTimeoutMs === undefined ? Number.POSITIVE_INFINITY : answerTimeoutMs / sweepMs;
      for (const connection of all) {
        connection.seenInSweep ??= sweeps;
        const silent = sweeps - connection.seenInSweep;
        if (connection.busy && silent > answerSweeps)
          connection.destroy('timeout', new Error(`${target.address}: no bytes for ${answerTimeoutMs} ms`));
        else if (!connection.busy && silent > idleTimeoutMs / sweepMs)
          connection.destroy('aborted', new Error('idle for too long'));
      }
      // The oldest are in front, and they die first.
      let count = 0;
      while (idle[count]?.dead) count++;
      if (count > 0) idle.splice(0, count);
    },
    abandon: (error) => {
      waiting.fail('timeout', error);
      for (const connection of all) connection.abandon(error);
    },
    close: () => {
      closed = true;
      for (const connection of idle.splice(0)) connection.destroy('aborted', new Error('the pool is closed'));
    },
  };
}

/** One request from dispatch to its end. Calls do nothing once it is settled. */
class Attempt implements Http1Attempt, Call {
  readonly request: HttpRequest;
  readonly handler: AnswerHandler;
  sent = false;
  settled = false;
  #head: string;
  #connection: Http1Connection | undefined;

  constructor(request: HttpRequest, handler: AnswerHandler, head: string) {
    this.request = request;
    this.handler = handler;
    this.#head = head;
  }

  startOn(connection: Http1Connection): void {
    this.#connection = connection;
    connection.seenInSweep = undefined;
    const head = this.#head;
    // A long answer should not keep it in memory.
    this.#head = '';
    connection.start(this, head);
  }

  fail(kind: FaultKind, error: Error): void {
    if (this.settled) return;
    this.settled = true;
    this.handler.onFault({ kind, sent: this.sent, error });
  }

  pause(): void {
    if (!this.settled) this.#connection?.pause();
  }

  resume(): void {
    if (!this.settled) this.#connection?.resume();
  }

  abort(reason: Error): void {
    if (this.settled) return;
    if (this.#connection === undefined) this.fail('aborted', reason);
    else this.#connection.destroy('aborted', reason);
  }
}
