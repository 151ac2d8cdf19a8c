import type { PeerDiscoveryStatus } from '../api/peer-discovery.ts';
import type { DefinedResources } from '../domain/custom-resources.ts';
import type { Derived } from './derive.ts';
import type { Trouble } from './derive-status.ts';
import type { Hearing } from './judge-watches.ts';
import type { SpecRefusal, Standstill } from './ports.ts';
import { type Publication, unreadPublication } from './publish-table.ts';
import { type CountMemory, nothingCounted } from './settle-count.ts';

/** Everything that a pass takes over from the previous one. Each verb makes a new state and changes none. */
export interface PassState {
  readonly startedAt: number;
  /** The state of the Lease watch. */
  readonly hearing: Hearing;
  readonly defined?: DefinedResources | undefined;
  readonly count: CountMemory;
  /** Absent before the first pass and after a failed one: the next pass repeats everything. */
  readonly derived?: Derived | undefined;
  readonly publication: Publication;
  /** Proxies' questions that a confirmation will answer. */
  readonly questions: readonly string[];
  /** The state of each peer in Events and the log, by id. */
  readonly announced: ReadonlyMap<string, string>;
  readonly report: Report;
  /** The newest spec, if it is invalid and this controller follows an older one. */
  readonly refused?: SpecRefusal | undefined;
}

/** The reported status of the object, and the reported standstill. */
export interface Report {
  readonly status?: PeerDiscoveryStatus | undefined;
  /** The inputs of that status; absent if it must be written again. */
  readonly about?: ReportSubject | undefined;
  /** Since when writing it has failed. */
  readonly failedAt?: number | undefined;
  /** The last standstill that an Event reported. */
  readonly standstill?: Standstill | undefined;
}

/** The inputs of a status. */
export interface ReportSubject {
  readonly derived: Derived;
  readonly revision: number;
  readonly trouble: Trouble | undefined;
  readonly refused: SpecRefusal | undefined;
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
