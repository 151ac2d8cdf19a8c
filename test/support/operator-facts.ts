import { assessPeer } from '../../src/domain/assess-peer.ts';
import type { PeerView } from '../../src/domain/derive-bundle.ts';
import type { Facts } from '../../src/operator/facts.ts';
import { group } from './fake-control-plane.ts';

/** The time of the facts. */
export const factsAt = 1_000_000;

/** A server that serves these resources of apps/v1; without resources, one that has never answered. */
export function peerView(id: string, ...resources: readonly string[]): PeerView {
  const seen = {
    peer: { id, hostname: id, address: `${id}:6443`, source: 'Static' as const },
    probe: { kind: 'ready' as const },
    version: 'v1.36.3',
    documentsAt: factsAt,
    documents: {
      form: 'v2' as const,
      api: [],
      apis: [group('apps', 'v1', ...resources)],
      etags: {},
      hash: resources.join(),
    },
  };
  return { seen, assessment: assessPeer(seen, { staleAfterMs: 60_000, goneAfterMs: 300_000 }, factsAt) };
}

/** The facts that a pass gathers about one healthy server. */
export function buildFacts(changed: Partial<Facts> = {}): Facts {
  return {
    now: factsAt,
    views: [peerView('one', 'deployments')],
    doubt: undefined,
    unknown: undefined,
    defined: { custom: new Set(), aggregated: new Set(), deletedAt: new Map() },
    problems: [],
    knowledge: { revision: 0, find: () => undefined },
    remembered: undefined,
    ...changed,
  };
}
