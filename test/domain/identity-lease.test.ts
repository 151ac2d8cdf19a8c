import { expect } from 'chai';
import { readIdentityLease } from '../../src/domain/identity-lease.ts';
import { identityLeaseName } from '../../src/runtime/identity-lease-name.ts';

const name = 'apiserver-wj467rbl25eeviqacfhvg2yvnm';
const good = {
  metadata: { name, labels: { 'kubernetes.io/hostname': 'master-1' } },
  spec: { holderIdentity: `${name}_1`, renewTime: '2026-01-01T00:00:00.000000Z' },
};

describe('identityLeaseName', () => {
  it('returns the name that a real kube-apiserver on master-1 has', () => {
    expect(identityLeaseName('master-1')).to.equal(name);
  });
});

describe('readIdentityLease', () => {
  const reasonOf = (lease: object) => {
    const read = readIdentityLease(lease, identityLeaseName);
    return 'problem' in read ? read.problem.reason : undefined;
  };

  it('reads a Lease without an address, as servers before 1.36 write it', () => {
    expect(readIdentityLease(good, identityLeaseName)).to.deep.equal({
      peer: { name, hostname: 'master-1', holderIdentity: `${name}_1`, renewTime: '2026-01-01T00:00:00.000000Z' },
    });
  });

  it('reads the address that servers from 1.36 on write', () => {
    const annotations = { 'kubernetes.io/peer-advertise-address': '10.0.0.1:6443' };
    const read = readIdentityLease({ ...good, metadata: { ...good.metadata, annotations } }, identityLeaseName);
    expect(read).to.have.nested.property('peer.annotatedAddress', '10.0.0.1:6443');
  });

  it('reports a Lease without a holder', () => {
    expect(reasonOf({ ...good, spec: { renewTime: 'x' } })).to.equal('NoHolder');
    expect(reasonOf({ ...good, spec: { ...good.spec, holderIdentity: null } })).to.equal('NoHolder');
    expect(reasonOf({ ...good, spec: { ...good.spec, holderIdentity: '' } })).to.equal('NoHolder');
    expect(reasonOf({ metadata: good.metadata })).to.equal('NoHolder');
  });

  it('reports a Lease that was never renewed', () => {
    expect(reasonOf({ ...good, spec: { holderIdentity: 'x' } })).to.equal('NoRenewTime');
    expect(reasonOf({ ...good, spec: { holderIdentity: 'x', renewTime: null } })).to.equal('NoRenewTime');
  });

  it('reports a Lease whose name does not match its hostname', () => {
    expect(reasonOf({ ...good, metadata: { ...good.metadata, name: 'apiserver-forged' } })).to.equal('Foreign');
    expect(reasonOf({ ...good, metadata: { name } })).to.equal('Foreign');
  });

  it('accepts any name from servers other than kube-apiserver, with or without a hostname', () => {
    const spec = { holderIdentity: 'x', renewTime: 'y' };
    expect(readIdentityLease({ metadata: { name: 'theirs' }, spec })).to.deep.equal({
      peer: { name: 'theirs', ...spec },
    });
    expect(readIdentityLease({ spec })).to.deep.equal({ peer: { name: '', ...spec } });
  });

  it('reports an empty object instead of throwing', () => {
    expect(reasonOf({})).to.equal('Foreign');
    expect(readIdentityLease({})).to.have.nested.property('problem.reason', 'NoHolder');
  });
});
