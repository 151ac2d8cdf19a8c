import { expect } from 'chai';
import { describeCidrFault, ipv6Bytes, parseCidr } from '../../src/runtime/cidr.ts';

describe('parseCidr', () => {
  it('gives the network in canonical form, an IPv6 form of IPv4 as IPv4', () => {
    expect(parseCidr('10.0.0.0/8')).to.deep.equal({ network: '10.0.0.0', family: 'ipv4', prefix: 8 });
    expect(parseCidr('FD00:0::/8')).to.deep.equal({ network: 'fd00::', family: 'ipv6', prefix: 8 });
    expect(parseCidr('::ffff:10.0.0.0/104')).to.deep.equal({ network: '10.0.0.0', family: 'ipv4', prefix: 8 });
  });
});

describe('describeCidrFault', () => {
  it('finds none in ranges, and names every one that is no range', () => {
    expect(describeCidrFault(['10.0.0.0/8', 'fd00::/64'])).to.equal(undefined);
    expect(describeCidrFault(['x/8', '10.0.0.0/8', '::/129'])).to.equal('not a CIDR: "x/8", "::/129"');
  });

  it('names every range that has bits set beyond its prefix, with the range that was probably meant', () => {
    expect(describeCidrFault(['10.0.0.1/8', 'fd00::1/64'])).to.equal(
      '"10.0.0.1/8" has bits set beyond its prefix: give 10.0.0.0/8; ' +
        '"fd00::1/64" has bits set beyond its prefix: give fd00::/64',
    );
  });
});

describe('ipv6Bytes', () => {
  it('fills in what an address leaves out', () => {
    expect(ipv6Bytes('64:ff9b::a00:1')).to.deep.equal([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
  });
});
