import type { GroupDiscovery, VersionDiscovery } from './discovery-document.ts';

/**
 * Calls a group-version of a merged document `Stale` if, and only if, every live server that lists it does.
 *
 * Upstream takes the word of the server with the lowest id: one that cannot reach an aggregated API just now would hide
 * it from clients. One that is dead for all stays `Stale`, so that nothing is masked. Where no live server lists the
 * group-version, the merged word stands. Never changes what it is given, and returns `merged` itself if there is
 * nothing to change.
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
