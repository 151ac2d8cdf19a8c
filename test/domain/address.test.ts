import { expect } from 'chai';
import { formatAddress, networkOf, parseAddress } from '../../src/domain/address.ts';

describe('networkOf', () => {
  for (const [address, network] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:1::4:5:6', '2001:db8:1:0::/64'],
    ['fe80::', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['64:ff9b::ffff:192.0.2.1', '64:ff9b:0:0::/64'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['::ffff:1:2:3', '0:0:0:0::/64'],
    ['', ''],
  ] as const)
    it(`takes ${JSON.stringify(address)} for ${JSON.stringify(network)}`, () => {
      expect(networkOf(address)).to.equal(network);
    });
});

describe('parseAddress', () => {
  for (const [address, host, port] of [
    ['10.0.0.1:6443', '10.0.0.1', 6443],
    ['a.example:1', 'a.example', 1],
    ['[2001:db8::1]:65535', '2001:db8::1', 65535],
    ['[::FFFF:10.0.0.1]:443', '::FFFF:10.0.0.1', 443],
  ] as const)
    it(`reads ${address}, and formatAddress writes it`, () => {
      expect(parseAddress(address)).to.deep.equal({ host, port });
      expect(formatAddress({ host, port })).to.equal(address);
    });

  for (const address of [
    '',
    '10.0.0.1',
    '10.0.0.1:',
    ':6443',
    '10.0.0.1:0',
    '10.0.0.1:06443',
    '10.0.0.1:65536',
    '10.0.0.1:123456',
    '10.0.0.1:6443x',
    'a b:1',
    'a@b:1',
    'a/b:1',
    'a%eth0:1',
    '::1:6443',
    '[10.0.0.1]:6443',
    '[::1]',
    '[::1]:0',
    'x[::1]:1',
    '[::1]:1x',
    '[fe80::1%eth0]:1',
  ])
    it(`refuses ${JSON.stringify(address)}`, () => {
      expect(parseAddress(address)).to.equal(undefined);
    });
});
