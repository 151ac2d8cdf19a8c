import { generateGroups, laggingServer, rawList as listOf, olderRelease } from '../../lab/generated-discovery.ts';
import { seededRandom } from '../../lab/seeded-random.ts';
import type { DocumentSet, RawDiscoveryList } from './discovery-builders.ts';

/**
 * Sets of documents as in real fleets: most servers have one of two or three releases and send identical documents,
 * some lag behind, and the order of ids mixes them.
 */
export function realisticDocumentSets(options: {
  readonly count: number;
  readonly servers: number;
  readonly resources: number;
  readonly seed: number;
  /** Sets of exactly this size, instead of up to it. */
  readonly exactly?: boolean;
}): readonly DocumentSet[] {
  const random = seededRandom(options.seed);
  const upTo = (most: number) => (options.exactly ? most : 1 + Math.floor(random() * most));
  return Array.from({ length: options.count }, () => {
    const newest = generateGroups(upTo(options.resources), random);
    const older = olderRelease(newest, random);
    const releases = [newest, older, olderRelease(older, random)].map(rawList);
    const ids = Array.from({ length: upTo(options.servers) }, () => `apiserver-${Math.floor(random() * 1e9)}`);
    const servers = ids.map((id) => {
      const release = releases[Math.floor(random() * releases.length)] as RawDiscoveryList;
      return [id, random() < 0.1 ? rawList(laggingServer(newest, random)) : release] as const;
    });
    return { local: ids[Math.floor(random() * ids.length)] ?? '', servers: Object.fromEntries(servers) };
  });
}

function rawList(groups: Parameters<typeof listOf>[0]): RawDiscoveryList {
  return listOf(groups) as RawDiscoveryList;
}
