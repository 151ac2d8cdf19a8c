import type { FieldVerdict } from './judge-fields.ts';
import type { PeerSet, TableGroupVersion, TableResource } from './routing-table.ts';

/**
 * Adds to the rows of a table who may write each resource that servers know differently.
 *
 * A version that no writer serves keeps its row: who serves it is all that there is.
 */
export function withWriters(
  rows: readonly TableGroupVersion[],
  verdicts: readonly FieldVerdict[],
): readonly TableGroupVersion[] {
  if (verdicts.length === 0) return rows;
  const byResource = new Map(verdicts.map((verdict) => [`${verdict.group}/${verdict.resource}`, verdict]));
  const groups = new Set(verdicts.map(({ group }) => group));
  return rows.map((row) => {
    if (!groups.has(row.group) || row.origin !== 'BuiltIn') return row;
    const resources = row.resources.map((resource) => {
      const verdict = byResource.get(`${row.group}/${resource.resource}`);
      return verdict === undefined ? resource : addWriters(resource, verdict);
    });
    return { ...row, resources };
  });
}

function addWriters(resource: TableResource, verdict: FieldVerdict): TableResource {
  const serving = new Set(resource.peers);
  const ofThose = (peers: PeerSet) => peers.filter((peer) => serving.has(peer));
  const writers = ofThose(verdict.writers);
  if (writers.length === 0 || writers.length === serving.size) return resource;
  return { ...resource, writers, standIns: ofThose(verdict.standIns) };
}
