/** The kinds of requests of the load. */
export type Ask =
  | { readonly kind: 'read' | 'watch'; readonly resource: string }
  | { readonly kind: 'unserved' }
  | { readonly kind: 'discovery' }
  | { readonly kind: 'write'; readonly id: string; readonly round: number }
  | { readonly kind: 'identity'; readonly user: string }
  | { readonly kind: 'forbidden' };

/** The result of a request; `status` is 0 without an answer. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: boolean;
  /** Whether the body is a Kubernetes `Status`. */
  readonly isStatus: boolean;
  /** The reason of a `Status`; empty for any other body. */
  readonly message: string;
  /** The groups of a discovery document, or the user whom the server saw. */
  readonly names: readonly string[];
}

/** One request; times are milliseconds of one clock. */
export interface Asked {
  readonly ask: Ask;
  readonly proxy: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly answer: Answer;
}

/**
 * `good`: the right answer. `refused`: 503, 429 or 504, which the law allows in doubt. `unanswered`: no answer.
 * `wrong`: a forbidden answer.
 */
export type Verdict =
  | { readonly verdict: 'good' | 'refused' | 'unanswered' }
  | { readonly verdict: 'wrong'; readonly why: string };

/** The servers of each resource in the load. They do not change. */
export type Serves = ReadonlyMap<string, ReadonlySet<string>>;

/** Knows at every moment which servers and proxies are fit for work. */
export interface Oracle {
  /** Marks a server or proxy as fit or unfit from this moment on. The moment may be some seconds ago. */
  mark(name: string, fit: boolean, atMs: number): void;
  /** True if a server that serves the resource was fit all the time from `fromMs` to `toMs`. */
  servedThroughout(resource: string, fromMs: number, toMs: number): boolean;
  /** True if this program was fit all the time. */
  fitThroughout(name: string, fromMs: number, toMs: number): boolean;
}

/** An oracle for servers that serve these resources. A program without a mark is fit. */
export function createOracle(serves: Serves): Oracle {
  const changes = new Map<string, { readonly fit: boolean; readonly atMs: number }[]>();
  const fitThroughout: Oracle['fitThroughout'] = (name, fromMs, toMs) => {
    let fitAtStart = true;
    for (const { fit, atMs } of changes.get(name) ?? []) {
      if (atMs <= fromMs) fitAtStart = fit;
      else if (atMs <= toMs && !fit) return false;
    }
    return fitAtStart;
  };
  return {
    mark: (name, fit, atMs) => {
      const marked = changes.get(name) ?? [];
      changes.set(name, marked);
      // A later mark overrides earlier ones, including expected ones in the future.
      while ((marked.at(-1)?.atMs ?? 0) > atMs) marked.pop();
      marked.push({ fit, atMs });
      marked.splice(
        0,
        marked.findIndex((_, at) => (marked[at + 1]?.atMs ?? Infinity) > atMs - keptMs),
      );
    },
    fitThroughout,
    servedThroughout: (resource, fromMs, toMs) =>
      [...serves].some(
        ([server, resources]) =>
          resources.has(resource) && [server, readinessOf(server)].every((name) => fitThroughout(name, fromMs, toMs)),
      ),
  };
}

/** The name that is marked as unfit while a server reports that it is not ready, or does not answer. */
export const readinessOf = (server: string) => `readiness of ${server}`;

/** No request takes longer, so older marks are not needed. */
const keptMs = 10 * 60_000;

const wrong = (why: string): Verdict => ({ verdict: 'wrong', why });

/**
 * Judges one answer by the rules that hold under every fault.
 *
 * @param discoveryHolds groups that every discovery document must list, because a live or doubtful server serves each
 */
export function judge({ ask, answer }: Pick<Asked, 'ask' | 'answer'>, discoveryHolds: readonly string[]): Verdict {
  const { status, names } = answer;
  if (status === 0) return { verdict: 'unanswered' };
  if (status === 503 || status === 429) {
    if (!answer.isStatus) return wrong(`${status} that is not a Status`);
    return answer.retryAfter ? { verdict: 'refused' } : wrong(`${status} without Retry-After`);
  }
  if (status === 504 || status === 500) return { verdict: 'refused' };
  switch (ask.kind) {
    case 'read':
    case 'watch':
      return status === 200 ? { verdict: 'good' } : wrong(`${status} for ${ask.resource}, which a server serves`);
    case 'unserved':
      return status === 404 ? { verdict: 'good' } : wrong(`${status} for a resource that no server serves`);
    case 'discovery': {
      if (status !== 200) return wrong(`${status} for discovery`);
      const missing = discoveryHolds.filter((group) => !names.includes(group));
      return missing.length === 0 ? { verdict: 'good' } : wrong(`discovery without ${missing.join(', ')}`);
    }
    case 'write':
      return status === 201 ? { verdict: 'good' } : wrong(`${status} for a write`);
    case 'identity':
      if (status !== 201) return wrong(`${status} for a SelfSubjectReview`);
      return names[0] === ask.user ? { verdict: 'good' } : wrong(`${ask.user} was taken for ${names[0]}`);
    case 'forbidden':
      return status === 403 ? { verdict: 'good' } : wrong(`${status} for an action that the user may not take`);
  }
}

/** True for a read during which the proxy ran and a server could have answered. */
export function isAnswerableRead(oracle: Oracle, { ask, proxy, fromMs, toMs }: Asked): boolean {
  if (ask.kind !== 'read') return false;
  return oracle.fitThroughout(proxy, fromMs, toMs) && oracle.servedThroughout(ask.resource, fromMs, toMs);
}

/** A server that has just started is ready, but answers this for custom resources that it has not read yet. */
const readsItsStorage = 'storage is (re)initializing';

/** True if such a read got neither a good answer nor a server's own 429. */
export function isLostRead(oracle: Oracle, asked: Asked): boolean {
  const { status, message } = asked.answer;
  if (status === 200 || (status === 429 && message === readsItsStorage)) return false;
  return isAnswerableRead(oracle, asked);
}

/** The fate of the writes. */
export interface WriteTally {
  readonly confirmed: number;
  /** Confirmed, but missing. */
  readonly lost: readonly string[];
  /** Stored more than once. */
  readonly twice: readonly string[];
  /** Refused with 503 or 429, but stored. */
  readonly refusedButDone: readonly string[];
}

/** Tracks writes by rounds. A round is forgotten after it has been compared with the stored objects. */
export interface WriteLedger {
  add(asked: Asked): void;
  /** Compares the answers of a round's writes with how often each id of the round is stored. */
  settle(round: number, stored: ReadonlyMap<string, number>): void;
  /** Rounds that have not been settled yet. */
  open(): readonly number[];
  tally(): WriteTally;
}

interface Round {
  readonly confirmed: Set<string>;
  readonly refused: Set<string>;
}

/** A ledger without writes. */
export function createWriteLedger(): WriteLedger {
  const rounds = new Map<number, Round>();
  let confirmed = 0;
  const lost: string[] = [];
  const twice: string[] = [];
  const refusedButDone: string[] = [];
  return {
    add({ ask, answer }) {
      if (ask.kind !== 'write') return;
      const round = rounds.get(ask.round) ?? { confirmed: new Set(), refused: new Set() };
      rounds.set(ask.round, round);
      if (answer.status === 201) round.confirmed.add(ask.id);
      else if (answer.status === 503 || answer.status === 429) round.refused.add(ask.id);
    },
    settle(number, stored) {
      const round = rounds.get(number);
      if (round === undefined) return;
      rounds.delete(number);
      confirmed += round.confirmed.size;
      lost.push(...[...round.confirmed].filter((id) => !stored.has(id)));
      twice.push(...[...stored].filter(([, count]) => count > 1).map(([id]) => id));
      refusedButDone.push(...[...round.refused].filter((id) => stored.has(id)));
    },
    open: () => [...rounds.keys()],
    tally: () => ({ confirmed, lost, twice, refusedButDone }),
  };
}
