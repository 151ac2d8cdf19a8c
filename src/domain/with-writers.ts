import type { FieldVerdict } from './judge-fields.ts';
import { isStream } from './request-info.ts';
import type { FieldWriters, PeerSet, TableGroupVersion, TableResource } from './routing-table.ts';
import { type WrittenKind, writtenWith } from './written-with.ts';

/**
 * Adds the writers to each resource of a table whose fields differ between servers, and to each subresource that this
 * affects through its body or through other objects that the server writes.
 *
 * If no server knows all fields, there are no writers. If no server keeps even the stored fields, as with a version
 * that no newer server has, every server may stand in.
 */
export function withWriters(
  rows: readonly TableGroupVersion[],
  verdicts: readonly FieldVerdict[],
): readonly TableGroupVersion[] {
  if (verdicts.length === 0) return rows;
  const byName = new Map(verdicts.map((verdict) => [keyOf(verdict), verdict]));
  return rows.map((row) => {
    if (row.origin !== 'BuiltIn') return row;
    const resources = row.resources.map((resource) => addWriters(row.group, resource, byName));
    return resources.some((resource, at) => resource !== row.resources[at]) ? { ...row, resources } : row;
  });
}

type Verdicts = ReadonlyMap<string, FieldVerdict>;

function addWriters(group: string, resource: TableResource, verdicts: Verdicts): TableResource {
  const { resource: name, peers, subresources } = resource;
  const own = combine(peers, writtenWith(group, name, ''), verdicts);
  const different: Record<string, FieldWriters> = {};
  for (const [subresource, serving] of Object.entries(subresources)) {
    if (isStream(subresource)) continue;
    const found = combine(serving, writtenWith(group, name, subresource), verdicts);
    if (!isSame(found ?? everyone(serving), restrict(own ?? everyone(serving), serving)))
      different[subresource] = found ?? everyone(serving);
  }
  const hasDifferent = Object.keys(different).length > 0;
  if (own === undefined && !hasDifferent) return resource;
  return { ...resource, ...own, ...(hasDifferent && { subresourceWriters: different }) };
}

/** The writers of all these kinds; undefined if every server may write them. */
function combine(serving: PeerSet, kinds: readonly WrittenKind[], verdicts: Verdicts): FieldWriters | undefined {
  const found = kinds.flatMap((kind) => verdicts.get(keyOf(kind)) ?? []).map((verdict) => restrict(verdict, serving));
  const bound = found.filter(({ writers }) => writers.length < serving.length);
  if (bound.length === 0) return undefined;
  const able = (fields: FieldWriters) => [...fields.writers, ...fields.standIns];
  const inAll = (sets: readonly PeerSet[]) => serving.filter((peer) => sets.every((set) => set.includes(peer)));
  const writers = inAll(bound.map((fields) => fields.writers));
  const capable = inAll(bound.map(able));
  return { writers, standIns: (capable.length > 0 ? capable : serving).filter((peer) => !writers.includes(peer)) };
}

function restrict({ writers, standIns }: FieldWriters, serving: PeerSet): FieldWriters {
  const ofThose = (peers: PeerSet) => peers.filter((peer) => serving.includes(peer));
  return { writers: ofThose(writers), standIns: ofThose(standIns) };
}

function everyone(serving: PeerSet): FieldWriters {
  return { writers: serving, standIns: [] };
}

function isSame(a: FieldWriters, b: FieldWriters): boolean {
  return a.writers.join() === b.writers.join() && a.standIns.join() === b.standIns.join();
}

function keyOf({ group, resource }: WrittenKind): string {
  return `${group}/${resource}`;
}
