import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { PeerView, UnifiedView } from '../domain/derive-bundle.ts';
import { sameValue } from '../domain/same-value.ts';
import type { LogFields } from '../runtime/log.ts';
import type { Derived } from './derive.ts';
import { deriveStatus, standstillOf, statusDiffers, type Trouble } from './derive-status.ts';
import type { Facts } from './facts.ts';
import type { PassState, ReportSubject } from './pass-state.ts';
import type { Standstill } from './ports.ts';
import { isConfirmationDue, publicationTrouble } from './publish-table.ts';
import type { ControllerSettings } from './read-settings.ts';

/** A message for people, as an Event, in the log, or both. */
export interface Announcement {
  readonly event?: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string };
  readonly log?: { readonly message: string; readonly fields: LogFields };
}

/** The actions for the routing table. */
export interface TablePlan {
  /** Messages about peers. */
  readonly announcements: readonly Announcement[];
  /** The state of each peer after these announcements. */
  readonly announced: ReadonlyMap<string, string>;
  /** To be published, unless it already is. */
  readonly publish: UnifiedView | undefined;
  /** True if proxies should be told that the table holds. */
  readonly confirm: boolean;
}

/** The actions for the object's status once the table's result is known. */
export interface ReportPlan {
  readonly trouble: Trouble | undefined;
  /** What needs an action. */
  readonly standstill: Standstill | undefined;
  /** The inputs of the status; undefined if they are unchanged or it cannot be written yet. */
  readonly about: ReportSubject | undefined;
  /** The status to write; undefined if it says nothing new. */
  readonly status: PeerDiscoveryStatus | undefined;
  /** The text of Stalled, if it is new. */
  readonly announcements: readonly Announcement[];
}

/** Waiting does not help in these states: a peer that starts in one was never healthy. */
const firstSeenBad: ReadonlySet<string> = new Set(['Refused', 'Unresolved']);
/** Between attempts to write a status after a failure. */
const statusRetryMs = 5_000;

/**
 * Publishes a new table, or one that failed to be published before. Confirms when it is due or a proxy has asked, but
 * never while the cluster itself is unknown: proxies take silence as doubt.
 */
export function planTable(
  state: PassState,
  facts: Facts,
  { unified }: Derived,
  settings: Pick<ControllerSettings, 'confirmEveryMs'>,
): TablePlan {
  const { publication, questions } = state;
  const inTrouble = facts.unknown !== undefined || publicationTrouble(publication) !== undefined;
  // Until the published table is known, nothing may replace it: it may be the only knowledge of a server.
  const isRecalled = publication.highest !== undefined;
  const isDue = isConfirmationDue(publication, settings.confirmEveryMs, facts.now) || questions.length > 0;
  return {
    announcements: announcePeers(state.announced, facts.views),
    announced: statesOf(facts.views),
    publish: isRecalled && (unified !== publication.wanted || inTrouble) ? unified : undefined,
    confirm: facts.unknown === undefined && isDue,
  };
}

/** Writes a status that has news, and reports once each trouble that needs an action. */
export function planReport(
  { publication, report, refused }: PassState,
  facts: Facts,
  derived: Derived,
  settings: Pick<ControllerSettings, 'generation' | 'routingTable'>,
  dateOf: (at: number) => number,
): ReportPlan {
  const trouble = publicationTrouble(publication) ?? facts.unknown;
  const { published } = publication;
  const about = { derived, revision: published?.revision ?? 0, trouble, refused };
  const standstill = standstillOf(trouble, refused);
  const announcements = announceStandstill(report.standstill, standstill);
  const isWaiting = report.failedAt !== undefined && facts.now - report.failedAt < statusRetryMs;
  if (isWaiting || (report.about !== undefined && sameSubject(report.about, about)))
    return { trouble, standstill, about: undefined, status: undefined, announcements };
  const status = deriveStatus(
    {
      generation: settings.generation,
      refused,
      unified: derived.unified,
      views: facts.views,
      leaseProblems: facts.problems,
      routingTable: settings.routingTable,
      ...(published !== undefined && { published }),
      ...(trouble !== undefined && { trouble }),
    },
    report.status,
    facts.now,
    dateOf,
  );
  return {
    trouble,
    standstill,
    about,
    announcements,
    status: statusDiffers(report.status, status) ? status : undefined,
  };
}

function announceStandstill(told: Standstill | undefined, standstill: Standstill | undefined): readonly Announcement[] {
  if (standstill === undefined || sameValue(standstill, told)) return [];
  const { reason, message } = standstill;
  return [{ event: { type: 'Warning', reason, message } }];
}

function announcePeers(before: ReadonlyMap<string, string>, views: readonly PeerView[]): readonly Announcement[] {
  const present = statesOf(views);
  const left = [...before.keys()].filter((id) => !present.has(id));
  return [
    ...views.flatMap((view) => announcePeer(before.get(view.seen.peer.id), view)),
    ...left.map((peer) => ({ log: { message: 'a peer left', fields: { peer } } })),
  ];
}

function announcePeer(before: string | undefined, { seen: { peer }, assessment }: PeerView): readonly Announcement[] {
  const { state, message: why } = assessment;
  const isGood = state === 'Ready';
  if (before === state || (before === undefined && !isGood && !firstSeenBad.has(state))) return [];
  const who = `${peer.hostname ?? peer.id} (${peer.address ?? 'no address'})`;
  return [
    {
      event: { type: isGood ? 'Normal' : 'Warning', reason: `Peer${state}`, message: `${who}: ${why}` },
      log: { message: 'a peer changed its state', fields: { peer: peer.id, who, before, state, why } },
    },
  ];
}

function statesOf(views: readonly PeerView[]): ReadonlyMap<string, string> {
  return new Map(views.map(({ seen, assessment }) => [seen.peer.id, assessment.state]));
}

function sameSubject(a: ReportSubject, b: ReportSubject): boolean {
  return (
    a.derived === b.derived &&
    a.revision === b.revision &&
    sameValue(a.trouble, b.trouble) &&
    sameValue(a.refused, b.refused)
  );
}
