import { expect } from 'chai';
import type { IdentityLease } from '../../src/domain/identity-lease.ts';
import { type AddressFacts, type AddressSource, resolvePeers } from '../../src/domain/resolve-peers.ts';

const allSources: AddressSource[] = ['Static', 'MirrorPod', 'Node', 'EndpointSlice', 'LeaseAnnotation'];
const nothing: AddressFacts = { leases: [], staticEntries: [], mirrorPods: [], nodes: [], endpoints: [] };
const lease = (hostname: string, more: Partial<IdentityLease> = {}): IdentityLease => ({
  name: `apiserver-${hostname}`,
  hostname,
  holderIdentity: 'x',
  renewTime: '1',
  ...more,
});
const allow = () => ({ ok: true }) as const;
const resolve = (facts: Partial<AddressFacts>, sources = allSources) =>
  resolvePeers({ ...nothing, ...facts }, sources, allow);

describe('resolvePeers', () => {
  it('takes the first source in the order of trust that names the host', () => {
    const facts = {
      leases: [lease('a', { annotatedAddress: '10.0.0.9:1' })],
      mirrorPods: [{ hostname: 'a', address: '10.0.0.2:6443' }],
      nodes: [{ hostname: 'a', address: '10.0.0.3:6443' }],
    };
    expect(resolve(facts).peers[0]).to.include({ address: '10.0.0.2:6443', source: 'MirrorPod', trust: 'High' });
    expect(resolve(facts, ['Node', 'MirrorPod']).peers[0]).to.include({ source: 'Node', trust: 'Medium' });
    const listed = { ...facts, staticEntries: [{ peer: 'a', address: '10.0.0.1:6443' }] };
    expect(resolve(listed).peers[0]).to.include({ address: '10.0.0.1:6443', source: 'Static' });
  });

  it('believes an annotation more if the endpoints say the same', () => {
    const leases = [lease('a', { annotatedAddress: '10.0.0.1:6443' })];
    expect(resolve({ leases }).peers[0]).to.include({ source: 'LeaseAnnotation', trust: 'Low' });
    const { peers } = resolve({ leases, endpoints: ['10.0.0.1:6443'] });
    expect(peers).to.have.length(1);
    expect(peers[0]).to.include({ source: 'LeaseAnnotation', trust: 'Medium' });
  });

  it('never gives an address without identity to a Lease, but keeps both', () => {
    const { peers } = resolve({ leases: [lease('a')], endpoints: ['10.0.0.1:6443'] });
    expect(peers.map(({ id, address }) => [id, address])).to.deep.equal([
      ['10.0.0.1:6443', '10.0.0.1:6443'],
      ['apiserver-a', undefined],
    ]);
  });

  it('gives the address of two Leases to the one renewed last, and keeps the other without one', () => {
    const { peers, problems } = resolve({
      leases: [
        lease('old', { annotatedAddress: '10.0.0.1:6443', renewTime: '1' }),
        lease('new', { annotatedAddress: '10.0.0.1:6443', renewTime: '2' }),
      ],
    });
    expect(peers.map(({ id, address, displacedBy }) => [id, address, displacedBy])).to.deep.equal([
      ['apiserver-new', '10.0.0.1:6443', undefined],
      ['apiserver-old', undefined, 'apiserver-new'],
    ]);
    expect(problems.map(({ lease, reason }) => [lease, reason])).to.deep.equal([['apiserver-old', 'DuplicateAddress']]);
  });

  it('leaves a shared address with its holder, whoever is renewed next', () => {
    const leases = [
      lease('a', { annotatedAddress: '10.0.0.1:6443', renewTime: '1' }),
      lease('b', { annotatedAddress: '10.0.0.1:6443', renewTime: '2' }),
    ];
    const holders = new Map([['10.0.0.1:6443', 'apiserver-a']]);
    const { peers } = resolvePeers({ ...nothing, leases }, allSources, allow, holders);
    expect(peers.map(({ id, address }) => [id, address])).to.deep.equal([
      ['apiserver-a', '10.0.0.1:6443'],
      ['apiserver-b', undefined],
    ]);
  });

  it('keeps a server that the administrator lists but that has no Lease', () => {
    const { peers } = resolve({ staticEntries: [{ peer: 'spare', address: '10.0.0.5:6443' }] });
    expect(peers).to.deep.equal([{ id: 'spare', address: '10.0.0.5:6443', source: 'Static', trust: 'High' }]);
  });

  it('marks a forbidden address as refused', () => {
    const { peers } = resolvePeers(
      { ...nothing, leases: [lease('a', { annotatedAddress: '127.0.0.1:6443' })] },
      allSources,
      () => ({ ok: false, reason: 'loopback' }),
    );
    expect(peers[0]).to.include({ refused: 'loopback' });
  });
});
