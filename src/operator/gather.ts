import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import { classifyDefined } from '../domain/custom-resources.ts';
import type { PeerView } from '../domain/derive-bundle.ts';
import type { SchemaKnowledge } from '../domain/judge-fields.ts';
import { sameValue } from '../domain/same-value.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Facts } from './facts.ts';
import type { PeerRoster } from './follow-peers.ts';
import { hear, judgeWatches } from './judge-watches.ts';
import type { PassState } from './pass-state.ts';
import type { ClusterSets, SpecRefusal } from './ports.ts';
import { type PublisherContext, recallPublication } from './publish-table.ts';
import type { ControllerSettings } from './read-settings.ts';
import { settleCount } from './settle-count.ts';

/** The sources of a pass. */
export interface Sources {
  readonly settings: Pick<ControllerSettings, 'sources'>;
  readonly sets: ClusterSets;
  readonly roster: Pick<PeerRoster, 'remember' | 'follow' | 'views'>;
  readonly schemas: { readonly knowledge: SchemaKnowledge };
  readonly publishing: Pick<PublisherContext, 'bundles' | 'log'>;
  readonly clock: Clock;
}

/** Reports from outside since the previous pass began. */
export interface Inbox {
  /** True if anything outside has changed. */
  readonly notified: boolean;
  /** Proxies' questions. */
  readonly questions: readonly string[];
  /** The object's status as last seen. */
  readonly status?: PeerDiscoveryStatus | undefined;
  /** A newer spec that is invalid. */
  readonly refused?: SpecRefusal;
}

/** How long a new leader waits for first answers before it publishes without them. */
const firstAnswersMs = 5_000;
/** Maximum number of questions answered at once; there are fewer proxies. */
const maxQuestions = 200;

/** Adds a proxy's question. Beyond the maximum, it drops the oldest, and their proxies ask again. */
export function withQuestion(inbox: Inbox, question: string): Inbox {
  return { ...inbox, notified: true, questions: [...inbox.questions, question].slice(-maxQuestions) };
}

/**
 * Follows the peers that the cluster lists, and records the knowledge about each. There are no facts while the first
 * lists and answers are outstanding.
 */
export async function gather(
  sources: Sources,
  before: PassState,
  inbox: Inbox,
): Promise<{ readonly state: PassState; readonly facts: Facts | undefined }> {
  const { roster, sets, clock } = sources;
  const { publication, known } = await recallPublication(before.publication, sources.publishing, clock.now());
  if (known !== undefined) roster.remember(known);
  const state = { ...takeIn(before, inbox), publication };
  const unknown = judgeWatches(sets, sources.settings.sources, clock.now());
  if (unknown === 'waiting') return { state, facts: undefined };

  const hearing = hear(state.hearing, sets.leases.lastContactAtMs);
  const problems = roster.follow(hearing);
  const now = clock.now();
  const defined = classifyDefined(sets.crds.items().values(), sets.apiServices.items().values(), state.defined, now);
  const { survey, memory: count } = settleCount(roster.views(hearing), state.count, now);
  const next = { ...state, hearing, defined, count };
  if (awaitsFirstAnswers(next, survey.views, now)) return { state: next, facts: undefined };
  const { knowledge } = sources.schemas;
  const { remembered } = publication;
  const { views, doubt } = survey;
  return { state: next, facts: { now, views, doubt, unknown, defined, problems, knowledge, remembered } };
}

/** The state with the inbox. If another client overwrote the status's conditions, the status will be written again. */
function takeIn(state: PassState, { questions, status, refused = state.refused }: Inbox): PassState {
  const report = isOverwritten(state, status) ? { ...state.report, status, about: undefined } : state.report;
  return { ...state, report, refused, questions: [...state.questions, ...questions].slice(-maxQuestions) };
}

/** True if the status has other conditions than the one that was written. */
export function isOverwritten({ report }: PassState, seen: PeerDiscoveryStatus | undefined): boolean {
  if (seen === undefined || report.status === undefined) return false;
  return !sameValue(conditionsOf(seen), conditionsOf(report.status));
}

/** The conditions by type, without their times. */
function conditionsOf({ conditions = [] }: PeerDiscoveryStatus): ReadonlyMap<string, unknown> {
  return new Map(conditions.map(({ type, status, reason, message }) => [type, { status, reason, message }]));
}

/** An earlier leader's table stays in force until there is something better than "not yet asked". */
function awaitsFirstAnswers({ publication, startedAt }: PassState, views: readonly PeerView[], now: number): boolean {
  const asking = views.some(({ assessment }) => ['NotYetProbed', 'NotYetFetched'].includes(assessment.reason));
  return publication.published === undefined && asking && now - startedAt < firstAnswersMs;
}
