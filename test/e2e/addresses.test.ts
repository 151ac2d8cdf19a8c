import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { startPrometheus, startScrapedOperator } from '../support/lab-prometheus.ts';
import { requirePrometheus } from '../support/require-prometheus.ts';

/** The first server writes no address into its Lease, and its certificate names no host. */
const servers = [
  { name: 'cp-1', version: '1.35', certificateNames: [] },
  { name: 'cp-2', hostname: 'CP-2.example', version: '1.35' },
  { name: 'cp-3', version: '1.36' },
] as const;
const elsewhere = '192.0.2.9';
const operatorMetrics = '10.77.0.30:9443';
const claims = 'resourceclaims.v1.resource.k8s.io';
const unusable = '{peerdiscovery="cluster",state=~"Unreachable|Unresolved|Refused"}';
const alert = 'ALERTS{alertname="PeerDiscoveryPeerUnreachable",alertstate="firing",peerdiscovery="cluster"}';

describe('real servers with wrong addresses in some source', function () {
  this.timeout(240_000);
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-addresses-'));
  let mixed: MixedPlane;
  let right: string[];

  before(async () => {
    mixed = await startMixedPlane({
      servers,
      home: 'cp-3',
      log: (message) => void process.stdout.write(`      … ${message}\n`),
    });
    right = mixed.plane.servers.map(({ address }) => address);
    const byNodes = { mode: 'Observe', addresses: { sources: ['Node'] } };
    await must(['apply', '-f', '-'], {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name: 'by-nodes' },
      spec: byNodes,
    });
    await must(['delete', 'node', '--all']);
    await startScrapedOperator(mixed, must, operatorMetrics);
  });

  after(async () => {
    await mixed?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function must(args: readonly string[], object?: object): Promise<string> {
    const input = object === undefined ? undefined : JSON.stringify(object);
    const { code, stdout, stderr } = await mixed.kubectl('cp-3', args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async function setNode(name: string, ...ips: string[]): Promise<void> {
    const labels = { 'node-role.kubernetes.io/control-plane': '', 'kubernetes.io/hostname': name };
    await must(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } });
    const status = { addresses: ips.map((address) => ({ type: 'InternalIP', address })) };
    await must(['patch', 'node', name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })]);
  }

  const ipOf = (at: number) => (right[at] ?? '').replace(/:6443$/, '');
  const conditionOf = ({ status }: PeerDiscovery, wanted: string) =>
    status?.conditions?.find(({ type }) => type === wanted)?.status;

  /** Waits until each server is listed once and nothing is in doubt. Returns the names by address. */
  async function everyServerOnce(name = 'cluster', names?: readonly (string | undefined)[]) {
    let last: PeerDiscovery | undefined;
    const namesOf = ({ status }: PeerDiscovery) =>
      right.map((address) => status?.peers?.find((peer) => peer.address === address)?.hostname);
    await waitUntil(
      'each server once, and no doubt',
      async () => {
        last = JSON.parse(await must(['get', 'pd', name, '-o', 'json'])) as PeerDiscovery;
        return (
          last.status?.peerCounts?.ready === right.length &&
          last.status.peers?.length === right.length &&
          conditionOf(last, 'Ready') === 'True' &&
          conditionOf(last, 'Converged') !== 'Unknown' &&
          (names === undefined || JSON.stringify(namesOf(last)) === JSON.stringify(names))
        );
      },
      { boundMs: 90_000, seen: () => JSON.stringify(last?.status, undefined, 1) },
    );
    return last === undefined ? [] : namesOf(last);
  }

  it('are all found without any Node, and those with a proved name are named', async () => {
    expect(await everyServerOnce()).to.deep.equal([undefined, 'CP-2.example', 'cp-3']);
  });

  /** PEERS, READY and STALE. */
  const columns = async () => (await must(['get', 'pd', 'cluster', '--no-headers'])).trim().split(/ +/).slice(2, 5);

  it('are counted, compared and explained as one each, without any Node', async () => {
    expect(await columns()).to.deep.equal(['3', '3', '0']);
    const [first = '', , third = ''] = right;
    const explained = await mixed.plugin('cp-3', ['explain', claims, '-o', 'json']);
    expect(JSON.parse(explained.stdout)).to.deep.include({ unknownOf: [], doubts: [] });
    expect(explained.code, explained.stdout).to.equal(0);
    const alike = await mixed.plugin('cp-3', ['diff', first, 'CP-2.example']);
    expect([alike.code, alike.stderr], alike.stdout).to.deep.equal([0, '']);
    const { code, stdout, stderr } = await mixed.plugin('cp-3', ['diff', first, third]);
    expect([code, stderr], stdout).to.deep.equal([1, '']);
  });

  it('raise no alert about themselves, but one about a server that cannot be found', async function () {
    const { query } = startPrometheus(mixed.plane, {
      program: await requirePrometheus(this, 'prometheus'),
      folder,
      targets: [{ job: 'operator', address: operatorMetrics, serverName: 'operator-metrics' }],
    });
    const scrapes = 'count_over_time(up{job="operator"}[30s]) >= 10';
    await waitUntil('ten scrapes', async () => (await query(`${scrapes} and up == 1`)).length === 1, {
      seen: () => mixed.plane.logTails(5),
    });
    expect(await query(`max_over_time(peerdiscovery_peer_state${unusable}[30s]) == 1`)).to.deep.equal([]);
    const fires = async () => (await query(alert)).length > 0;
    expect(await fires()).to.equal(false);

    const renewing = setInterval(() => void renewGhost().catch(() => {}), 3_000);
    try {
      await waitUntil('the alert', fires, {
        seen: () => mixed.plane.logTails(5),
      });
      const explained = await mixed.plugin('cp-3', ['explain', claims]);
      expect(explained.stdout)
        .to.match(/^ghost +unknown /m)
        .and.match(/^Whether ghost serves it is unknown: /m);
      expect(explained.code).to.equal(3);
      expect((await mixed.plugin('cp-3', ['diff', 'ghost', 'CP-2.example'])).code).to.equal(3);
    } finally {
      clearInterval(renewing);
    }
    await must(['delete', 'lease', '-n', 'kube-system', identityLeaseName('ghost')]);
    await waitUntil('the alert to end', async () => !(await fires()));
    await everyServerOnce();
    expect((await mixed.plugin('cp-3', ['explain', claims])).code).to.equal(0);
  });

  /** The Lease of a server that no source knows. */
  async function renewGhost(): Promise<void> {
    await must(['apply', '-f', '-'], {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: identityLeaseName('ghost'),
        namespace: 'kube-system',
        labels: { 'apiserver.kubernetes.io/identity': 'kube-apiserver', 'kubernetes.io/hostname': 'ghost' },
      },
      spec: {
        holderIdentity: 'ghost_1',
        leaseDurationSeconds: 3_600,
        renewTime: new Date().toISOString().replace('Z', '000Z'),
      },
    });
  }

  it('are all found if each Node has the same address', async () => {
    for (const name of ['cp-1', 'cp-2', 'cp-3']) await setNode(name, elsewhere);
    expect(await everyServerOnce('cluster')).to.deep.equal([undefined, 'CP-2.example', 'cp-3']);
  });

  it('are all found if a Node lists an address of another network first, and its name in another case', async () => {
    await setNode('cp-1', elsewhere, ipOf(0));
    await setNode('cp-2', '192.0.2.2', 'fd00::2', ipOf(1));
    await setNode('cp-3', '192.0.2.3', ipOf(2));
    const names = ['cp-1', 'CP-2.example', 'cp-3'];
    await everyServerOnce('cluster', names);
    // If Nodes are the only source, the server that answers decides.
    await everyServerOnce('by-nodes', names);
  });

  it('are found after a rename, even if the Lease of the old name is left over', async () => {
    await mixed.plane.server('cp-1').stop();
    await mixed.plane.server('cp-1').start('cp-9');
    await waitUntil('the new Lease', async () =>
      (await must(['get', 'leases', '-n', 'kube-system', '-L', 'kubernetes.io/hostname'])).includes('cp-9'),
    );
    await everyServerOnce('cluster', [undefined, 'CP-2.example', 'cp-3']);
  });
});
