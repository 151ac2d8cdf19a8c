import { loadavg } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import {
  answerBoundMs,
  judge,
  judgeOperator,
  type Observations,
  type OperatorVerdict,
  outcomeOf,
  type Sample,
  type Verdict,
} from './samples.ts';

/** A period in which an endpoint was unreachable because its machine or proxy was off. */
export interface Off {
  /** The name of the endpoint. */
  readonly way: string;
  readonly from: number;
  readonly to: number;
  /** `all`: a request may hang or break. `refused`: only its connection may be refused. */
  readonly excuses: 'all' | 'refused';
}

/** The results of an event besides what clients saw. */
export interface Outcome {
  readonly offs?: readonly Off[];
  /** Requirements of this event that were not met. */
  readonly problems?: readonly string[];
  /** For the report: the affected machine, and other details. */
  readonly notes?: readonly string[];
  /** The time that recovery from this event needs by design. It is added to the bound for all events. */
  readonly allowedMs?: number;
}

/** All events, in the order in which they happen. */
export const lifeEventIds = [
  'nothing',
  'drain',
  'certificates',
  'power',
  'network',
  'confined',
  'upgrade',
  'operator',
  'removed',
  'fourth',
  'front-proxy-ca',
  'cluster-ca',
] as const;

/** One kind of event in the life of a cluster. */
export interface LifeEvent {
  /** The id that selects it on the command line. */
  readonly id: (typeof lifeEventIds)[number];
  /** Its name in the report. */
  readonly name: string;
  /** The action, as a sentence for the report. */
  readonly does: string;
  run(): Promise<Outcome>;
}

/** An event that is over. */
export interface LivedEvent extends Required<Outcome> {
  readonly id: LifeEvent['id'];
  readonly name: string;
  readonly does: string;
  readonly from: number;
  /** The time at which the action was complete. */
  readonly actedAt: number;
  /** The time of full recovery; undefined if there was none. */
  readonly rightAt: number | undefined;
  readonly to: number;
  /** The load average of this machine at the end. Above the number of cores, all programs wait. */
  readonly loadAverage: number;
}

/** The checks before and after each event. */
export interface Health {
  /** Resolves to a description of what is not healthy yet; undefined if everything is. */
  ask(): Promise<string | undefined>;
}

/** Everything that the load has seen. */
export type Seen = Pick<Observations, 'samples' | 'sights' | 'writes'>;

/** The verdict on an event. */
export interface LifeVerdict {
  readonly through: Verdict;
  readonly straight: Verdict;
  readonly operator: OperatorVerdict;
  /** Of the unanswered requests through proxies, those that got an answer later. */
  readonly late: number;
  /** The number of answers through proxies that were as late as those of the servers themselves. */
  readonly lateAsDirect: number;
  /** How long each endpoint refused connections while that was excused, in milliseconds. */
  readonly refused: readonly (readonly [string, number])[];
  /** Requirements that were not met. */
  readonly short: readonly string[];
}

/** The longest permitted time from the action to full recovery. */
export const rightBoundMs = 120_000;
/** A proxy that is replaced refuses connections for less time than this, until the next one listens. */
export const refusedBoundMs = 30_000;
/** The interval of the checks, and how long clients run after an event. */
interface Pace {
  readonly everyMs: number;
  readonly settleMs: number;
}

const inTime = `within ${answerBoundMs / 1_000} s`;
/** Answers to requests within this time of each other are compared. */
const sameTimeMs = 2_000;
const pace: Pace = { everyMs: 1_000, settleMs: 5_000 };
/** How long the run waits for full recovery from an event that needs no extra time. */
const patienceMs = 300_000;
/** After this many good checks in a row, one each second, the cluster counts as recovered. */
const rounds = 5;

/** Resolves to the time of the first of several good checks in a row; undefined if there were none in that time. */
export async function waitUntilRight(
  health: Health,
  { everyMs, boundMs = patienceMs }: Pick<Pace, 'everyMs'> & { readonly boundMs?: number } = pace,
): Promise<{ at: number | undefined; missing: string }> {
  let good = 0;
  let since = 0;
  let missing = '';
  const at = await waitUntil(
    'a healthy cluster',
    async () => {
      const now = Date.now();
      const wrong = await health.ask();
      if (wrong !== undefined) {
        good = 0;
        missing = wrong;
        return undefined;
      }
      if (good === 0) since = now;
      good += 1;
      return good === rounds ? since : undefined;
    },
    { boundMs, everyMs },
  ).catch(() => undefined);
  return { at, missing };
}

/** Runs an event, then waits for full recovery. */
export async function live({ id, name, does, run }: LifeEvent, health: Health, at: Pace = pace): Promise<LivedEvent> {
  const from = Date.now();
  const outcome = await run().catch((error: unknown): Outcome => {
    const message = error instanceof Error ? error.message : String(error);
    return { problems: [`it did not finish: ${message}`] };
  });
  const actedAt = Date.now();
  const { offs = [], problems = [], notes = [], allowedMs = 0 } = outcome;
  const boundMs = patienceMs + allowedMs;
  const { at: rightAt, missing } = await waitUntilRight(health, { ...at, boundMs });
  // Time for the last requests of the clients.
  await setTimeout(at.settleMs);
  const never = rightAt === undefined ? [`no full recovery within ${boundMs / 60_000} minutes: ${missing}`] : [];
  const to = Date.now();
  const [loadAverage = 0] = loadavg();
  return {
    id,
    name,
    does,
    from,
    actedAt,
    rightAt,
    to,
    loadAverage,
    offs,
    problems: [...problems, ...never],
    notes,
    allowedMs,
  };
}

/** Judges what clients saw from the beginning of an event to its end. */
export function judgeEvent(event: LivedEvent, { samples, sights, writes }: Seen): LifeVerdict {
  const isIn = ({ startedAt }: { readonly startedAt: number }) => startedAt >= event.from && startedAt < event.to;
  const own = samples.filter((sample) => isIn(sample) && !isExcused(sample, event.offs));
  const lateServers = own.filter((sample) => !sample.proxied && isLate(sample));
  const isLateAsDirect = (sample: Sample) =>
    sample.proxied &&
    isLate(sample) &&
    lateServers.some(({ startedAt }) => Math.abs(startedAt - sample.startedAt) <= sameTimeMs);
  const observed: Observations = {
    // The whole cluster has one version, so a 404 for its new API is always wrong.
    samples: own
      .map((sample) => (sample.kind === 'new' ? { ...sample, kind: 'read' as const } : sample))
      // A proxy cannot answer earlier than the servers.
      .map((sample) => (isLateAsDirect(sample) ? { ...sample, outcome: outcomeOf(sample.status, 0) } : sample)),
    writes: writes.filter(isIn),
    sights: sights.filter(({ at }) => at >= event.from && at < event.to),
    steps: [],
  };
  const through = judge(observed, true);
  const none = (n: number, what: string) => (n === 0 ? [] : [`${n} ${what}`]);
  const late = event.rightAt === undefined ? 0 : event.rightAt - event.actedAt;
  const refused = refusedFor(event, samples);
  const short = [
    ...event.problems,
    ...refused
      .filter(([, ms]) => ms > refusedBoundMs)
      .map(([way, ms]) => `${way} refused connections for ${(ms / 1_000).toFixed(0)} s`),
    ...none(through.unansweredReads, `reads without an answer ${inTime}`),
    ...none(through.unansweredWrites, `writes without an answer ${inTime}`),
    ...none(through.refusedUsers, 'requests answered 401 or 403'),
    ...none(through.wrongNotFound, 'wrong 404s'),
    ...none(through.lostWrites, 'confirmed writes lost'),
    ...none(through.doubledWrites, 'writes carried out twice'),
    ...none(through.lostEvents, 'confirmed writes that no watch showed'),
    ...(late > rightBoundMs + event.allowedMs ? [`${(late / 1_000).toFixed(0)} s until full recovery`] : []),
  ];
  return {
    through,
    straight: judge(observed, false),
    operator: judgeOperator(observed),
    late: observed.samples.filter((sample) => sample.proxied && isLate(sample)).length,
    lateAsDirect: own.filter(isLateAsDirect).length,
    refused,
    short,
  };
}

/** True for a request that was answered after the time in which every client should have an answer. */
function isLate({ outcome, status }: Sample): boolean {
  return outcome === 'noAnswer' && status !== 0;
}

/** Requests of an event that failed and are not excused, those through proxies first. */
export function failedIn(event: LivedEvent, samples: readonly Sample[]): readonly Sample[] {
  return samples
    .filter(
      (sample) =>
        sample.outcome !== 'ok' &&
        sample.startedAt >= event.from &&
        sample.startedAt < event.to &&
        !isExcused(sample, event.offs),
    )
    .sort((a, b) => Number(b.proxied) - Number(a.proxied));
}

/** How long each endpoint refused connections while that was excused. */
function refusedFor(event: LivedEvent, samples: readonly Sample[]): readonly (readonly [string, number])[] {
  return event.offs
    .filter(({ excuses }) => excuses === 'refused')
    .map((off) => {
      const times = samples
        .filter((sample) => sample.way === off.way && isExcused(sample, [off]))
        .map(({ startedAt }) => startedAt);
      return [off.way, times.length === 0 ? 0 : Math.max(...times) - Math.min(...times)] as const;
    });
}

/** True for an unanswered request to an endpoint that was unreachable meanwhile. */
function isExcused({ way, outcome, startedAt, tookMs, error }: Sample, offs: readonly Off[]): boolean {
  if (outcome !== 'noAnswer') return false;
  return offs.some(
    (off) =>
      off.way === way &&
      startedAt <= off.to &&
      startedAt + tookMs >= off.from &&
      (off.excuses === 'all' || error?.includes('ECONNREFUSED') === true),
  );
}
