import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';

/** The first writes no address into its Lease, and its certificate names no host. */
const servers = [
  { name: 'cp-1', version: '1.35', certificateNames: [] },
  { name: 'cp-2', hostname: 'CP-2.example', version: '1.35' },
  { name: 'cp-3', version: '1.36' },
] as const;
const elsewhere = '192.0.2.9';

describe('addresses of real servers that some source has wrong', function () {
  this.timeout(240_000);
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
    mixed.startOperator();
  });

  after(() => mixed?.stop());

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

  /** Waits until each server stands in the list once and nothing is in doubt; gives their names by address. */
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

  it('finds every server without any Node, and names those that prove their names', async () => {
    expect(await everyServerOnce()).to.deep.equal([undefined, 'CP-2.example', 'cp-3']);
  });

  it('finds every server where each Node has the same address', async () => {
    for (const name of ['cp-1', 'cp-2', 'cp-3']) await setNode(name, elsewhere);
    expect(await everyServerOnce('cluster')).to.deep.equal([undefined, 'CP-2.example', 'cp-3']);
  });

  it('finds every server where a Node has an address of another network first, and its name in another case', async () => {
    await setNode('cp-1', elsewhere, ipOf(0));
    await setNode('cp-2', '192.0.2.2', 'fd00::2', ipOf(1));
    await setNode('cp-3', '192.0.2.3', ipOf(2));
    const names = ['cp-1', 'CP-2.example', 'cp-3'];
    await everyServerOnce('cluster', names);
    // With nothing but Nodes, the server that answers decides.
    await everyServerOnce('by-nodes', names);
  });

  it('finds a server that was renamed, though the Lease of its old name is left over', async () => {
    await mixed.plane.server('cp-1').stop();
    await mixed.plane.server('cp-1').start('cp-9');
    await waitUntil('the new Lease', async () =>
      (await must(['get', 'leases', '-n', 'kube-system', '-L', 'kubernetes.io/hostname'])).includes('cp-9'),
    );
    await everyServerOnce('cluster', [undefined, 'CP-2.example', 'cp-3']);
  });
});
