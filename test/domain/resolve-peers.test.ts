import { expect } from 'chai';
import type { IdentityLease } from '../../src/domain/identity-lease.ts';
import {
  type AddressEvidence,
  type AddressFacts,
  type AddressSource,
  resolvePeers,
} from '../../src/domain/resolve-peers.ts';

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
const unknown: AddressEvidence = { holders: new Map(), answers: new Map(), abandoned: new Map() };
const resolve = (facts: Partial<AddressFacts>, sources = allSources, evidence: Partial<AddressEvidence> = {}) =>
  resolvePeers({ ...nothing, ...facts }, sources, allow, { ...unknown, ...evidence });

const addressesById = (facts: Partial<AddressFacts>, evidence: Partial<AddressEvidence> = {}) =>
  Object.fromEntries(resolve(facts, allSources, evidence).peers.map(({ id, address }) => [id, address]));

/** The result of probing each address: the names of a verified certificate, or nothing. */
const found = (answers: Readonly<Record<string, readonly string[] | undefined>>) => ({
  answers: new Map(
    Object.entries(answers).map(([address, names]) => [
      address,
      names === undefined ? { verified: false as const } : { verified: true as const, names },
    ]),
  ),
});

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

  it('trusts an annotation more if the endpoints agree', () => {
    const leases = [lease('a', { annotatedAddress: '10.0.0.1:6443' })];
    expect(resolve({ leases }).peers[0]).to.include({ source: 'LeaseAnnotation', trust: 'Low' });
    const { peers } = resolve({ leases, endpoints: ['10.0.0.1:6443'] });
    expect(peers).to.have.length(1);
    expect(peers[0]).to.include({ source: 'LeaseAnnotation', trust: 'Medium' });
  });

  it('uses the address of a Node that the EndpointSlice lists too, at any position', () => {
    const nodes = ['192.0.2.1:6443', '10.0.0.1:6443', '[fd00::1]:6443'].map((address) => ({ hostname: 'a', address }));
    const facts = { leases: [lease('a')], nodes };
    expect(addressesById({ ...facts, endpoints: ['10.0.0.1:6443'] })).to.deep.equal({ 'apiserver-a': '10.0.0.1:6443' });
    expect(addressesById({ ...facts, endpoints: ['[fd00::1]:6443'] })).to.deep.equal({
      'apiserver-a': '[fd00::1]:6443',
    });
    expect(addressesById(facts)).to.deep.equal({ 'apiserver-a': '192.0.2.1:6443' });
  });

  it('trusts annotation and EndpointSlice together more than a Node', () => {
    const facts = {
      leases: [lease('a', { annotatedAddress: '10.0.0.1:6443' })],
      nodes: [{ hostname: 'a', address: '192.0.2.1:6443' }],
      endpoints: ['10.0.0.1:6443'],
    };
    expect(resolve(facts).peers).to.have.length(1);
    expect(resolve(facts).peers[0]).to.include({ address: '10.0.0.1:6443', source: 'LeaseAnnotation' });
  });

  it('trusts the administrator more than annotation and EndpointSlice together', () => {
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

  it('does not match a Node to a host if two names fit, or if the domain differs', () => {
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

  it('trusts annotations and EndpointSlice if every Node has the same address', () => {
    const endpoints = ['10.0.0.1:6443', '10.0.0.2:6443'];
    const leases = endpoints.map((annotatedAddress, at) => lease('ab'[at] ?? '', { annotatedAddress }));
    const nodes = ['a', 'b'].map((hostname) => ({ hostname, address: '192.0.2.1:6443' }));
    expect(addressesById({ leases, nodes, endpoints })).to.deep.equal({
      'apiserver-a': '10.0.0.1:6443',
      'apiserver-b': '10.0.0.2:6443',
    });
  });

  it('gives the address of two Leases to the one renewed last, and keeps the other without an address', () => {
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

  it('leaves a shared address with its holder, whichever Lease is renewed next', () => {
    const leases = [
      lease('a', { annotatedAddress: '10.0.0.1:6443', renewTime: '1' }),
      lease('b', { annotatedAddress: '10.0.0.1:6443', renewTime: '2' }),
    ];
    const { peers } = resolve({ leases }, allSources, { holders: new Map([['10.0.0.1:6443', 'apiserver-a']]) });
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

  describe('without a clear EndpointSlice', () => {
    const at = (hostname: string, ...addresses: string[]) => addresses.map((address) => ({ hostname, address }));
    const [own, other, third] = ['10.0.0.1:6443', '192.0.2.1:6443', '[fd00::1]:6443'] as const;

    it('takes the address of a Node at which a verified server answers, and tries the others', () => {
      const facts = { leases: [lease('a')], nodes: at('a', other, own, third) };
      expect(resolve(facts).candidates).to.have.members([own, third]);
      expect(addressesById(facts, found({ [other]: undefined, [own]: [] }))).to.deep.equal({ 'apiserver-a': own });
    });

    it('prefers the address whose certificate names the host, and never takes one that names another', () => {
      const facts = { leases: [lease('a'), lease('b')], nodes: [...at('a', other, own), ...at('b', third)] };
      expect(addressesById(facts, found({ [other]: [], [own]: ['A.example', 'kubernetes'] }))).to.deep.include({
        'apiserver-a': own,
      });
      expect(addressesById(facts, found({ [other]: ['b'], [own]: undefined }))).to.deep.include({ 'apiserver-a': own });
    });

    it('keeps its address while another one answers as well, or none does', () => {
      const facts = { leases: [lease('a')], nodes: at('a', other, own) };
      const holders = new Map([[own, 'apiserver-a']]);
      for (const names of [[], undefined])
        expect(addressesById(facts, { ...found({ [other]: names, [own]: names }), holders })).to.deep.equal({
          'apiserver-a': own,
        });
    });

    it('gives an EndpointSlice address only to the Lease that the certificate there names', () => {
      const facts = { leases: [lease('a'), lease('b')], endpoints: [own, other] };
      const names = { [own]: ['kubernetes', 'b'], [other]: ['kubernetes', 'a', 'kubernetes.default.svc'] };
      expect(addressesById(facts, found(names))).to.deep.equal({ 'apiserver-a': other, 'apiserver-b': own });
      expect(resolve(facts, allSources, found(names)).peers[0]).to.include({ source: 'EndpointSlice', endpoint: true });
    });

    for (const [what, one, two] of [
      ['every certificate names every host', ['a', 'b'], ['a', 'b']],
      ['two certificates name one host', ['a'], ['a']],
      ['certificates name the Service only', ['kubernetes', 'localhost'], ['kubernetes.default.svc']],
      ['a name is a wildcard', ['*.example'], []],
    ] as const)
      it(`gives no address to a Lease if ${what}`, () => {
        const facts = { leases: [lease('a'), lease('b')], endpoints: [own, other] };
        expect(addressesById(facts, found({ [own]: one, [other]: two }))).to.deep.equal({
          'apiserver-a': undefined,
          'apiserver-b': undefined,
          [own]: own,
          [other]: other,
        });
      });

    it('does not take a host called kubernetes for the one that a certificate names', () => {
      expect(
        addressesById({ leases: [lease('kubernetes')], endpoints: [own] }, found({ [own]: ['kubernetes'] })),
      ).to.have.keys('apiserver-kubernetes', own);
    });

    it('keeps an address that a certificate proved while no server answers there', () => {
      const facts = { leases: [lease('a')], endpoints: [own] };
      const holders = new Map([[own, 'apiserver-a']]);
      expect(addressesById(facts, { ...found({ [own]: undefined }), holders })).to.deep.equal({ 'apiserver-a': own });
    });

    it('ignores one address on every Node if the EndpointSlice lists as many others', () => {
      const nodes = ['a', 'b'].flatMap((hostname) => at(hostname, '203.0.113.1:6443'));
      const facts = { leases: [lease('a'), lease('b')], nodes, endpoints: [own, other] };
      const none = { 'apiserver-a': undefined, 'apiserver-b': undefined, [own]: own, [other]: other };
      expect(addressesById(facts, found({ '203.0.113.1:6443': [] }))).to.deep.equal(none);
      expect(addressesById(facts, found({ [own]: ['a'], [other]: ['b'] }))).to.deep.equal({
        'apiserver-a': own,
        'apiserver-b': other,
      });
    });

    it('takes a silent Node address for contradicted by an address without another owner', () => {
      const facts = { leases: [lease('a')], nodes: at('a', other), endpoints: [own] };
      expect(addressesById(facts)).to.deep.equal({ 'apiserver-a': other, [own]: own });
      const evidence = found({ [other]: undefined, [own]: [] });
      expect(addressesById(facts, evidence)).to.deep.equal({ 'apiserver-a': undefined, [own]: own });
      expect(resolve(facts, allSources, evidence).candidates).to.deep.equal([other]);
      const alone = { leases: [lease('a')], nodes: at('a', other) };
      expect(addressesById(alone, evidence)).to.deep.equal({ 'apiserver-a': other });
    });

    it('does not try a refused address', () => {
      const facts = { ...nothing, leases: [lease('a')], nodes: at('a', other, own) };
      const refuse = (address: string) =>
        address === own ? { ok: false as const, reason: 'no' } : { ok: true as const };
      expect(resolvePeers(facts, allSources, refuse).candidates).to.deep.equal([]);
    });
  });

  it('takes the address from an unrenewed Lease once a server answers there under another name', () => {
    const [x, y] = ['10.0.0.1:6443', '10.0.0.2:6443'] as const;
    const facts = {
      leases: [lease('old'), lease('new')],
      nodes: [{ hostname: 'old', address: x }],
      endpoints: [x],
    };
    const abandoned = new Map([['apiserver-old', undefined]]);
    const claimed = { 'apiserver-old': x, 'apiserver-new': undefined };
    expect(addressesById(facts, found({ [x]: [] }))).to.deep.equal(claimed);
    expect(addressesById(facts, { abandoned, ...found({ [x]: undefined }) })).to.deep.equal(claimed);
    const { peers, problems } = resolve(facts, allSources, { abandoned, ...found({ [x]: [] }) });
    expect(peers.find(({ id }) => id === x)).to.include({ address: x });
    expect(peers.find(({ id }) => id === 'apiserver-old')).to.include({ displacedBy: x });
    expect(problems).to.deep.equal([]);
    expect(addressesById(facts, { abandoned, ...found({ [x]: ['new'] }) })).to.deep.equal({
      'apiserver-old': undefined,
      'apiserver-new': x,
    });
    // No other peer lacks an address, so the server of this one may be away.
    const alone = {
      ...facts,
      leases: [lease('old'), lease('b')],
      nodes: [...facts.nodes, { hostname: 'b', address: y }],
    };
    expect(addressesById(alone, { abandoned, ...found({ [x]: [] }) })).to.include({ 'apiserver-old': x });
  });

  it('probes each Lease a limited number of times, however many there are', () => {
    const looksAtEach = (count: number) => {
      let looks = 0;
      const forged = Array.from({ length: count }, (_, at) => {
        const one = lease(`host-${at}`, { annotatedAddress: `10.0.0.${at % 20}:6443` });
        return Object.defineProperty(one, 'hostname', { get: () => [`host-${at}`, looks++][0], enumerable: true });
      });
      const answers = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`10.0.0.${at}:6443`, ['kubernetes']]));
      resolve({ leases: forged }, allSources, found(answers));
      return looks / count;
    };
    expect(looksAtEach(400)).to.be.at.most(looksAtEach(100));
  });

  it('says all that it knows of a peer', () => {
    const [named, { hostname: _, ...nameless }] = [lease('a'), lease('b', { annotatedAddress: '10.0.0.2:6443' })];
    const { peers } = resolve({
      leases: [named, nameless],
      nodes: [{ hostname: 'a', address: '10.0.0.1:6443' }],
      endpoints: ['10.0.0.3:6443'],
    });
    expect(peers).to.deep.equal([
      { id: '10.0.0.3:6443', address: '10.0.0.3:6443', source: 'EndpointSlice', trust: 'Medium' },
      {
        ...{ id: 'apiserver-a', lease: named, hostname: 'a' },
        ...{ address: '10.0.0.1:6443', source: 'Node', trust: 'Medium' },
      },
      { id: 'apiserver-b', lease: nameless, address: '10.0.0.2:6443', source: 'LeaseAnnotation', trust: 'Low' },
    ]);
  });

  describe('with the addresses that the administrator lists', () => {
    const entry = (peer: string, address = '10.0.0.5:6443') => ({ peer, address });

    it('takes them for a Lease by its name or its host, and makes no second peer', () => {
      for (const name of ['a', 'apiserver-a'])
        expect(
          resolve({ leases: [lease('a')], staticEntries: [entry('b', '10.0.0.6:6443'), entry(name)] }).peers,
        ).to.deep.equal([
          {
            ...{ id: 'apiserver-a', lease: lease('a'), hostname: 'a' },
            ...{ address: '10.0.0.5:6443', source: 'Static', trust: 'High' },
          },
          { id: 'b', address: '10.0.0.6:6443', source: 'Static', trust: 'High' },
        ]);
    });

    it('makes no peer of a second address that they have for one Lease', () => {
      for (const name of ['a', 'apiserver-a'])
        expect(
          addressesById({ leases: [lease('a')], staticEntries: [entry(name), entry(name, '10.0.0.6:6443')] }),
        ).to.deep.equal({ 'apiserver-a': '10.0.0.5:6443' });
    });

    it('makes no second peer at the address of another one', () => {
      const nodes = [{ hostname: 'a', address: '10.0.0.5:6443' }];
      expect(addressesById({ leases: [lease('a')], nodes, staticEntries: [entry('spare')] })).to.deep.equal({
        'apiserver-a': '10.0.0.5:6443',
      });
    });

    it('ignores them if they are no source', () => {
      expect(
        resolve({ leases: [lease('a')], staticEntries: [entry('spare'), entry('a')] }, ['Node']).peers,
      ).to.deep.equal([{ id: 'apiserver-a', lease: lease('a'), hostname: 'a' }]);
    });
  });

  it('gives an address of two Leases to the one renewed last, whatever their names, or else to the first by name', () => {
    const winner = (one: string, other: string) =>
      resolve({
        leases: [
          lease('b', { annotatedAddress: '10.0.0.1:6443', renewTime: one }),
          lease('a', { annotatedAddress: '10.0.0.1:6443', renewTime: other }),
        ],
      }).peers.find(({ address }) => address !== undefined)?.id;
    expect([winner('2', '1'), winner('1', '2'), winner('1', '1')]).to.deep.equal([
      'apiserver-b',
      'apiserver-a',
      'apiserver-a',
    ]);
  });

  it('takes the host of exactly the name before others that differ in capitals', () => {
    const nodes = [
      { hostname: 'cp-2', address: '10.0.0.1:6443' },
      { hostname: 'CP-2', address: '10.0.0.2:6443' },
    ];
    expect(addressesById({ leases: [lease('CP-2')], nodes })).to.deep.equal({ 'apiserver-CP-2': '10.0.0.2:6443' });
    expect(addressesById({ leases: [lease('Cp-2')], nodes })).to.deep.equal({ 'apiserver-Cp-2': '10.0.0.1:6443' });
  });

  describe('by the names of certificates', () => {
    const [own, other] = ['10.0.0.1:6443', '192.0.2.1:6443'] as const;

    it('takes no host for another one in another domain', () => {
      const facts = { leases: [lease('a.example')], endpoints: [own] };
      expect(addressesById(facts, found({ [own]: ['a.other'] }))).to.deep.equal({
        'apiserver-a.example': undefined,
        [own]: own,
      });
      for (const name of ['a', 'A.Example', 'a.example', 'a.example.internal'])
        expect(addressesById(facts, found({ [own]: [name] })), name).to.deep.equal({ 'apiserver-a.example': own });
    });

    it('tells hosts with one first label apart, and names none if both could be meant', () => {
      const facts = { leases: [lease('a.one'), lease('a.two')], endpoints: [own] };
      expect(addressesById(facts, found({ [own]: ['a.two'] }))).to.deep.equal({
        'apiserver-a.one': undefined,
        'apiserver-a.two': own,
      });
      expect(addressesById(facts, found({ [own]: ['a.one'] }))).to.include({ 'apiserver-a.one': own });
      expect(addressesById(facts, found({ [own]: ['a'] }))).to.include({ [own]: own, 'apiserver-a.one': undefined });
    });

    it('takes an address from its holder if the certificate there now names another host', () => {
      const facts = { leases: [lease('a'), lease('b')], endpoints: [own] };
      const holders = new Map([[own, 'apiserver-a']]);
      expect(addressesById(facts, { ...found({ [own]: ['b'] }), holders })).to.deep.equal({
        'apiserver-a': undefined,
        'apiserver-b': own,
      });
    });

    it('leaves a Lease at the first of two addresses that it held', () => {
      const facts = { leases: [lease('a')], endpoints: [own, other] };
      const holders = new Map([
        [own, 'apiserver-a'],
        [other, 'apiserver-a'],
      ]);
      expect(addressesById(facts, { holders })).to.deep.equal({ 'apiserver-a': own, [other]: other });
    });
  });

  describe('with a Node address that does not answer', () => {
    const [own, other, third] = ['10.0.0.1:6443', '192.0.2.1:6443', '192.0.2.2:6443'] as const;
    const node = (hostname: string, address: string) => ({ hostname, address });
    const silent = found({ [other]: undefined, [third]: undefined });

    it('keeps it if the EndpointSlice has too few addresses for all Leases', () => {
      const facts = { leases: [lease('a'), lease('b')], nodes: [node('a', other), node('b', third)], endpoints: [own] };
      expect(addressesById(facts, silent)).to.include({ 'apiserver-a': other, 'apiserver-b': third });
    });

    it('keeps it if the addresses of the EndpointSlice belong to other Leases', () => {
      const facts = { leases: [lease('a'), lease('b')], nodes: [node('a', own), node('b', third)], endpoints: [own] };
      expect(addressesById(facts, silent)).to.deep.equal({ 'apiserver-a': own, 'apiserver-b': third });
    });

    it('counts no abandoned Lease among those that may be at an address of the EndpointSlice', () => {
      const facts = { leases: [lease('a'), lease('old')], nodes: [node('a', other)], endpoints: [own] };
      const abandoned = new Map([['apiserver-old', undefined]]);
      expect(addressesById(facts, { ...silent, abandoned })).to.include({ 'apiserver-a': undefined });
      expect(addressesById(facts, silent)).to.include({ 'apiserver-a': other });
    });
  });

  describe('with an abandoned Lease', () => {
    const [x, y] = ['10.0.0.1:6443', '10.0.0.2:6443'] as const;
    const node = (hostname: string, address: string) => ({ hostname, address });

    it('leaves it at its last address while the EndpointSlice lists that', () => {
      const abandoned = new Map([['apiserver-old', x]]);
      const { peers } = resolve({ leases: [lease('old')], endpoints: [x] }, allSources, { abandoned });
      expect(peers).to.have.length(1);
      expect(peers[0]).to.include({ address: x, source: 'EndpointSlice', trust: 'Medium', endpoint: true });
      expect(addressesById({ leases: [lease('old')], endpoints: [y] }, { abandoned })).to.deep.equal({
        'apiserver-old': undefined,
        [y]: y,
      });
    });

    it('leaves it at an address that the administrator lists', () => {
      const facts = {
        leases: [lease('old'), lease('new')],
        staticEntries: [{ peer: 'old', address: x }],
        endpoints: [x],
      };
      const abandoned = new Map([['apiserver-old', undefined]]);
      expect(addressesById(facts, { abandoned, ...found({ [x]: [] }) })).to.include({ 'apiserver-old': x });
    });

    it('takes the address from it if any renewed Lease is found nowhere, but only after all its places were tried', () => {
      const abandoned = new Map([['apiserver-old', undefined]]);
      const leases = [lease('old'), lease('new'), lease('c')];
      const nodes = [node('old', x), node('c', y)];
      const evidence = { abandoned, ...found({ [x]: [], [y]: [] }) };
      expect(addressesById({ leases, nodes, endpoints: [x] }, evidence)).to.include({ 'apiserver-old': undefined });
      const untried = { leases, nodes: [...nodes, node('new', '10.0.0.3:6443')], endpoints: [x] };
      expect(addressesById(untried, evidence)).to.include({ 'apiserver-old': x });
    });
  });
});
