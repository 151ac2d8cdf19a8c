import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Exchange } from './exchange.ts';
import { headerValue } from './headers.ts';
import type { RequestLimits } from './limits.ts';
import type { ProxyMetrics } from './ports.ts';
import { writeStatus } from './write-status.ts';

/** Keeps requests within their number and their time. */
export interface Admission {
  /** Undefined if the request may run, until it leaves; else how it is refused. */
  enter(exchange: Exchange, longRunning: boolean): StatusError | undefined;
  /** To be called when the exchange of a request that was let in has closed. */
  leave(exchange: Exchange, longRunning: boolean): void;
  /** Ends watches evenly over this time, as a server does that has had enough of them; resolves when all are told. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Whoever shows one credential is one user. A token that nobody has issued is refused by kube-apiserver at once, so that
 * making up many of them holds nothing.
 */
function userOf({ identity, rawHeaders }: Exchange): string {
  return identity.replacesToken ? identity.who : (headerValue(rawHeaders, 'authorization') ?? '');
}

/**
 * Answers 429 with `Retry-After` beyond the limits, of which one user gets half, and 504 (or 408, while the body is late) to what takes too long.
 *
 * One look a second at the oldest finds what is overdue, so that requests need no timers of their own.
 */
export function createAdmission({
  limits,
  clock,
  metrics,
  signal,
}: {
  readonly limits: RequestLimits;
  readonly clock: Clock;
  readonly metrics: Pick<ProxyMetrics, 'limited'>;
  readonly signal: AbortSignal;
}): Admission {
  // Insertion order is order of deadlines.
  const short = new Map<Exchange, number>();
  const long = new Set<Exchange>();
  const shortOf = new Map<string, number>();
  const longOf = new Map<string, number>();
  const cutOverdue = () => {
    const before = clock.now() - limits.requestTimeoutMs;
    for (const [exchange, startedAt] of short) {
      if (startedAt > before) break;
      short.delete(exchange);
      metrics.limited.inc({ limit: 'request_timeout' });
      if (exchange.status() !== 0) exchange.destroy();
      else if (exchange.hasBody && !exchange.bodyComplete())
        writeStatus(exchange, buildStatus(408, 'the body of the request did not come in time'));
      else writeStatus(exchange, buildStatus(504, 'no answer within the time that a request may take'));
    }
  };
  const sweep = async () => {
    while (!signal.aborted) {
      await clock.sleep(1_000, signal);
      cutOverdue();
    }
  };
  sweep().catch(() => {});
  return {
    enter: (exchange, longRunning) => {
      const running = longRunning ? long.size : short.size;
      const most = longRunning ? limits.maxLongRunning : limits.maxRequests;
      const limit = longRunning ? 'long_running_requests' : 'requests';
      if (running >= most) {
        metrics.limited.inc({ limit });
        return buildStatus(429, 'too many requests at once at this proxy, please try again later', 1);
      }
      const byUser = longRunning ? longOf : shortOf;
      const user = userOf(exchange);
      const own = byUser.get(user) ?? 0;
      if (own >= Math.ceil(most / 2)) {
        metrics.limited.inc({ limit: `user_${limit}` });
        return buildStatus(429, 'too many requests of one user at once at this proxy, please try again later', 1);
      }
      byUser.set(user, own + 1);
      if (longRunning) long.add(exchange);
      else short.set(exchange, clock.now());
      return undefined;
    },
    leave: (exchange, longRunning) => {
      if (longRunning) long.delete(exchange);
      else short.delete(exchange);
      const byUser = longRunning ? longOf : shortOf;
      const user = userOf(exchange);
      const left = (byUser.get(user) ?? 1) - 1;
      if (left > 0) byUser.set(user, left);
      else byUser.delete(user);
    },
    endLongRunning: async (graceMs, ended) => {
      const startedAt = clock.now();
      let told = 0;
      for (;;) {
        const passed = clock.now() - startedAt;
        // The last of them, or the only one, at the end of the time.
        const due = passed >= graceMs ? told + long.size : Math.floor(((told + long.size) * passed) / graceMs);
        for (const exchange of [...long].slice(0, Math.max(0, due - told))) {
          told++;
          long.delete(exchange);
          if (exchange.status() !== 0) exchange.end();
          else exchange.destroy();
        }
        if (passed >= graceMs || ended.aborted) return;
        await clock.sleep(Math.min(stepMs, graceMs - passed), ended);
      }
    },
  };
}

const stepMs = 100;
