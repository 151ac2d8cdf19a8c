import type {
  GroupDiscovery,
  ResourceDiscovery,
  SubresourceDiscovery,
  VersionDiscovery,
} from '../src/domain/discovery-document.ts';

const verbs = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];
const subresourceVerbs = ['get', 'patch', 'update'];

/**
 * The discovery of a server with this many resources: groups of one to forty, some in two versions, a twentieth in one.
 */
export function generateGroups(resources: number, random: () => number): readonly GroupDiscovery[] {
  const groups: GroupDiscovery[] = [];
  let left = resources;
  for (let index = 0; left > 0; index++) {
    const size = index === 0 ? Math.ceil(resources / 20) : Math.ceil(random() * 40);
    const name = `group-${index}.example.com`;
    const listed = Array.from({ length: Math.min(size, left) }, (_, at) => generateResource(name, 'v1', at, random));
    left -= listed.length;
    const versions: VersionDiscovery[] = [{ version: 'v1', resources: listed, freshness: 'Current' }];
    if (random() < 0.3 && left > 0) {
      const older = listed.slice(0, Math.min(left, Math.ceil(listed.length / 2)));
      left -= older.length;
      versions.push({
        version: 'v1beta1',
        resources: older.map((entry) => asVersion(entry, 'v1beta1')),
        freshness: 'Current',
      });
    }
    groups.push({ name, versions });
  }
  return groups;
}

function generateResource(group: string, version: string, at: number, random: () => number): ResourceDiscovery {
  const kind = `Kind${Math.floor(random() * 1e6)}Of${at}`;
  const subresources: SubresourceDiscovery[] = [];
  if (random() < 0.2)
    subresources.push({
      subresource: 'scale',
      responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
      verbs: subresourceVerbs,
    });
  if (random() < 0.8)
    subresources.push({ subresource: 'status', responseKind: { group, version, kind }, verbs: subresourceVerbs });
  return {
    resource: `${kind.toLowerCase()}s`,
    responseKind: { group, version, kind },
    scope: random() < 0.8 ? 'Namespaced' : 'Cluster',
    singularResource: kind.toLowerCase(),
    verbs,
    ...(random() < 0.3 && { shortNames: [`k${at}`] }),
    ...(random() < 0.3 && { categories: ['all'] }),
    ...(subresources.length > 0 && { subresources }),
  };
}

function asVersion(entry: ResourceDiscovery, version: string): ResourceDiscovery {
  return entry.responseKind === undefined ? entry : { ...entry, responseKind: { ...entry.responseKind, version } };
}

/** The same server some releases earlier, without some groups, versions, resources, subresources and verbs. */
export function olderRelease(groups: readonly GroupDiscovery[], random: () => number): readonly GroupDiscovery[] {
  return groups.flatMap((group) => {
    if (random() < 0.05) return [];
    if (random() < 0.7) return [group];
    const versions = (group.versions ?? []).map((version) => ({
      ...version,
      resources: (version.resources ?? []).flatMap((entry) => {
        const roll = random();
        if (roll < 0.1) return [];
        if (roll < 0.15) return [{ ...entry, verbs: (entry.verbs ?? []).filter((verb) => verb !== 'watch') }];
        if (roll < 0.2) {
          const { subresources: _, ...rest } = entry;
          return [rest];
        }
        return [entry];
      }),
    }));
    return [{ ...group, versions }];
  });
}

/** The same server before it has seen some definitions. It lists some groups in another order. */
export function laggingServer(groups: readonly GroupDiscovery[], random: () => number): readonly GroupDiscovery[] {
  const kept = groups.filter(() => random() > 0.02);
  if (random() < 0.5 && kept.length > 1) {
    const at = Math.floor(random() * (kept.length - 1));
    kept.splice(at, 2, kept[at + 1] as GroupDiscovery, kept[at] as GroupDiscovery);
  }
  return kept;
}

/** The same list with one more resource in a middle group, as after a new CRD. */
export function withNewResource(groups: readonly GroupDiscovery[], name: string): readonly GroupDiscovery[] {
  const at = Math.floor(groups.length / 2);
  return groups.map((group, index) => {
    const [version, ...others] = group.versions ?? [];
    if (index !== at || version === undefined) return group;
    const added = { resource: name, scope: 'Namespaced', singularResource: '', verbs };
    return { ...group, versions: [{ ...version, resources: [...(version.resources ?? []), added] }, ...others] };
  });
}

/** The document that a server sends. */
export function rawList(groups: readonly GroupDiscovery[]) {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(({ name, versions }) => ({ metadata: { name }, versions })),
  };
}
