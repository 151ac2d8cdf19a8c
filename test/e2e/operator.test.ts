import type { ChildProcess } from 'node:child_process';
import { expect } from 'chai';
import { type MixedPlane, startMixedPlane } from '../../lab/plane/mixed-plane.ts';
import { waitUntil } from '../../lab/wait-until.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';

const program = new URL('../../src/bin/peerdiscovery.ts', import.meta.url).pathname;
const servers = [
  { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
  { name: 'new-1', version: '1.36' },
] as const;

describe('the operator on a real control plane', function () {
  this.timeout(180_000);
  let mixed: MixedPlane;
  let operator: ChildProcess;

  before(async () => {
    mixed = await startMixedPlane({
      servers,
      home: 'old-1',
      log: (message) => void process.stdout.write(`      … ${message}\n`),
    });
    operator = mixed.startOperator();
  });

  after(async () => {
    await mixed?.stop();
  });

  async function must(args: readonly string[], object?: object): Promise<string> {
    const input = object === undefined ? undefined : JSON.stringify(object);
    const { code, stdout, stderr } = await mixed.kubectl('old-1', args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  const create = (object: object) => must(['create', '-f', '-'], object);
  const read = async (name: string) => JSON.parse(await must(['get', 'pd', name, '-o', 'json'])) as PeerDiscovery;
  const peerOf = ({ status }: PeerDiscovery, host: string) => status?.peers?.find(({ hostname }) => hostname === host);
  const conditionOf = ({ status }: PeerDiscovery, wanted: string) =>
    status?.conditions?.find(({ type }) => type === wanted);

  async function waitFor(name: string, what: string, passes: (object: PeerDiscovery) => boolean) {
    let last: PeerDiscovery | undefined;
    return waitUntil(
      what,
      async () => {
        last = await read(name);
        return passes(last) && last;
      },
      { seen: () => JSON.stringify(last?.status, undefined, 1) },
    );
  }

  const bothReady = (object: PeerDiscovery) =>
    ['old-1', 'new-1'].every((host) => peerOf(object, host)?.state === 'Ready');

  /** Waits for an Event about the PeerDiscovery `cluster`. */
  async function untilWarned(reason: string): Promise<void> {
    const selector = `type=Warning,reason=${reason},involvedObject.name=cluster`;
    await waitUntil(`the Event ${reason}`, async () => {
      const { stdout } = await mixed.kubectl('old-1', [
        'get',
        'events',
        '-n',
        'default',
        '--field-selector',
        selector,
        '-o',
        'name',
      ]);
      return stdout !== '';
    });
  }

  it('reports Leases that identify no server, and continues', async () => {
    await waitFor('cluster', 'two ready peers', bothReady);
    const lease = (name: string, spec: object) => ({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name,
        namespace: 'kube-system',
        labels: { 'apiserver.kubernetes.io/identity': 'kube-apiserver', 'kubernetes.io/hostname': 'cp-9' },
      },
      spec,
    });
    await create(lease('apiserver-forged', { holderIdentity: 'me', renewTime: '2026-01-01T00:00:00.000000Z' }));
    // The name that kube-apiserver would use on cp-9. No server holds this Lease.
    const unheld = identityLeaseName('cp-9');
    await create(lease(unheld, {}));
    const object = await waitFor('cluster', 'both reported', ({ status }) => status?.leaseProblems?.length === 2);
    const reasons = object.status?.leaseProblems?.map(({ lease: name, reason }) => `${name} ${reason}`);
    expect(reasons).to.have.members(['apiserver-forged Foreign', `${unheld} NoHolder`]);
    expect(bothReady(object)).to.equal(true);
    await must(['delete', 'lease', '-n', 'kube-system', 'apiserver-forged', unheld]);
    await waitFor('cluster', 'none reported', ({ status }) => status?.leaseProblems === undefined);
  });

  it('takes the address of a mirror pod, and never that of an ordinary pod', async () => {
    const pod = (name: string, host: string, address: string, mirror: object) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'kube-system',
        labels: { component: 'kube-apiserver' },
        annotations: { 'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint': address },
        ...mirror,
      },
      spec: { nodeName: host, containers: [{ name: 'kube-apiserver', image: 'none' }] },
    });
    await must(['create', 'serviceaccount', 'default', '-n', 'kube-system']);
    await create(pod('forged', 'old-1', '10.77.0.29:6443', {}));
    const { uid } = (JSON.parse(await must(['get', 'node', 'new-1', '-o', 'json'])) as { metadata: { uid: string } })
      .metadata;
    const { address } = mixed.plane.server('new-1');
    const annotations = {
      'kubernetes.io/config.mirror': 'hash',
      'kubernetes.io/config.source': 'file',
      'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint': address,
    };
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: 'new-1', uid, controller: true }];
    await create(pod('kube-apiserver-new-1', 'new-1', address, { annotations, ownerReferences }));
    const object = await waitFor(
      'cluster',
      'the mirror pod as source',
      (seen) => peerOf(seen, 'new-1')?.addressSource === 'MirrorPod',
    );
    expect(peerOf(object, 'new-1')).to.include({ trust: 'High', address });
    expect(peerOf(object, 'old-1')).to.include({ addressSource: 'Node', address: mixed.plane.server('old-1').address });
  });

  it('serves a second object for other servers that have identity Leases', async () => {
    await create({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'other-1', namespace: 'kube-system', labels: { app: 'other' } },
      spec: { holderIdentity: 'other-1_x', renewTime: new Date().toISOString().replace('Z', '000Z') },
    });
    const { address } = mixed.plane.server('new-1');
    await create({
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name: 'other' },
      spec: {
        leases: { labelSelector: 'app=other' },
        addresses: { sources: ['Static'], static: [{ peer: 'other-1', address }] },
      },
    });
    const object = await waitFor('other', 'its only peer', ({ status }) => status?.peerCounts?.ready === 1);
    expect(object.status).to.deep.include({
      mode: 'Observe',
      routingTable: { namespace: 'peerdiscovery-system', name: 'peerdiscovery-other' },
    });
    expect(object.status?.peers?.map(({ id }) => id)).to.deep.equal(['other-1']);
    await must(['get', 'configmap', '-n', 'peerdiscovery-system', 'peerdiscovery-other']);
    await must(['delete', 'pd', 'other']);
  });

  it('says in conditions what to change when it may not write the table, and continues once it may', async () => {
    const patch = (spec: object) => must(['patch', 'pd', 'cluster', '--type=merge', '-p', JSON.stringify({ spec })]);
    await patch({ routingTable: { namespace: 'nowhere' } });
    const stalled = await waitFor('cluster', 'Stalled', (seen) => conditionOf(seen, 'Stalled')?.status === 'True');
    expect(conditionOf(stalled, 'Stalled')).to.include({ reason: 'Forbidden' });
    await untilWarned('Forbidden');
    expect(conditionOf(stalled, 'Ready')).to.include({ status: 'False' });
    expect(bothReady(stalled)).to.equal(true);
    await patch({ routingTable: null });
    await waitFor('cluster', 'Ready', (seen) => conditionOf(seen, 'Ready')?.status === 'True');
  });

  it('reports an error in a spec that only it can detect, by an Event and until somebody corrects it', async () => {
    const patch = (addresses: object | null) =>
      must(['patch', 'pd', 'cluster', '--type=merge', '-p', JSON.stringify({ spec: { addresses } })]);
    await patch({ allowedCIDRs: ['fd00::/7'] });
    const stalled = await waitFor('cluster', 'Stalled', (seen) => conditionOf(seen, 'Stalled')?.status === 'True');
    expect(conditionOf(stalled, 'Stalled')).to.include({ reason: 'InvalidSpec' });
    expect(conditionOf(stalled, 'Stalled')?.message).to.contain('give fc00::/7');
    await untilWarned('InvalidSpec');
    const before = (await waitFor('cluster', 'its version', () => true)).metadata.resourceVersion;
    const lease = ['-n', 'kube-system', 'lease', 'apiserver-forged'];
    await create({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: 'apiserver-forged',
        namespace: 'kube-system',
        labels: { 'apiserver.kubernetes.io/identity': 'kube-apiserver', 'kubernetes.io/hostname': 'cp-9' },
      },
      spec: { holderIdentity: 'me' },
    });
    await waitFor('cluster', 'the Lease reported', ({ status }) => status?.leaseProblems?.length === 1);
    await must(['delete', ...lease]);
    await waitFor('cluster', 'none reported', ({ status }) => status?.leaseProblems === undefined);
    // Other news in the status hides the error in no version of the object. A watch shows all since then.
    const path = '/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries';
    const query = `watch=true&timeoutSeconds=5&fieldSelector=metadata.name%3Dcluster&resourceVersion=${before}`;
    const watched = await mixed.kubectl('old-1', ['get', '--raw', `${path}?${query}`]);
    const versions = watched.stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { readonly object: PeerDiscovery }).object);
    expect(versions).to.have.length.above(1);
    for (const version of versions) {
      expect(version.status?.observedGeneration).to.equal(version.metadata.generation);
      expect(conditionOf(version, 'Stalled')?.status).to.equal('True');
    }
    await patch(null);
    await waitFor('cluster', 'not Stalled', (seen) => conditionOf(seen, 'Stalled')?.status === 'False');
  });

  it('does not touch a Lease of other software that has the name of its table', async () => {
    const lease = ['-n', 'peerdiscovery-system', 'lease', 'held'];
    await create({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'held', namespace: 'peerdiscovery-system' },
      spec: { holderIdentity: 'another', leaseDurationSeconds: 15 },
    });
    await must(['patch', 'pd', 'cluster', '--type=merge', '-p', '{"spec":{"routingTable":{"name":"held"}}}']);
    await waitFor('cluster', 'LeaseOfAnother', (seen) => conditionOf(seen, 'Stalled')?.reason === 'LeaseOfAnother');
    const { stdout } = await mixed.kubectl('old-1', ['get', ...lease, '-o', 'jsonpath={.spec.holderIdentity}']);
    expect(stdout).to.equal('another');
    await untilWarned('LeaseOfAnother');
    await must(['patch', 'pd', 'cluster', '--type=merge', '-p', '{"spec":{"routingTable":null}}']);
    await waitFor('cluster', 'Ready', (seen) => conditionOf(seen, 'Ready')?.status === 'True');
    await must(['delete', ...lease]);
  });

  it('waits for its namespace with a condition instead of a crash', async () => {
    expect(await end(operator)).to.equal(0);
    const kubeconfig = mixed.kubeconfigOf('old-1');
    const flags = ['--kubeconfig', kubeconfig, '--namespace', 'late', '--health-bind-address', '0'];
    const late = mixed.plane.spawn(process.execPath, [program, 'operator', ...flags, '--log-format', 'text'], {
      name: 'late-operator',
    });
    const missing = await waitFor(
      'cluster',
      'NamespaceMissing',
      (seen) => conditionOf(seen, 'Stalled')?.reason === 'NamespaceMissing',
    );
    expect(conditionOf(missing, 'Stalled')?.message).to.match(/namespace late does not exist: create it/);
    await untilWarned('NamespaceMissing');
    expect(missing.status?.peers).to.have.length(2);
    expect(late.exitCode).to.equal(null);
    await must(['create', 'namespace', 'late']);
    await waitUntil(
      'the late operator to lead',
      async () => (await mixed.kubectl('old-1', ['get', 'lease', '-n', 'late', 'peerdiscovery-operator'])).code === 0,
    );
    await waitFor('cluster', 'Ready', (seen) => conditionOf(seen, 'Ready')?.status === 'True');
    expect(await end(late)).to.equal(0);
  });

  it('refuses a start without a usable kubeconfig in one line that says what to do', async () => {
    const { code, stderr } = await mixed.plane.exec(process.execPath, [program, 'operator', '--kubeconfig', '/none']);
    expect(code).to.equal(1);
    expect(stderr.trim().split('\n')).to.have.length(1);
    expect(stderr).to.contain('cannot load kubeconfig /none');
  });
});

/** Ends a process cleanly; resolves to its exit status. */
function end(child: ChildProcess): Promise<number | null> {
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return ended;
}
