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

const addressesById = (facts: Partial<AddressFacts>) =>
  Object.fromEntries(resolve(facts).peers.map(({ id, address }) => [id, address]));

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

  it('uses the address of a Node that the EndpointSlice lists too, wherever it stands', () => {
    const nodes = ['192.0.2.1:6443', '10.0.0.1:6443', '[fd00::1]:6443'].map((address) => ({ hostname: 'a', address }));
    const facts = { leases: [lease('a')], nodes };
    expect(addressesById({ ...facts, endpoints: ['10.0.0.1:6443'] })).to.deep.equal({ 'apiserver-a': '10.0.0.1:6443' });
    expect(addressesById({ ...facts, endpoints: ['[fd00::1]:6443'] })).to.deep.equal({
      'apiserver-a': '[fd00::1]:6443',
    });
    expect(addressesById(facts)).to.deep.equal({ 'apiserver-a': '192.0.2.1:6443' });
  });

  it('believes annotation and EndpointSlice together more than a Node', () => {
    const facts = {
      leases: [lease('a', { annotatedAddress: '10.0.0.1:6443' })],
      nodes: [{ hostname: 'a', address: '192.0.2.1:6443' }],
      endpoints: ['10.0.0.1:6443'],
    };
    expect(resolve(facts).peers).to.have.length(1);
    expect(resolve(facts).peers[0]).to.include({ address: '10.0.0.1:6443', source: 'LeaseAnnotation' });
  });

  it('believes the administrator more than annotation and EndpointSlice together', () => {
    const facts = {
      leases: [lease('a', { annotatedAddress: '10.0.0.1:6443' })],
      staticEntries: [{ peer: 'a', address: '192.0.2.1:6443' }],
      endpoints: ['10.0.0.1:6443'],
    };
    expect(addressesById(facts)).to.include({ 'apiserver-a': '192.0.2.1:6443' });
  });

  for (const [hostname, node] of [
    ['CP-2', 'cp-2'],
    ['cp-2', 'CP-2'],
    ['cp-2.example', 'cp-2'],
    ['cp-2', 'cp-2.example'],
    ['CP-2.Example', 'cp-2'],
  ] as const)
    it(`finds the Node ${node} of a server that calls its host ${hostname}`, () => {
      const nodes = [
        { hostname: 'cp-20', address: '10.0.0.20:6443' },
        { hostname: node, address: '10.0.0.2:6443' },
      ];
      expect(addressesById({ leases: [lease(hostname)], nodes })).to.deep.equal({
        [`apiserver-${hostname}`]: '10.0.0.2:6443',
      });
    });

  it('takes no Node for that of a host whose name fits two, or another domain', () => {
    const at = (hostname: string, address: string) => ({ hostname, address });
    const two = [at('cp.a', '10.0.0.1:6443'), at('cp.b', '10.0.0.2:6443')];
    expect(addressesById({ leases: [lease('cp')], nodes: two })).to.deep.equal({ 'apiserver-cp': undefined });
    expect(addressesById({ leases: [lease('cp.c')], nodes: two })).to.deep.equal({ 'apiserver-cp.c': undefined });
  });

  it('never gives an address without identity to a Lease, but keeps both', () => {
    const { peers } = resolve({ leases: [lease('a')], endpoints: ['10.0.0.1:6443'] });
    expect(peers.map(({ id, address }) => [id, address])).to.deep.equal([
      ['10.0.0.1:6443', '10.0.0.1:6443'],
      ['apiserver-a', undefined],
    ]);
  });

  it('believes annotations and EndpointSlice where every Node has the same address', () => {
    const endpoints = ['10.0.0.1:6443', '10.0.0.2:6443'];
    const leases = endpoints.map((annotatedAddress, at) => lease('ab'[at] ?? '', { annotatedAddress }));
    const nodes = ['a', 'b'].map((hostname) => ({ hostname, address: '192.0.2.1:6443' }));
    expect(addressesById({ leases, nodes, endpoints })).to.deep.equal({
      'apiserver-a': '10.0.0.1:6443',
      'apiserver-b': '10.0.0.2:6443',
    });
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
