import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Clock } from '../runtime/clock.ts';
import { bearerToken } from './bearer-token.ts';
import type { Exchange } from './exchange.ts';
import type { RequestLimits } from './limits.ts';
import type { ProxyMetrics } from './ports.ts';
import { RunningRequest, RunningRequests, type UserLoad } from './running-requests.ts';
import { writeStatus } from './write-status.ts';

/** Keeps requests within their number and their time. */
export interface Admission {
  /** The request, which runs until it is given to `leave`; or how it is refused. */
  enter(exchange: Exchange, longRunning: boolean): RunningRequest | StatusError;
  /** To be called when the exchange of a request that was let in has closed. */
  leave(request: RunningRequest, longRunning: boolean): void;
  /** Ends watches evenly over this time, as a server does that has had enough of them; resolves when all are told. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
}

/** Whoever shows one token, however it is spelled, is one user, and whoever shows none is another. */
function userOf(exchange: Exchange): string {
  return exchange.identity.replacesToken ? exchange.identity.who : (bearerToken(exchange) ?? '');
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
  // The order of entering is that of deadlines.
  const short = new RunningRequests();
  const long = new RunningRequests();
  const users = new Map<string, UserLoad>();
  const cutOverdue = () => {
    const before = clock.now() - limits.requestTimeoutMs;
    for (let request = short.first; request !== undefined && request.startedAt <= before; request = short.first) {
      const { exchange } = request;
      short.remove(request);
      metrics.limited.inc({ limit: 'request_timeout' });
      if (exchange.status() !== 0) exchange.destroy();
      else if (exchange.hasBody && !exchange.bodyComplete())
        writeStatus(exchange, buildStatus(408, 'the body of the request did not come in time'));
      else writeStatus(exchange, buildStatus(504, 'no answer within the time that a request may take'));
    }
  };
  const forgetIdle = () => {
    for (const [user, load] of users) if (isIdle(load)) users.delete(user);
  };
  const sweep = async () => {
    while (!signal.aborted) {
      await clock.sleep(1_000, signal);
      cutOverdue();
      forgetIdle();
    }
  };
  sweep().catch(() => {});
  const loadOf = (exchange: Exchange): UserLoad => {
    const user = userOf(exchange);
    let load = users.get(user);
    if (load === undefined) {
      load = { user, short: 0, long: 0 };
      users.set(user, load);
    }
    return load;
  };
  return {
    enter: (exchange, longRunning) => {
      const running = longRunning ? long : short;
      const most = longRunning ? limits.maxLongRunning : limits.maxRequests;
      const limit = longRunning ? 'long_running_requests' : 'requests';
      if (running.size >= most) {
        metrics.limited.inc({ limit });
        return buildStatus(429, 'too many requests at once at this proxy, please try again later', 1);
      }
      const user = loadOf(exchange);
      const own = longRunning ? user.long : user.short;
      if (own >= Math.ceil(most / 2)) {
        metrics.limited.inc({ limit: `user_${limit}` });
        return buildStatus(429, 'too many requests of one user at once at this proxy, please try again later', 1);
      }
      if (longRunning) user.long++;
      else user.short++;
      const request = new RunningRequest(exchange, longRunning ? 0 : clock.now(), user);
      running.add(request);
      return request;
    },
    leave: (request, longRunning) => {
      request.list?.remove(request);
      if (longRunning) request.user.long--;
      else request.user.short--;
      if (users.size > idleUsers && isIdle(request.user)) users.delete(request.user.user);
    },
    endLongRunning: async (graceMs, ended) => {
      const startedAt = clock.now();
      let told = 0;
      for (;;) {
        const passed = clock.now() - startedAt;
        // The last of them, or the only one, at the end of the time.
        const due = passed >= graceMs ? told + long.size : Math.floor(((told + long.size) * passed) / graceMs);
        while (told < due && long.first !== undefined) {
          const { exchange } = long.first;
          told++;
          long.remove(long.first);
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

/** Among so few users, one without a request is remembered for the rest of a second: it will be back. */
const idleUsers = 64;

function isIdle({ short, long }: UserLoad): boolean {
  return short === 0 && long === 0;
}
