/** What the load asks for. */
export type Ask =
  | { readonly kind: 'read' | 'watch'; readonly resource: string }
  | { readonly kind: 'unserved' }
  | { readonly kind: 'discovery' }
  | { readonly kind: 'write'; readonly id: string; readonly round: number }
  | { readonly kind: 'identity'; readonly user: string }
  | { readonly kind: 'forbidden' };

/** What came of it; `status` is 0 without an answer. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: boolean;
  /** Whether the body is a Kubernetes `Status`. */
  readonly isStatus: boolean;
  /** Of a `Status`; empty for anything else. */
  readonly message: string;
  /** Groups of a discovery document, or the user whom the server saw. */
  readonly names: readonly string[];
}

/** One request, in milliseconds of one clock. */
export interface Asked {
  readonly ask: Ask;
  readonly proxy: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly answer: Answer;
}

/**
 * `good`: the right answer. `refused`: 503, 429 or 504 as the law allows in doubt. `unanswered`: none came.
 * `wrong`: what must never be said.
 */
export type Verdict =
  | { readonly verdict: 'good' | 'refused' | 'unanswered' }
  | { readonly verdict: 'wrong'; readonly why: string };

/** What each server serves of the resources that are asked for, as it does not change. */
export type Serves = ReadonlyMap<string, ReadonlySet<string>>;

/** Knows at every moment which servers and proxies are fit for work. */
export interface Oracle {
  /** Says that something is fit for work, or is not any more, from this moment on, which may be some seconds ago. */
  mark(name: string, fit: boolean, atMs: number): void;
  /** Whether a server that serves the resource was fit all the time from `fromMs` to `toMs`. */
  servedThroughout(resource: string, fromMs: number, toMs: number): boolean;
  /** Whether it was fit all the time. */
  fitThroughout(name: string, fromMs: number, toMs: number): boolean;
}

/** An oracle for servers that serve this; what was never marked is fit. */
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
      // Whoever says something later knows more, also of what was expected to come.
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

/** What is marked while a server itself says that it is not ready, or says nothing. */
export const readinessOf = (server: string) => `readiness of ${server}`;

/** No request takes longer, so no older mark is asked for. */
const keptMs = 10 * 60_000;

const wrong = (why: string): Verdict => ({ verdict: 'wrong', why });

/**
 * Judges one answer by what must never be said, whatever is broken at the moment.
 *
 * @param discoveryHolds groups that every discovery document has to list, as a live or doubtful server serves each
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

/** Whether it is a read whose proxy ran and that a server could have answered all the while. */
export function isAnswerableRead(oracle: Oracle, { ask, proxy, fromMs, toMs }: Asked): boolean {
  if (ask.kind !== 'read') return false;
  return oracle.fitThroughout(proxy, fromMs, toMs) && oracle.servedThroughout(ask.resource, fromMs, toMs);
}

/** A server that has just started says so, ready as it is, of a custom resource that it has not read yet. */
const readsItsStorage = 'storage is (re)initializing';

/** Whether such a read got no good answer, and no server's own word to ask again in a second. */
export function isLostRead(oracle: Oracle, asked: Asked): boolean {
  const { status, message } = asked.answer;
  if (status === 200 || (status === 429 && message === readsItsStorage)) return false;
  return isAnswerableRead(oracle, asked);
}

/** What became of the writes. */
export interface WriteTally {
  readonly confirmed: number;
  /** Confirmed, and not there. */
  readonly lost: readonly string[];
  /** There more than once. */
  readonly twice: readonly string[];
  /** Refused by 503 or 429, and there all the same. */
  readonly refusedButDone: readonly string[];
}

/** Follows writes by rounds, and forgets a round once it is compared with what is stored. */
export interface WriteLedger {
  add(asked: Asked): void;
  /** Compares what the writers of a round were told with how often each id of it is stored. */
  settle(round: number, stored: ReadonlyMap<string, number>): void;
  /** Rounds that were not settled yet. */
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
