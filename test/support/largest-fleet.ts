import { generateGroups } from '../../lab/generated-discovery.ts';
import { seededRandom } from '../../lab/seeded-random.ts';
import { assessPeer, type PeerObservation } from '../../src/domain/assess-peer.ts';
import { deriveUnifiedView, type PeerView } from '../../src/domain/derive-bundle.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import type { StatusInput } from '../../src/operator/derive-status.ts';

/** 100 peers and 10,000 resources, all of which differ between the peers: the most that status must hold. */
export function largestFleet(now: number): StatusInput {
  const newest = generateGroups(10_000, seededRandom(10));
  const withoutWatch = newest.map((group) => mapResources(group, ['get', 'list', 'x'.repeat(1_000)]));
  const bounds = { staleAfterMs: 60_000, goneAfterMs: 300_000 };
  const views = Array.from({ length: 100 }, (_, index): PeerView => {
    const apis = index % 3 === 0 ? [] : index % 3 === 1 ? newest : withoutWatch;
    const seen: PeerObservation = {
      peer: {
        id: `apiserver-${String(index).padStart(26, 'a')}`,
        hostname: `control-plane-${index}.example.com`,
        address: `192.0.2.${index}:6443`,
        source: 'LeaseAnnotation',
        trust: 'Low',
      },
      probe: { kind: 'notReady', detail: 'failing: '.padEnd(5_000, 'é') },
      documents: { form: 'v2', api: [], apis, etags: {}, hash: 'a'.repeat(16) },
      documentsAt: now,
      leaseChangedAt: now,
      version: 'v1.36.3',
    };
    return { seen, assessment: assessPeer(seen, bounds, now) };
  });
  const defined = { custom: new Set<string>(), aggregated: new Set<string>(), deletedAt: new Map<string, number>() };
  return {
    generation: 1,
    unified: deriveUnifiedView(views, defined, {
      mode: 'Route',
      fieldSkew: 'Preserve',
      serverName: 'kubernetes.default.svc',
    }),
    views,
    leaseProblems: Array.from({ length: 200 }, (_, index) => ({
      lease: `apiserver-${index}`,
      reason: 'Foreign' as const,
      message: 'x'.repeat(200),
    })),
    published: { revision: 1, hash: 'a'.repeat(16) },
    routingTable: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' },
  };
}

function mapResources(group: GroupDiscovery, verbs: readonly string[]): GroupDiscovery {
  const versions = (group.versions ?? []).map((version) => ({
    ...version,
    resources: (version.resources ?? []).map((resource) => ({ ...resource, verbs })),
  }));
  return { ...group, versions };
}
