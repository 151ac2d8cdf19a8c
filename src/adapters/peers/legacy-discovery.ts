import PQueue from 'p-queue';
import type { GroupDiscovery } from '../../domain/discovery-document.ts';
import {
  type LegacyGroup,
  type LegacyResources,
  legacyToGroup,
  parseLegacyGroups,
} from '../../domain/legacy-to-groups.ts';

const concurrency = 4;

/**
 * Walks every group-version of a legacy `/api` or `/apis` document. Returns all of it, or an error.
 *
 * `fetchList` returns the `APIResourceList` at a path, or `missing` if the server answers 404 or 503. Such a version
 * becomes `Stale` without resources, just as client-go reports it as a failed group-version.
 */
export async function walkLegacyDiscovery(
  document: unknown,
  fetchList: (path: string) => Promise<LegacyResources>,
): Promise<GroupDiscovery[]> {
  const groups = parseLegacyGroups(document);
  const queue = new PQueue({ concurrency });
  const paths = groups.flatMap((group) => group.versions.map((version) => groupVersionPath(group, version)));
  try {
    const answers = await Promise.all(
      paths.map((path) => queue.add(async () => [path, await fetchList(path)] as const)),
    );
    const byPath = new Map(answers);
    return groups.map((group) =>
      legacyToGroup(group, (version) => byPath.get(groupVersionPath(group, version)) ?? { kind: 'missing' }),
    );
  } finally {
    queue.clear();
  }
}

function groupVersionPath(group: LegacyGroup, version: string): string {
  return group.name === '' ? `/api/${version}` : `/apis/${group.name}/${version}`;
}
