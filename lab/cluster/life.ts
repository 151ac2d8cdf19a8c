import { setTimeout } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import { judge, judgeOperator, type Observations, type OperatorVerdict, type Sample, type Verdict } from './samples.ts';

/** Time in which a way led nowhere because what it leads to was off. */
export interface Off {
  /** Name of the way. */
  readonly way: string;
  readonly from: number;
  readonly to: number;
  /** `all`: a request may hang or break. `refused`: only its connection may be refused. */
  readonly excuses: 'all' | 'refused';
}

/** What an event did, besides what clients saw of it. */
export interface Outcome {
  readonly offs?: readonly Off[];
  /** What should hold of this event and did not. */
  readonly problems?: readonly string[];
  /** Which machine it was, and what else a reader wants to know. */
  readonly notes?: readonly string[];
}

/** All events, in the order in which they happen. */
export const lifeEventIds = ['nothing', 'drain', 'certificates', 'power', 'network', 'upgrade'] as const;

/** Something that happens to a cluster in its life. */
export interface LifeEvent {
  /** By which it is chosen. */
  readonly id: (typeof lifeEventIds)[number];
  /** As the report calls it. */
  readonly name: string;
  /** What is done, as a sentence for the report. */
  readonly does: string;
  run(): Promise<Outcome>;
}

/** An event that is over. */
export interface LivedEvent extends Required<Outcome> {
  readonly name: string;
  readonly does: string;
  readonly from: number;
  /** When what was done was done. */
  readonly actedAt: number;
  /** When all was right again, undefined if it never was. */
  readonly rightAt: number | undefined;
  readonly to: number;
}

/** What is to be right before and after each event. */
export interface Health {
  /** Resolves to what is not right yet; to undefined when nothing is missing. */
  ask(): Promise<string | undefined>;
}

/** Everything that the load has seen. */
export type Seen = Pick<Observations, 'samples' | 'sights' | 'writes'>;

/** What a lived event is judged to be. */
export interface LifeVerdict {
  readonly through: Verdict;
  readonly straight: Verdict;
  readonly operator: OperatorVerdict;
  /** What was to hold and did not. */
  readonly short: readonly string[];
}

/** How long it may take until all is right again after what was done. */
export const rightBoundMs = 120_000;
/** A proxy that is replaced refuses connections for less, until the next one listens. */
export const refusedBoundMs = 30_000;
/** How often all is looked at, and how long clients are watched afterwards. */
interface Pace {
  readonly everyMs: number;
  readonly settleMs: number;
}

const pace: Pace = { everyMs: 1_000, settleMs: 5_000 };
/** After this many good rounds in a row, one each second, all counts as right. */
const rounds = 5;

/** Resolves to the first of several good moments in a row; to undefined if there was none in five minutes. */
export async function waitUntilRight(
  health: Health,
  { everyMs }: Pick<Pace, 'everyMs'> = pace,
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
    { boundMs: 300_000, everyMs },
  ).catch(() => undefined);
  return { at, missing };
}

/** Lets an event happen, then waits until all is right again. */
export async function live({ name, does, run }: LifeEvent, health: Health, at: Pace = pace): Promise<LivedEvent> {
  const from = Date.now();
  const outcome = await run().catch((error: unknown): Outcome => {
    const message = error instanceof Error ? error.message : String(error);
    return { problems: [`it did not finish: ${message}`] };
  });
  const actedAt = Date.now();
  const { at: rightAt, missing } = await waitUntilRight(health, at);
  // For what clients see last.
  await setTimeout(at.settleMs);
  const { offs = [], problems = [], notes = [] } = outcome;
  const never = rightAt === undefined ? [`no full recovery within five minutes: ${missing}`] : [];
  return { name, does, from, actedAt, rightAt, to: Date.now(), offs, problems: [...problems, ...never], notes };
}

/** Judges what clients saw from the beginning of an event to its end. */
export function judgeEvent(event: LivedEvent, { samples, sights, writes }: Seen): LifeVerdict {
  const isIn = ({ startedAt }: { readonly startedAt: number }) => startedAt >= event.from && startedAt < event.to;
  const observed: Observations = {
    // The whole cluster is of one version: 404 for what is new in it is wrong at any time.
    samples: samples
      .filter((sample) => isIn(sample) && !isExcused(sample, event.offs))
      .map((sample) => (sample.kind === 'new' ? { ...sample, kind: 'read' } : sample)),
    writes: writes.filter(isIn),
    sights: sights.filter(({ at }) => at >= event.from && at < event.to),
    steps: [],
  };
  const through = judge(observed, true);
  const none = (n: number, what: string) => (n === 0 ? [] : [`${n} ${what}`]);
  const late = event.rightAt === undefined ? 0 : event.rightAt - event.actedAt;
  const refused = refusedFor(event, samples).filter(([, ms]) => ms > refusedBoundMs);
  const short = [
    ...event.problems,
    ...refused.map(([way, ms]) => `${way} refused connections for ${(ms / 1_000).toFixed(0)} s`),
    ...none(through.unansweredReads, 'reads without an answer'),
    ...none(through.unansweredWrites, 'writes without an answer'),
    ...none(through.refusedUsers, 'requests answered 401 or 403'),
    ...none(through.wrongNotFound, 'wrong 404s'),
    ...none(through.lostWrites, 'confirmed writes lost'),
    ...none(through.doubledWrites, 'writes carried out twice'),
    ...none(through.lostEvents, 'confirmed writes that no watch showed'),
    ...(late > rightBoundMs ? [`${(late / 1_000).toFixed(0)} s until full recovery`] : []),
  ];
  return { through, straight: judge(observed, false), operator: judgeOperator(observed), short };
}

/** For how long each way refused connections where that is excused. */
export function refusedFor(event: LivedEvent, samples: readonly Sample[]): readonly (readonly [string, number])[] {
  return event.offs
    .filter(({ excuses }) => excuses === 'refused')
    .map((off) => {
      const times = samples
        .filter((sample) => sample.way === off.way && isExcused(sample, [off]))
        .map(({ startedAt }) => startedAt);
      return [off.way, times.length === 0 ? 0 : Math.max(...times) - Math.min(...times)] as const;
    });
}

/** True for a request without an answer over a way that led nowhere meanwhile. */
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
