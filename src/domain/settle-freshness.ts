import type { GroupDiscovery, VersionDiscovery } from './discovery-document.ts';

/**
 * Marks a group-version of a merged document as `Stale` if, and only if, every live server that lists it does.
 *
 * Upstream takes the freshness of the server with the lowest id. If that server could not reach an aggregated API for a
 * moment, clients would lose the API. A group-version that is stale at all servers stays `Stale`, so that nothing is
 * masked. If no live server lists it, the merged freshness stands. It never changes its input, and returns `merged`
 * itself if there is nothing to change.
 */
export function settleFreshness(
  merged: readonly GroupDiscovery[],
  live: Iterable<readonly GroupDiscovery[]>,
): readonly GroupDiscovery[] {
  const stale = new Set<string>();
  const current = new Set<string>();
  for (const groups of live)
    for (const { name, versions } of groups)
      for (const version of versions ?? []) (isStale(version) ? stale : current).add(`${name}/${version.version}`);
  const wrong = ({ name }: GroupDiscovery, version: VersionDiscovery) => {
    const key = `${name}/${version.version}`;
    return isStale(version) ? current.has(key) : stale.has(key) && !current.has(key);
  };
  if (!merged.some((group) => group.versions?.some((version) => wrong(group, version)))) return merged;
  return merged.map((group) => {
    if (group.versions === undefined || !group.versions.some((version) => wrong(group, version))) return group;
    const versions = group.versions.map((version) =>
      wrong(group, version) ? { ...version, freshness: isStale(version) ? 'Current' : 'Stale' } : version,
    );
    return { ...group, versions };
  });
}

function isStale({ freshness }: VersionDiscovery): boolean {
  return freshness === 'Stale';
}
