/** The kind of an answer. */
export type Outcome = 'ok' | 'noAnswer' | 'refusedUser' | 'notFound' | 'unavailable' | 'other';

/** One request of the load. */
export interface Sample {
  /** The name of its endpoint. */
  readonly way: string;
  readonly proxied: boolean;
  /** `new` is a read of an API that only the new version serves. */
  readonly kind: 'read' | 'new' | 'write';
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly tookMs: number;
  readonly status: number;
  readonly outcome: Outcome;
  /** The reason if there was no answer. */
  readonly error?: string | undefined;
}

/** One observation of the cluster. */
export interface Sight {
  readonly at: number;
  /** The version that each machine's server reports; undefined if it is not ready. */
  readonly servers: readonly (string | undefined)[];
  /** The status of the condition `Converged`; undefined if no server could report it. */
  readonly converged: string | undefined;
  /** When the operator last confirmed its table. */
  readonly confirmedAt: number | undefined;
}

/** One write: its answer, and how often it is stored at the end. */
export interface Write {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly proxied: boolean;
  readonly status: number;
  readonly found: number;
  /** True if a watch of this endpoint has shown it. */
  readonly seen: boolean;
}

/** All observations of an upgrade. */
export interface Observations {
  readonly samples: readonly Sample[];
  readonly sights: readonly Sight[];
  readonly writes: readonly Write[];
  /** Steps of the upgrade. */
  readonly steps: readonly { readonly name: string; readonly from: number; readonly to: number }[];
  /** Why the upgrade did not finish. */
  readonly failure?: string | undefined;
}

/** The answers of all endpoints of one kind. */
export interface Verdict {
  readonly requests: number;
  readonly unansweredReads: number;
  readonly unansweredWrites: number;
  readonly refusedUsers: number;
  readonly wrongNotFound: number;
  readonly unavailable: number;
  readonly other: number;
  readonly confirmedWrites: number;
  readonly lostWrites: number;
  readonly doubledWrites: number;
  readonly lostEvents: number;
}

/** A request whose answer no client should get. */
export interface WrongRequest {
  /** The name of its endpoint. */
  readonly way: string;
  readonly kind: Sample['kind'];
  /** Milliseconds since the start of the load. */
  readonly afterMs: number;
  /** Until its answer, or until it failed. */
  readonly tookMs: number;
  /** 0 without an answer. */
  readonly status: number;
  readonly outcome: Outcome;
  readonly error?: string | undefined;
  /**
   * The longest time that a server took to give a client of its own an answer 2xx, of those that ran at the same time;
   * undefined without one.
   */
  readonly serverMs?: number | undefined;
}

/** The behaviour of the operator. */
export interface OperatorVerdict {
  /** How long `Converged` was `True` between the first server's stop and the last one's return. */
  readonly convergedMs: number;
  /** The longest time for which it stayed `True` although a server was not ready or had another version. */
  readonly wronglyConvergedMs: number;
  /** Longest time between two confirmations of the table. */
  readonly silenceMs: number;
}

/** No client should wait longer. */
export const answerBoundMs = 5_000;
/** A report names so many wrong answers of each kind. */
const namedOfKind = 10;
/** The operator confirms its table every 5 s, and may be late by 5 s. */
export const silenceBoundMs = 10_000;
/** The operator asks a ready server every 2 s. Its answer, the write of the status and the next look take time. */
export const wronglyConvergedBoundMs = 5_000;

/** Classifies an answer before it is known which answer would have been right. */
export function outcomeOf(status: number, tookMs: number): Outcome {
  if (status === 0 || tookMs > answerBoundMs) return 'noAnswer';
  if (status >= 200 && status < 300) return 'ok';
  if (status === 401 || status === 403) return 'refusedUser';
  if (status === 404) return 'notFound';
  return status === 503 || status === 504 || status === 429 ? 'unavailable' : 'other';
}

/** The time of the first 200 for the new API. From then on, a 404 for it is wrong. */
export function servedSince(samples: readonly Sample[]): number {
  const answered = samples.filter(({ kind, outcome }) => kind === 'new' && outcome === 'ok');
  return answered.reduce(
    (first, { startedAt, tookMs }) => Math.min(first, startedAt + tookMs),
    Number.POSITIVE_INFINITY,
  );
}

/** True if the answer is 404, although a server of the control plane serves the resource. */
function isWrongNotFound({ outcome, kind, startedAt }: Sample, servedFrom: number): boolean {
  return outcome === 'notFound' && (kind !== 'new' || startedAt > servedFrom);
}

/** True for an answer that no client should get: none, 401 or 403, or a wrong 404. */
export function isWrong(sample: Sample, servedFrom: number): boolean {
  return sample.outcome === 'noAnswer' || sample.outcome === 'refusedUser' || isWrongNotFound(sample, servedFrom);
}

/** Judges the answers of the endpoints of one kind. */
export function judge({ samples, writes }: Observations, proxied: boolean): Verdict {
  const mine = samples.filter((sample) => sample.proxied === proxied);
  const servedFrom = servedSince(samples);
  const count = (is: (sample: Sample) => boolean) => mine.filter(is).length;
  const confirmed = writes.filter((write) => write.proxied === proxied && write.status === 201);
  return {
    requests: mine.length,
    unansweredReads: count(({ kind, outcome }) => outcome === 'noAnswer' && kind !== 'write'),
    unansweredWrites: count(({ kind, outcome }) => outcome === 'noAnswer' && kind === 'write'),
    refusedUsers: count(({ outcome }) => outcome === 'refusedUser'),
    wrongNotFound: count((sample) => isWrongNotFound(sample, servedFrom)),
    unavailable: count(({ outcome }) => outcome === 'unavailable'),
    other: count(({ outcome }) => outcome === 'other'),
    confirmedWrites: confirmed.length,
    lostWrites: confirmed.filter(({ found }) => found === 0).length,
    doubledWrites: writes.filter((write) => write.proxied === proxied && write.found > 1).length,
    lostEvents: confirmed.filter(({ found, seen }) => found > 0 && !seen).length,
  };
}

/** The time of the first observation. */
export function startOf({ samples, sights }: Observations): number {
  return Math.min(samples[0]?.startedAt ?? Number.POSITIVE_INFINITY, sights[0]?.at ?? Number.POSITIVE_INFINITY);
}

/**
 * The first requests through proxies with an answer that no client should get: some of each kind of answer, in the
 * order of their start. Each tells how long a server took for answers of its own at that time, because a proxy cannot
 * be quicker than the servers behind it.
 */
export function wrongRequests(observations: Observations): readonly WrongRequest[] {
  const { samples } = observations;
  const servedFrom = servedSince(samples);
  const start = startOf(observations);
  const straight = samples.filter((sample) => !sample.proxied && sample.status >= 200 && sample.status < 300);
  const named = new Map<Outcome, number>();
  return samples
    .filter((sample) => sample.proxied && isWrong(sample, servedFrom))
    .toSorted((one, other) => one.startedAt - other.startedAt)
    .filter(({ outcome }) => {
      const before = named.get(outcome) ?? 0;
      named.set(outcome, before + 1);
      return before < namedOfKind;
    })
    .map(({ way, kind, startedAt, tookMs, status, outcome, error }) => {
      const beside = straight.filter(
        (other) => other.startedAt < startedAt + tookMs && other.startedAt + other.tookMs > startedAt,
      );
      const serverMs = beside.reduce<number | undefined>((most, other) => Math.max(most ?? 0, other.tookMs), undefined);
      return { way, kind, afterMs: startedAt - start, tookMs, status, outcome, error, serverMs };
    });
}

/** Judges the operator by the observations. */
export function judgeOperator({ sights }: Observations): OperatorVerdict {
  const away = ({ servers }: Sight) => servers.includes(undefined) || new Set(servers).size > 1;
  const first = sights.findIndex(away);
  const last = sights.findLastIndex(away);
  const between = first < 0 ? [] : sights.slice(first, last + 1);
  const convergedMs = between.reduce((sum, { at, converged }, index) => {
    const next = between[index + 1];
    return sum + (converged === 'True' && next !== undefined ? next.at - at : 0);
  }, 0);
  let wronglyConvergedMs = 0;
  let since: number | undefined;
  for (const sight of sights) {
    if (since !== undefined) wronglyConvergedMs = Math.max(wronglyConvergedMs, sight.at - since);
    if (sight.converged !== 'True' || !away(sight)) since = undefined;
    else since ??= sight.at;
  }
  const confirmations = [...new Set(sights.flatMap(({ confirmedAt }) => confirmedAt ?? []))].sort((a, b) => a - b);
  const gaps = confirmations.slice(1).map((at, index) => at - (confirmations[index] ?? at));
  return { convergedMs, wronglyConvergedMs, silenceMs: Math.max(0, ...gaps) };
}

/** The requirements that a verdict does not meet. */
export function shortcomings(verdict: Verdict, operator: OperatorVerdict): readonly string[] {
  const none = (what: string, n: number) => (n === 0 ? [] : [`${n} ${what}`]);
  return [
    ...none(`reads without an answer within ${answerBoundMs / 1_000} s`, verdict.unansweredReads),
    ...none(`writes without an answer within ${answerBoundMs / 1_000} s`, verdict.unansweredWrites),
    ...none('requests answered 401 or 403', verdict.refusedUsers),
    ...none('wrong 404s', verdict.wrongNotFound),
    ...none('confirmed writes lost', verdict.lostWrites),
    ...none('writes carried out twice', verdict.doubledWrites),
    ...none('confirmed writes that no watch showed', verdict.lostEvents),
    ...(operator.wronglyConvergedMs > wronglyConvergedBoundMs
      ? [`Converged stayed True for ${(operator.wronglyConvergedMs / 1_000).toFixed(1)} s without reason`]
      : []),
    ...(operator.silenceMs > silenceBoundMs
      ? [`the operator did not confirm the table for ${(operator.silenceMs / 1_000).toFixed(1)} s (due every 5 s)`]
      : []),
  ];
}
