import { expect } from 'chai';
import { createAddressPolicy } from '../../src/adapters/peers/address-policy.ts';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { readSettings } from '../../src/operator/read-settings.ts';
import { createSelfSignedCertificate } from '../../src/runtime/issue-certificate.ts';

type Context = Parameters<typeof readSettings>[1];

const read = (spec: PeerDiscovery['spec'], name = 'cluster', tablesOfOthers: Context['tablesOfOthers'] = []) =>
  readSettings(
    {
      apiVersion: 'peerdiscovery.dev/v1alpha1',
      kind: 'PeerDiscovery',
      metadata: { name, generation: 3 },
      ...(spec !== undefined && { spec }),
    },
    { namespace: 'own', tablesOfOthers, createAddressPolicy },
  );

describe('readSettings', () => {
  it('observes by default, over the Leases of kube-apiservers, and publishes in its own namespace', () => {
    const result = read(undefined);
    if (!result.ok) throw new Error(result.problems.join());
    expect(result.settings).to.include({ mode: 'Observe', generation: 3, checkLeaseNames: true, staleAfterMs: 60_000 });
    expect(result.settings.routingTable).to.deep.equal({ namespace: 'own', name: 'peerdiscovery-cluster' });
  });

  it("does not check the names of other servers' Leases against kube-apiserver's", () => {
    const result = read({ leases: { labelSelector: 'app=other' } });
    expect(result.ok && result.settings.checkLeaseNames).to.equal(false);
  });

  for (const [name, table] of [
    ['operator', undefined],
    ['ca', undefined],
    ['cluster', 'peerdiscovery-operator'],
    ['cluster', 'peerdiscovery-ca'],
    ['cluster', 'kube-root-ca.crt'],
  ] as const)
    it(`refuses ${name} with the table ${table ?? 'of its name'}, whose objects have another purpose`, () => {
      const result = read(table === undefined ? {} : { routingTable: { name: table } }, name);
      expect(result.ok ? [] : result.problems.join()).to.match(/^spec\.routingTable\.name: "[^"]+" is reserved/);
    });

  for (const [mine, theirs] of [
    ['peerdiscovery-x', 'peerdiscovery-x-behind'],
    ['peerdiscovery-x-behind', 'peerdiscovery-x'],
    ['a-0123456789-0', 'a'],
    ['a', 'a-0123456789-12'],
  ] as const)
    it(`refuses the table ${mine} beside ${theirs}, because they would share an object`, () => {
      const beside = (namespace: string) =>
        read({ routingTable: { name: mine } }, 'cluster', [{ owner: 'other', table: { namespace, name: theirs } }]);
      const result = beside('own');
      expect(result.ok ? [] : result.problems.join()).to.match(/is also a name of .* of PeerDiscovery other; choose/);
      expect(beside('elsewhere').ok).to.equal(true);
    });

  it('accepts tables whose names only look alike', () => {
    const table = { namespace: 'own', name: 'peerdiscovery-x' };
    for (const name of ['peerdiscovery-x-behinds', 'peerdiscovery-x-blue', 'peerdiscovery-xbehind', 'behind'])
      expect(read({ routingTable: { name } }, 'cluster', [{ owner: 'other', table }]).ok, name).to.equal(true);
  });

  for (const [what, pem] of [
    ['hello', 'hello'],
    ['a certificate of nothing', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    ['half a certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n'],
    ['a good certificate and a bad one', `${createSelfSignedCertificate('a', 0).cert}\n-----BEGIN CERTIFICATE-----\n`],
  ] as const)
    it(`refuses a CA bundle of ${what}, and says how to make one`, () => {
      const result = read({ tls: { caBundle: Buffer.from(pem).toString('base64') } });
      expect(result.ok ? [] : result.problems.join()).to.match(
        /^spec\.tls\.caBundle: .*; give PEM .*base64 -w0 ca\.crt/,
      );
    });

  it('accepts a CA bundle of several certificates', () => {
    const pem = ['a', 'b'].map((name) => createSelfSignedCertificate(name, 0).cert).join('\n# the other\n');
    const result = read({ tls: { caBundle: Buffer.from(pem).toString('base64') } });
    expect(result.ok).to.equal(true);
    expect(result.ok && result.caPem).to.equal(pem);
  });

  it('names every bad field at once', () => {
    const result = read({ staleAfter: 'soon', polling: { timeout: '5' }, addresses: { allowedCIDRs: ['10.0.0.0'] } });
    expect(result.ok).to.equal(false);
    const problems = result.ok ? [] : result.problems;
    expect(problems.map((problem) => problem.slice(0, problem.indexOf(': ')))).to.deep.equal([
      'spec.addresses.allowedCIDRs',
      'spec.staleAfter',
      'spec.polling.timeout',
    ]);
  });
});
