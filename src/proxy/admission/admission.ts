import type { StatusError } from '../../domain/status-error.ts';
import { buildStatus } from '../../domain/status-error.ts';
import type { RawHeaders } from '../../http/fields.ts';
import type { Keeper } from '../../http/server/held-bytes.ts';
import type { Clock } from '../../runtime/clock.ts';
import { provesAuthentication } from '../identity/accepted-credentials.ts';
import { AcceptedTokens } from '../identity/accepted-tokens.ts';
import { tokenDigest } from '../identity/bearer-token.ts';
import type { RequestLimits } from '../limits.ts';
import type { ProxyMetrics } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { writeStatus } from '../request/write-status.ts';
import { RunningRequest, RunningRequests, type UserLoad } from './running-requests.ts';

/** A server's answer, as far as it says whether the server accepted the credential. */
export interface ServerAnswer {
  readonly status: number;
  readonly rawHeaders: RawHeaders;
  /** True if a backend of the server wrote it. */
  readonly fromBackend: boolean;
}

/** Limits how many requests run, and for how long. */
export interface Admission {
  /** Admits a request, which runs until `leave`, or returns the refusal. */
  enter(exchange: Exchange, sort: { readonly longRunning: boolean }): RunningRequest | StatusError;
  /** A server's answer is passed on. It may show whether the credential is valid, unless it is a backend's answer. */
  noteAnswer(request: RunningRequest, answer: ServerAnswer): void;
  /** This proxy answers an admitted request with its own Status. */
  noteRefusal(request: RunningRequest): void;
  /** This proxy is about to refuse a request that was not admitted. */
  refuse(exchange: Exchange): void;
  /** Call it when the exchange of an admitted request has closed. */
  leave(request: RunningRequest): void;
  /** Everything that holds memory for requests. */
  keepers(): Iterable<Keeper>;
  /** Ends watches evenly over `graceMs`. Resolves when all have been ended. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
}

/** One token is one user, however its scheme is spelled. All clients without a token are one user, too. */
function userOf(exchange: Exchange): string {
  return exchange.identity.replacesToken ? exchange.identity.who : (tokenDigest(exchange) ?? '');
}

/** How long a refusal, or an answer to an unauthenticated client, may stay unread. */
const unreadMs = 10_000;

/**
 * Answers 429 with `Retry-After` beyond the limits, and 504 (408 while the body is late) to requests that take too
 * long. One user gets half of each limit.
 *
 * Requests whose credential no server has accepted yet share a few places, over all connections together, so that they
 * take none from known users. When a server does not accept such a request, and whenever this proxy refuses one, the
 * client has a short time to read the answer. The oldest unread answer makes room for new ones.
 *
 * Once a second, it checks the oldest requests for overdue ones, so that requests need no timers.
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
  const readMs = Math.min(unreadMs, limits.requestTimeoutMs);
  // Requests enter in the order of their deadlines.
  const short = new RunningRequests();
  const long = new RunningRequests();
  /** Long-running requests of unknown users that no server has answered. */
  const unanswered = new RunningRequests();
  /**
   * Answers to unknown users, this proxy's own refusals of known users, and refusals of requests that were not
   * admitted.
   */
  const unread = new RunningRequests();
  const declined = new RunningRequests();
  const refused = new RunningRequests();
  const places = { known: { short: 0, long: 0 }, unknown: { short: 0, long: 0 } };
  const tokens = new AcceptedTokens(() => clock.now());
  const users = new Map<string, UserLoad>();
  /** The load of requests that are never admitted. It stays 0, because they take no place. */
  const nobody: UserLoad = { user: '', short: 0, long: 0 };
  const placesOf = ({ isKnown }: RunningRequest) => (isKnown ? places.known : places.unknown);
  const leave = (request: RunningRequest) => {
    request.list?.remove(request);
    if (request.hasLeft) return;
    request.hasLeft = true;
    const sort = request.longRunning ? 'long' : 'short';
    request.user[sort]--;
    placesOf(request)[sort]--;
    if (users.size > idleUsers && isIdle(request.user)) users.delete(request.user.user);
  };
  /** Ends the oldest request of a list whose answer nobody reads. */
  const cutOldest = (list: RunningRequests, limit = 'unread_answers'): boolean => {
    const { first } = list;
    if (first === undefined) return false;
    list.remove(first);
    if (list !== refused) leave(first);
    metrics.limited.inc({ limit });
    first.exchange.destroy();
    return true;
  };
  const moveTo = (list: RunningRequests, request: RunningRequest, dueAt: number) => {
    if (request.list === undefined) return;
    request.list.remove(request);
    request.dueAt = dueAt;
    list.add(request);
  };
  const answerOverdue = (request: RunningRequest, now: number) => {
    const { exchange } = request;
    if (exchange.status() !== 0) {
      exchange.destroy();
      return;
    }
    request.dueAt = now + readMs;
    (request.isKnown ? declined : unread).add(request);
    const isLate = exchange.hasBody && !exchange.bodyComplete();
    if (isLate) writeStatus(exchange, buildStatus(408, 'the body of the request did not come in time'));
    else writeStatus(exchange, buildStatus(504, 'the request timed out before its answer was complete'));
  };
  const cutOverdue = () => {
    const now = clock.now();
    for (const list of [short, unanswered])
      for (let request = list.first; request !== undefined && request.dueAt <= now; request = list.first) {
        list.remove(request);
        metrics.limited.inc({ limit: 'request_timeout' });
        answerOverdue(request, now);
      }
    for (const list of [unread, declined, refused])
      while (list.first !== undefined && list.first.dueAt <= now)
        cutOldest(list, list === unread ? 'request_timeout' : 'unread_answers');
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
  const isKnown = (exchange: Exchange) => {
    const { connectAs, replacesToken } = exchange.identity;
    if (replacesToken || connectAs === 'frontProxy') return true;
    const token = tokenDigest(exchange);
    return token !== undefined && tokens.has(token);
  };
  /** A server has accepted the credential: from here on the request takes a known user's place. */
  const accept = (request: RunningRequest) => {
    if (request.hasLeft) return;
    const sort = request.longRunning ? 'long' : 'short';
    places.unknown[sort]--;
    places.known[sort]++;
    request.isKnown = true;
    request.exchange.connection.owner = request.user.user;
    if (request.longRunning) moveTo(long, request, 0);
  };
  return {
    enter: (exchange, { longRunning }) => {
      const known = isKnown(exchange);
      const sort = longRunning ? 'long' : 'short';
      const most = longRunning ? limits.maxLongRunning : limits.maxRequests;
      const allowed = known ? most : Math.min(most, limits.maxUnauthenticated);
      const held = known ? places.known : places.unknown;
      const limit = longRunning ? 'long_running_requests' : 'requests';
      // An accepted user takes a known user's place.
      if (places.known[sort] >= most) {
        metrics.limited.inc({ limit });
        return buildStatus(429, 'this proxy has too many requests at once, please try again later', 1);
      }
      if (!known && held[sort] >= allowed && (!cutOldest(unread) || held[sort] >= allowed)) {
        metrics.limited.inc({ limit: allowed < most ? 'unauthenticated_requests' : limit });
        return buildStatus(429, 'this proxy has too many requests at once, please try again later', 1);
      }
      const user = loadOf(exchange);
      if (user[sort] >= Math.ceil(allowed / 2)) {
        metrics.limited.inc({ limit: `user_${limit}` });
        return buildStatus(429, 'this proxy has too many requests of this user at once, please try again later', 1);
      }
      user[sort]++;
      held[sort]++;
      if (known) exchange.connection.owner = user.user;
      const now = clock.now();
      const request = new RunningRequest(exchange, now, user, longRunning, known);
      request.dueAt = now + limits.requestTimeoutMs;
      (longRunning ? (known ? long : unanswered) : short).add(request);
      return request;
    },
    noteAnswer: (request, { status, rawHeaders, fromBackend }) => {
      const { exchange, longRunning } = request;
      if (request.isKnown && status !== 401) return;
      const token = tokenDigest(exchange);
      const proves = provesAuthentication({ method: exchange.method, status, rawHeaders });
      if (status === 401 && !proves && !fromBackend && token !== undefined) tokens.delete(token);
      if (request.isKnown) return;
      if (proves && token !== undefined) tokens.add(token);
      // A successful watch without a token counts as accepted, too.
      if (proves && (token !== undefined || (longRunning && status < 300))) accept(request);
      else moveTo(unread, request, clock.now() + readMs);
    },
    noteRefusal: (request) => {
      moveTo(request.isKnown ? declined : unread, request, clock.now() + readMs);
    },
    refuse: (exchange) => {
      if (refused.size >= limits.maxUnauthenticated) cutOldest(refused);
      const request = new RunningRequest(exchange, clock.now(), nobody, false, false);
      request.dueAt = request.startedAt + readMs;
      refused.add(request);
      exchange.onClose(() => refused.remove(request));
    },
    leave,
    keepers: function* () {
      for (const list of [short, long, unanswered, unread, declined, refused]) yield* list;
    },
    endLongRunning: async (graceMs, ended) => {
      const startedAt = clock.now();
      let told = 0;
      for (;;) {
        const passed = clock.now() - startedAt;
        // The last watch ends when the time is over.
        const due = passed >= graceMs ? told + long.size : Math.floor(((told + long.size) * passed) / graceMs);
        while (told < due && long.first !== undefined) {
          const { exchange } = long.first;
          told++;
          long.remove(long.first);
          if (exchange.status() !== 0) exchange.end();
          else exchange.destroy();
        }
        if (passed >= graceMs) for (const { exchange } of takeAll(unanswered)) exchange.destroy();
        if (passed >= graceMs || ended.aborted) return;
        await clock.sleep(Math.min(stepMs, graceMs - passed), ended);
      }
    },
  };
}

function takeAll(list: RunningRequests): RunningRequest[] {
  const all: RunningRequest[] = [];
  for (let { first } = list; first !== undefined; first = list.first) {
    list.remove(first);
    all.push(first);
  }
  return all;
}

const stepMs = 100;

/** With so few users, a user without a request stays known for the rest of a second, because it will be back. */
const idleUsers = 64;

function isIdle({ short, long }: UserLoad): boolean {
  return short === 0 && long === 0;
}
