import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { DefinedResources } from '../domain/custom-resources.ts';
import type { Derived } from './derive.ts';
import type { Trouble } from './derive-status.ts';
import type { Hearing } from './judge-watches.ts';
import { type Publication, unreadPublication } from './publish-table.ts';
import { type CountMemory, nothingCounted } from './settle-count.ts';

/** Everything that a pass takes over from the one before; each verb makes the next state and changes none. */
export interface PassState {
  readonly startedAt: number;
  /** Of the watch of the Leases. */
  readonly hearing: Hearing;
  readonly defined?: DefinedResources | undefined;
  readonly count: CountMemory;
  /** Absent before the first pass, and after one that failed: the next one concludes everything anew. */
  readonly derived?: Derived | undefined;
  readonly publication: Publication;
  /** Of proxies, to be answered by a confirmation. */
  readonly questions: readonly string[];
  /** The state of each peer as Events and the log tell it, by id. */
  readonly announced: ReadonlyMap<string, string>;
  readonly report: Report;
}

/** What the object's status says, and what has been told of a standstill. */
export interface Report {
  readonly status?: PeerDiscoveryStatus | undefined;
  /** What that status is about; absent if it is to be written anew. */
  readonly about?: ReportSubject | undefined;
  /** Since when it cannot be written. */
  readonly failedAt?: number | undefined;
  /** The last standstill that an Event told of. */
  readonly standstill?: Trouble | undefined;
}

/** What a status depends on. */
export interface ReportSubject {
  readonly derived: Derived;
  readonly revision: number;
  readonly trouble: Trouble | undefined;
}

/** The state before the first pass. */
export function initialState(now: number, status: PeerDiscoveryStatus | undefined): PassState {
  return {
    startedAt: now,
    hearing: { since: now, at: now },
    count: nothingCounted,
    publication: unreadPublication,
    questions: [],
    announced: new Map(),
    report: { status },
  };
}
