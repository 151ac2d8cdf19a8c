import type { FieldDifferenceStatus, PeerDiscoveryStatus } from '../api/peer-discovery.ts';

/** How two peers differ in the fields of one resource. */
export interface PeerFields {
  readonly group: string;
  readonly resource: string;
  /** Paths of fields that only this side knows, cut if there are many. */
  readonly onlyLeft: readonly string[];
  readonly onlyRight: readonly string[];
  /** Paths of fields that both have but describe in different words. */
  readonly described: readonly string[];
}

/** The fields that two peers know differently, for resources that only one of them may write, by peer ids. */
export function comparePeerFields(
  status: PeerDiscoveryStatus | undefined,
  left: string,
  right: string,
): readonly PeerFields[] {
  return (status?.fieldDifferences ?? []).flatMap((row): PeerFields[] => {
    const isLeft = row.writers.includes(left);
    if (isLeft === row.writers.includes(right)) return [];
    const other = isLeft ? right : left;
    // A stand-in knows every field that the writers know.
    const appearing = row.standIns?.includes(other) === true ? [] : pathsOf(row.appearing);
    const disappearing = pathsOf(row.disappearing);
    return [
      {
        group: row.group,
        resource: row.resource,
        onlyLeft: isLeft ? appearing : disappearing,
        onlyRight: isLeft ? disappearing : appearing,
        described: pathsOf(row.described),
      },
    ];
  });
}

/** The paths, and the number of further ones. */
function pathsOf(list: FieldDifferenceStatus['appearing']): readonly string[] {
  if (list === undefined) return [];
  const paths = list.paths.map((path) => (path === '' ? '(the kind itself)' : path));
  const more = list.count - list.paths.length;
  return more > 0 ? [...paths, `(${more} more)`] : paths;
}
