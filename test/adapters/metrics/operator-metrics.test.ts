import { expect } from 'chai';
import { createMetrics } from '../../../src/adapters/metrics/operator-metrics.ts';
import type { PeerView } from '../../../src/domain/derive-bundle.ts';
import type { PeerState } from '../../../src/domain/routing-table.ts';

const date = (at: number) => at + 1_000_000;

describe('createMetrics', () => {
  const unified = { doubts: [], resources: 51, divergent: [] };

  it('shows one state per peer, and removes peers that have left', async () => {
    const metrics = createMetrics();
    metrics.observe('cluster', [view('a', 'Ready', 1_000), view('b', 'Ready', 1_000)], unified, 1, date);
    metrics.observe('cluster', [view('a', 'Stale', 2_000)], unified, 2, date);
    expect(await series(metrics.render(), 'peerdiscovery_peer')).to.deep.equal([
      'peerdiscovery_peer_state{peerdiscovery="cluster",peer="a",state="Stale"} 1',
      'peerdiscovery_peer_last_success_timestamp_seconds{peerdiscovery="cluster",peer="a"} 1002',
    ]);
  });

  it('removes the certificates of addresses that have left', async () => {
    const metrics = createMetrics();
    const at = (address: string) => {
      const seen = view('a', 'Ready', 1);
      return { ...seen, seen: { ...seen.seen, peer: { id: 'a', address, trust: 'High' as const } } };
    };
    for (const address of ['left', 'kept']) metrics.observeCertificate('cluster', address, 5_000);
    metrics.keepCertificates('cluster', new Set(['kept']));
    metrics.observe('cluster', [at('left')], unified, 1, date);
    expect(await series(metrics.render(), 'peerdiscovery_peer_certificate')).to.deep.equal([]);
    metrics.observe('cluster', [at('kept')], unified, 1, date);
    expect(await series(metrics.render(), 'peerdiscovery_peer_certificate')).to.have.length(1);
  });

  it('has no time of success for a peer that was never read', async () => {
    const metrics = createMetrics();
    metrics.observe('cluster', [view('a', 'Stale')], unified, 1, date);
    expect(await series(metrics.render(), 'peerdiscovery_peer_last')).to.deep.equal([]);
  });

  it('shows the table, and shows convergence only without doubt or divergence', async () => {
    const metrics = createMetrics();
    const converged = async (view: Parameters<typeof metrics.observe>[2]) => {
      metrics.observe('cluster', [], view, 7, date);
      return (await series(metrics.render(), 'peerdiscovery_converged'))[0]?.slice(-1);
    };
    expect(await converged(unified)).to.equal('1');
    expect(await converged({ ...unified, doubts: [{ peer: 'a', reason: 'x', message: 'x' }] })).to.equal('0');
    const divergence = {
      group: '',
      version: 'v1',
      resource: 'pods',
      servedBy: ['a'],
      missingFrom: ['b'],
      differences: [],
    };
    expect(await converged({ ...unified, divergent: [divergence] })).to.equal('0');
    expect(await series(metrics.render(), 'peerdiscovery_')).to.include.members([
      'peerdiscovery_routing_table_revision{peerdiscovery="cluster"} 7',
      'peerdiscovery_resources{peerdiscovery="cluster"} 51',
      'peerdiscovery_divergent_resources{peerdiscovery="cluster"} 1',
    ]);
  });

  it('forgets a deleted PeerDiscovery and keeps the others', async () => {
    const metrics = createMetrics();
    metrics.observe('cluster', [view('a', 'Ready', 1)], unified, 1, date);
    metrics.observe('other', [view('a', 'Ready', 1)], unified, 1, date);
    metrics.forget('cluster');
    const left = await series(metrics.render(), 'peerdiscovery_');
    expect(left.filter((line) => line.includes('"cluster"'))).to.deep.equal([]);
    expect(left).to.have.length(6);
  });

  it('counts under the names that dashboards use', async () => {
    const metrics = createMetrics();
    metrics.observeReconcile('peerdiscovery', 'success', 0.2);
    metrics.observeReconcile('peerdiscovery', 'error', 0.2);
    metrics.leader.set({ name: 'peerdiscovery-operator' }, 1);
    metrics.countFetchFailure();
    expect(await series(metrics.render(), '')).to.include.members([
      'controller_runtime_reconcile_total{controller="peerdiscovery",result="success"} 1',
      'controller_runtime_reconcile_errors_total{controller="peerdiscovery"} 1',
      'controller_runtime_reconcile_time_seconds_count{controller="peerdiscovery"} 2',
      'leader_election_master_status{name="peerdiscovery-operator"} 1',
      'apiserver_peer_discovery_sync_errors_total{type="fetch_discovery"} 1',
    ]);
  });

  it('reads the process on demand, with a registry for each instance', async () => {
    createMetrics();
    const names = (await series(createMetrics().render(), '')).map((line) => line.split(/[ {]/)[0]);
    expect(names).to.include.members(['process_cpu_seconds_total', 'process_resident_memory_bytes']);
  });
});

function view(id: string, state: PeerState, documentsAt?: number): PeerView {
  return {
    seen: { peer: { id, trust: 'High' }, ...(documentsAt !== undefined && { documentsAt }) },
    assessment: { state, reason: 'Test', message: '', live: true, fresh: true, retained: true },
  };
}

async function series(rendered: Promise<string>, prefix: string): Promise<string[]> {
  return (await rendered).split('\n').filter((line) => line !== '' && !line.startsWith('#') && line.startsWith(prefix));
}
