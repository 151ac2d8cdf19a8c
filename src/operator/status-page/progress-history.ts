import type { PeerView, UnifiedView } from '../../domain/derive-bundle.ts';
import { judgeConvergence } from '../../domain/judge-convergence.ts';
import { showServedVersion } from '../../domain/served-version.ts';

/** The state of the control plane from one moment until the next entry. */
export interface ProgressEntry {
  /** Milliseconds of the recording clock; in reports, since the epoch. */
  readonly at: number;
  /** Number of peers by version; `unknown` counts those that reported none. */
  readonly versions: Readonly<Record<string, number>>;
  readonly peers: number;
  readonly ready: number;
  /** Whether all peers serve the same. Unknown while one is away or its resources are unknown. */
  readonly converged: 'True' | 'False' | 'Unknown';
  /** True while absence from the table proved nothing. */
  readonly inDoubt: boolean;
  readonly differences: number;
}

/** The course of each PeerDiscovery since the operator began to lead. */
export interface ProgressHistory {
  record(name: string, views: readonly PeerView[], unified: UnifiedView, at: number): void;
  of(name: string): readonly ProgressEntry[];
  forget(name: string): void;
}

/**
 * Keeps at most `limit` entries for each object, and only changes. It drops the shortest phases first, so that long
 * ones survive however often a server flaps.
 */
export function createProgressHistory(limit = 240): ProgressHistory {
  const entries = new Map<string, ProgressEntry[]>();
  return {
    record(name, views, unified, at) {
      const list = entries.get(name) ?? [];
      entries.set(name, list);
      const entry = summarize(views, unified, at);
      const last = list.at(-1);
      if (last !== undefined && sameEntry(last, entry)) return;
      list.push(entry);
      if (list.length > limit) list.splice(shortestPhase(list), 1);
    },
    of: (name) => [...(entries.get(name) ?? [])],
    forget: (name) => void entries.delete(name),
  };
}

function summarize(views: readonly PeerView[], unified: UnifiedView, at: number): ProgressEntry {
  const versions: Record<string, number> = {};
  let ready = 0;
  let peers = 0;
  for (const { seen, assessment } of views) {
    if (assessment.state === 'Gone') continue;
    const version = showServedVersion(seen)?.slice(0, 40) ?? 'unknown';
    versions[version] = (versions[version] ?? 0) + 1;
    peers += 1;
    if (assessment.state === 'Ready') ready += 1;
  }
  const differences = unified.divergent.length;
  const converged = judgeConvergence(views, unified).status;
  return { at, versions, peers, ready, converged, inDoubt: unified.doubts.length > 0, differences };
}

function sameEntry(a: ProgressEntry, b: ProgressEntry): boolean {
  const names = Object.keys(a.versions);
  return (
    a.peers === b.peers &&
    a.ready === b.ready &&
    a.converged === b.converged &&
    a.inDoubt === b.inDoubt &&
    a.differences === b.differences &&
    names.length === Object.keys(b.versions).length &&
    names.every((name) => a.versions[name] === b.versions[name])
  );
}

/** Excludes the first entry, which is the start, and the last, which is still running. */
function shortestPhase(list: readonly ProgressEntry[]): number {
  let shortest = 1;
  let shortestMs = Number.POSITIVE_INFINITY;
  for (let index = 1; index < list.length - 1; index += 1) {
    const lasted = (list[index + 1]?.at ?? 0) - (list[index]?.at ?? 0);
    if (lasted < shortestMs) [shortest, shortestMs] = [index, lasted];
  }
  return shortest;
}
