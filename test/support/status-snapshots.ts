import { assessPeer, type PeerObservation } from '../../src/domain/assess-peer.ts';
import { deriveUnifiedView, type PeerView, type UnifiedView } from '../../src/domain/derive-bundle.ts';
import type { GroupDiscovery } from '../../src/domain/discovery-document.ts';
import { deriveStatus } from '../../src/operator/derive-status.ts';
import type { ObservedObject, StatusSnapshot } from '../../src/operator/status-page/build-report.ts';
import { createProgressHistory } from '../../src/operator/status-page/progress-history.ts';
import { group } from './fake-control-plane.ts';
import { largestFleet } from './largest-fleet.ts';

const core = ['configmaps', 'namespaces', 'nodes', 'pods', 'secrets', 'services'];
const common: readonly GroupDiscovery[] = [
  group('apps', 'v1', 'daemonsets', 'deployments', 'replicasets', 'statefulsets'),
  group('batch', 'v1', 'cronjobs', 'jobs'),
  group('coordination.k8s.io', 'v1', 'leases'),
  group('networking.k8s.io', 'v1', 'ingresses', 'networkpolicies'),
  group('rbac.authorization.k8s.io', 'v1', 'clusterroles', 'roles'),
];
const newer: readonly GroupDiscovery[] = [
  group('admissionregistration.k8s.io', 'v1', 'mutatingadmissionpolicies', 'mutatingadmissionpolicybindings'),
  group('resource.k8s.io', 'v1', 'deviceclasses', 'resourceclaims', 'resourceclaimtemplates', 'resourceslices'),
  group('storage.k8s.io', 'v1', 'volumeattributesclasses'),
];
const bounds = { staleAfterMs: 60_000, goneAfterMs: 300_000 };
const defined = { custom: new Set<string>(), aggregated: new Set<string>(), deletedAt: new Map<string, number>() };
const route = { mode: 'Route', fieldSkew: 'Preserve', serverName: 'kubernetes.default.svc' } as const;
const routingTable = { namespace: 'peerdiscovery-system', name: 'peerdiscovery-cluster' };

interface Server {
  readonly hostname: string;
  readonly version: string;
  /** Milliseconds since its last answer; undefined while it answers. */
  readonly awayMs?: number;
}

function viewOf({ hostname, version, awayMs }: Server, index: number, now: number): PeerView {
  const apis = version.startsWith('v1.33') ? common : [...common, ...newer];
  const ids = ['fphxkdvmjxbdmk7ar75i5oimdq', 'ssuab6y6vm656bc2yam2mwdf2y', 'q2vn7kzv3mch5ya6wpo4lirf7e'];
  const seen: PeerObservation = {
    peer: {
      id: `apiserver-${ids[index % ids.length]}`,
      hostname,
      address: `10.0.0.${11 + index}:6443`,
      source: 'MirrorPod',
      trust: 'High',
      lease: { name: hostname, holderIdentity: hostname, renewTime: '' } as never,
    },
    leaseChangedAt: now - 4_000,
    documents: { form: 'v2', api: [group('', 'v1', ...core)], apis, etags: {}, hash: version },
    documentsAt: now - (awayMs ?? 3_000 + 2_000 * index),
    version,
    probe:
      awayMs === undefined ? { kind: 'ready' } : { kind: 'unreachable', detail: 'connect ECONNREFUSED 10.0.0.12:6443' },
    ...(awayMs !== undefined && { unreachableSince: now - awayMs }),
  };
  return { seen, assessment: assessPeer(seen, bounds, now) };
}

function standing(servers: readonly Server[], now: number): { views: PeerView[]; unified: UnifiedView } {
  const views = servers.map((server, index) => viewOf(server, index, now));
  return { views, unified: deriveUnifiedView(views, defined, route) };
}

const servers = (versions: readonly string[], away: Readonly<Record<number, number>> = {}) =>
  versions.map((version, index): Server => {
    const awayMs = away[index];
    return { hostname: `control-plane-${index + 1}`, version, ...(awayMs !== undefined && { awayMs }) };
  });

const operator = { version: '0.1.0', identity: 'peerdiscovery-operator-6d9f7c5b9d-x2v8k', leadsSince: 0 };

/** Three servers: one has been upgraded, one may have been away for `awayMs`, and one is yet to come. */
export function upgradeSnapshot(now: number, { awayMs }: { readonly awayMs?: number } = {}): StatusSnapshot {
  const [old, young] = ['v1.33.12', 'v1.36.3'];
  const history = createProgressHistory();
  const minute = 60_000;
  const course: readonly (readonly [number, readonly Server[]])[] = [
    [61, servers([old, old, old])],
    [38, servers([old, old, old], { 0: 5_000 })],
    [36, servers([young, old, old])],
    [(awayMs ?? 0) / minute, servers([young, old, old], awayMs === undefined ? {} : { 1: awayMs })],
  ];
  for (const [ago, list] of course) {
    const { views, unified } = standing(list, now - ago * minute);
    history.record('cluster', views, unified, now - ago * minute);
  }
  const live = standing(servers([young, old, old], awayMs === undefined ? {} : { 1: awayMs }), now);
  const input = { generation: 3, ...live, leaseProblems: [], routingTable };
  const status = deriveStatus(
    { ...input, published: { revision: 14, hash: 'A1B2' } },
    undefined,
    now - 42_000,
    (at) => at,
  );
  return {
    now,
    date: now,
    operator: { ...operator, leadsSince: now - 61 * minute },
    objects: [{ name: 'cluster', status, live, history: history.of('cluster') }],
  };
}

/** Three healthy servers of one version. */
export function calmSnapshot(now: number): StatusSnapshot {
  const live = standing(servers(['v1.36.3', 'v1.36.3', 'v1.36.3']), now);
  const input = { generation: 3, ...live, leaseProblems: [], routingTable };
  const status = deriveStatus(
    { ...input, published: { revision: 4, hash: 'A1B2' } },
    undefined,
    now - 3_600_000,
    (at) => at,
  );
  const history = createProgressHistory();
  history.record('cluster', live.views, live.unified, now - 3_600_000);
  const object: ObservedObject = { name: 'cluster', status, live, history: history.of('cluster') };
  return { now, date: now, operator: { ...operator, leadsSince: now - 3_600_000 }, objects: [object] };
}

/** 100 servers that disagree about 10,000 resources, with a full history. */
export function largestSnapshot(now: number): StatusSnapshot {
  const input = largestFleet(now);
  const { views, unified } = input;
  const history = createProgressHistory();
  for (let index = 0; index < 1_000; index += 1)
    history.record('cluster', views.slice(0, 50 + (index % 50)), unified, now - 1_000_000 + index * 1_000);
  const object = {
    status: deriveStatus(input, undefined, now, (at) => at),
    live: { views, unified },
    history: history.of('cluster'),
  };
  return { now, date: now, operator, objects: [{ name: 'cluster', ...object }] };
}

/** One server, all of whose texts an attacker has chosen. */
export function hostileSnapshot(now: number, text: string): StatusSnapshot {
  const view = viewOf({ hostname: text, version: text, awayMs: 1_000 }, 0, now);
  const seen = { ...view.seen, peer: { ...view.seen.peer, id: text, address: text } };
  const apis = [group(text, 'v1', text)];
  const other = viewOf({ hostname: 'calm', version: 'v1.36.3' }, 1, now);
  const documents = { ...other.seen.documents, form: 'v2', api: [], apis, etags: {}, hash: text } as const;
  const views: PeerView[] = [
    { seen, assessment: { ...view.assessment, message: text } },
    { ...other, seen: { ...other.seen, documents } },
  ];
  const unified = deriveUnifiedView(views, defined, route);
  const history = createProgressHistory();
  history.record('cluster', views, unified, now - 1_000);
  const leaseProblems = [{ lease: text, reason: 'Foreign' as const, message: text }];
  const status = deriveStatus(
    { generation: 1, views, unified, leaseProblems, routingTable },
    undefined,
    now,
    (at) => at,
  );
  return {
    now,
    date: now,
    operator,
    trouble: text,
    objects: [{ name: 'cluster', status, live: { views, unified }, history: history.of('cluster') }],
  };
}
