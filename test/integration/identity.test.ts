import { createServer } from 'node:net';
import { expect } from 'chai';
import type { SimulatedControlPlane } from '../../lab/simulated/simulated-control-plane.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';
import { type FleetUnderTest, startFleetUnderTest } from '../support/fleet-under-test.ts';

/** A Lease that looks like an apiserver's. */
function putLease(
  { store }: SimulatedControlPlane,
  name: string,
  hostname: string,
  spec: object,
  address?: string,
): void {
  store.put(
    { resource: 'coordination.k8s.io/leases', namespace: 'kube-system', name },
    {
      metadata: {
        name,
        labels: { 'apiserver.kubernetes.io/identity': 'kube-apiserver', 'kubernetes.io/hostname': hostname },
        ...(address !== undefined && { annotations: { 'kubernetes.io/peer-advertise-address': address } }),
      },
      spec,
    },
  );
}

const holder = (name: string) => ({ holderIdentity: `${name}_x`, renewTime: '2026-11-24T00:00:00.000000Z' });

describe('the proof by identity Leases and certificates', function () {
  this.timeout(180_000);
  let fleet: FleetUnderTest;
  let connections = 0;
  const forbidden = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });

  before(async () => {
    await new Promise<void>((resolve) => forbidden.listen(0, '127.1.2.3', resolve));
    const { port } = forbidden.address() as { readonly port: number };
    fleet = await startFleetUnderTest({
      servers: [
        { name: 'home', version: '1.36' },
        { name: 'twin', version: '1.36' },
        { name: 'stranger', version: '1.36' },
        { name: 'skewed', version: '1.35', clockSkewMs: -3_600_000 },
      ],
      home: 'home',
      nodes: false,
      spec: { addresses: { allowedCIDRs: ['127.16.0.0/12', '127.32.0.0/11', '127.64.0.0/10', '127.128.0.0/9'] } },
      prepare(plane) {
        putLease(plane, identityLeaseName('nobody'), 'nobody', { holderIdentity: null, renewTime: null });
        putLease(plane, identityLeaseName('timeless'), 'timeless', { holderIdentity: 'timeless_x' });
        putLease(plane, identityLeaseName('malformed'), 'malformed', { holderIdentity: 7, renewTime: { a: 1 } });
        putLease(plane, 'apiserver-of-somebody-else', 'foreign', holder('foreign'));
        putLease(plane, identityLeaseName('double'), 'double', holder('double'), plane.server('twin').address);
        putLease(plane, identityLeaseName('outside'), 'outside', holder('outside'), `127.1.2.3:${port}`);
        plane.server('stranger').useCertificate(plane.certificate('stranger', 'otherAuthority'));
      },
    });
    await fleet.until('a verdict', () => fleet.states().twin === 'Ready' && fleet.states().stranger === 'Refused');
  });
  after(async () => {
    await fleet?.stop();
    await new Promise((resolve) => forbidden.close(resolve));
  });

  it('reports Leases that identify no server, and continues', async () => {
    const problems = await fleet.until('the reports', () => {
      const found = fleet.status()?.leaseProblems ?? [];
      return found.length >= 5 && Object.fromEntries(found.map(({ lease, reason }) => [lease, reason]));
    });
    expect(problems).to.deep.include({
      [identityLeaseName('nobody')]: 'NoHolder',
      [identityLeaseName('timeless')]: 'NoRenewTime',
      [identityLeaseName('malformed')]: 'NoHolder',
      'apiserver-of-somebody-else': 'Foreign',
      [identityLeaseName('double')]: 'DuplicateAddress',
    });
    expect(fleet.states()).to.include({ home: 'Ready', twin: 'Ready' });
  });

  it('trusts a server whose clock is an hour behind, by the EndpointSlice if its Lease has no address', async () => {
    const skewed = fleet.plane.server('skewed');
    const peers = fleet.status()?.peers ?? [];
    expect(peers.find(({ address }) => address === skewed.address)).to.include({
      state: 'Ready',
      addressSource: 'EndpointSlice',
    });
  });

  it('never connects to an address outside the allowed ranges', () => {
    expect(fleet.states().outside).to.equal('Refused');
    expect(connections).to.equal(0);
  });

  it('sends nothing at all to a server whose certificate is of another authority', async () => {
    const stranger = fleet.plane.server('stranger');
    for (let turn = 0; turn < 20; turn += 1) await fleet.get('/apis/resource.k8s.io/v1/resourceclaims');
    expect(stranger.seen).to.deep.equal([]);
  });

  it('sends nothing more to a server whose new certificate lacks the name', async () => {
    const twin = fleet.plane.server('twin');
    const before = twin.seen.length;
    expect(before).to.be.above(0);
    twin.useCertificate(fleet.plane.certificate('twin', 'withoutName'));
    // The requests over the good connections are counted first.
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const atSwap = twin.seen.length;
    await fleet.until('it to be refused', () => fleet.states().twin === 'Refused');
    for (let turn = 0; turn < 20; turn += 1) await fleet.get('/apis/resource.k8s.io/v1/resourceclaims');
    expect(twin.seen.length).to.equal(atSwap);
    twin.useCertificate(fleet.plane.certificate('twin', 'good'));
    await fleet.until('it to be back', () => fleet.states().twin === 'Ready');
  });
});
