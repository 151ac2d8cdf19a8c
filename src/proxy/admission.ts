import type { StatusError } from '../domain/status-error.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Clock } from '../runtime/clock.ts';
import { provesAuthentication } from './accepted-credentials.ts';
import { AcceptedTokens } from './accepted-tokens.ts';
import { tokenDigest } from './bearer-token.ts';
import type { Exchange } from './exchange.ts';
import type { RawHeaders } from './headers.ts';
import type { Keeper } from './kept-bytes.ts';
import type { RequestLimits } from './limits.ts';
import type { ProxyMetrics } from './ports.ts';
import { RunningRequest, RunningRequests, type UserLoad } from './running-requests.ts';
import { writeStatus } from './write-status.ts';

/** Keeps requests within their number and their time. */
export interface Admission {
  /** The request, which runs until it is given to `leave`; or how it is refused. */
  enter(exchange: Exchange, longRunning: boolean): RunningRequest | StatusError;
  /** A server's answer is passed on: it may say that the request's credential is good, or that it is not. */
  noteAnswer(request: RunningRequest, status: number, rawHeaders: RawHeaders): void;
  /** A request that was let in is answered by a Status of this proxy's. */
  noteRefusal(request: RunningRequest): void;
  /** A request that was not let in is about to be answered by a Status. */
  refuse(exchange: Exchange): void;
  /** To be called when the exchange of a request that was let in has closed. */
  leave(request: RunningRequest): void;
  /** What holds memory for requests. */
  keepers(): Iterable<Keeper>;
  /** Ends watches evenly over this time, as a server does that has had enough of them; resolves when all are told. */
  endLongRunning(graceMs: number, signal: AbortSignal): Promise<void>;
}

/** Whoever shows one token, however it is spelled, is one user, and whoever shows none is another. */
function userOf(exchange: Exchange): string {
  return exchange.identity.replacesToken ? exchange.identity.who : (tokenDigest(exchange) ?? '');
}

/** How long a refusal, or an answer to whom no server has accepted, may go unread. */
const unreadMs = 10_000;

/** What shows no proof of who is asking has one name, so that it has no more places than one user. */
const nobody: UserLoad = { user: '', short: 0, long: 0 };

/**
 * Answers 429 with `Retry-After` beyond the limits, of which one user gets half, and 504 (or 408, while the body is late) to what takes too long.
 *
 * Requests whose credential no server has accepted yet have few places of their own, over all connections together, so
 * that they take none from known users. Once such a request is answered otherwise than by acceptance, and whenever this
 * proxy refuses one, the client has a short time to read that; the oldest of them makes room for whoever comes.
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
  const readMs = Math.min(unreadMs, limits.requestTimeoutMs);
  // The order of entering is that of deadlines.
  const short = new RunningRequests();
  const long = new RunningRequests();
  /** Long-running ones of unknown users which no server has answered. */
  const unanswered = new RunningRequests();
  /** Answered: unknown users; known ones, by a Status of this proxy's; and what was not let in. */
  const unread = new RunningRequests();
  const declined = new RunningRequests();
  const refused = new RunningRequests();
  const places = { known: { short: 0, long: 0 }, unknown: { short: 0, long: 0 } };
  const tokens = new AcceptedTokens(() => clock.now());
  const users = new Map<string, UserLoad>();
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
    else writeStatus(exchange, buildStatus(504, 'no answer within the time that a request may take'));
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
  /** A server has let it in: it holds a place of the known ones from here on. */
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
    enter: (exchange, longRunning) => {
      const known = isKnown(exchange);
      const sort = longRunning ? 'long' : 'short';
      const most = longRunning ? limits.maxLongRunning : limits.maxRequests;
      const allowed = known ? most : Math.min(most, limits.maxUnauthenticated);
      const held = known ? places.known : places.unknown;
      const limit = longRunning ? 'long_running_requests' : 'requests';
      // An unknown user that is let in takes a place of the known ones.
      if (places.known[sort] >= most) {
        metrics.limited.inc({ limit });
        return buildStatus(429, 'too many requests at once at this proxy, please try again later', 1);
      }
      if (!known && held[sort] >= allowed && (!cutOldest(unread) || held[sort] >= allowed)) {
        metrics.limited.inc({ limit: allowed < most ? 'unauthenticated_requests' : limit });
        return buildStatus(429, 'too many requests at once at this proxy, please try again later', 1);
      }
      const user = loadOf(exchange);
      if (user[sort] >= Math.ceil(allowed / 2)) {
        metrics.limited.inc({ limit: `user_${limit}` });
        return buildStatus(429, 'too many requests of one user at once at this proxy, please try again later', 1);
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
    noteAnswer: (request, status, rawHeaders) => {
      const { exchange, longRunning } = request;
      if (request.isKnown && status !== 401) return;
      const token = tokenDigest(exchange);
      if (status === 401 && token !== undefined) tokens.delete(token);
      if (request.isKnown) return;
      const proves = provesAuthentication({ method: exchange.method, status, rawHeaders });
      if (proves && token !== undefined) tokens.add(token);
      // Whoever may watch without a token was let in as well.
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
        // The last of them, or the only one, at the end of the time.
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

/** Among so few users, one without a request is remembered for the rest of a second: it will be back. */
const idleUsers = 64;

function isIdle({ short, long }: UserLoad): boolean {
  return short === 0 && long === 0;
}
