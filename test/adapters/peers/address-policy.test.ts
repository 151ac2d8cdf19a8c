import { isIPv6 } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { createAddressPolicy } from '../../../src/adapters/peers/address-policy.ts';

const forbiddenV4 = fc.oneof(
  fc.tuple(fc.constantFrom(0, 127), byte(), byte(), byte()),
  fc.tuple(fc.constant(169), fc.constant(254), byte(), byte()),
  fc.tuple(fc.integer({ min: 224, max: 255 }), byte(), byte(), byte()),
);
const anyV4 = fc.tuple(byte(), byte(), byte(), byte());
const port = fc.integer({ min: 1, max: 65535 });

/** The network of this prefix length that contains an address. */
function rangeOf(octets: readonly number[], prefix: number): string {
  return `${octets.map((octet, at) => octet & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * at))) & 0xff).join('.')}/${prefix}`;
}

describe('createAddressPolicy', () => {
  it('allows the addresses of an ordinary control plane', () => {
    const policy = createAddressPolicy([]);
    for (const address of ['10.0.0.1:6443', '192.168.1.2:443', '203.0.113.7:6443', '[fd00::1]:6443', '[2001:db8::1]:1'])
      expect(policy.check(address), address).to.deep.equal({ ok: true });
  });

  it('refuses a forbidden address, and says why', () => {
    const policy = createAddressPolicy([]);
    const reasons: Readonly<Record<string, string>> = {
      '127.0.0.1:6443': 'loopback',
      '[::1]:6443': 'loopback',
      '169.254.169.254:80': 'metadata',
      '[fe80::1]:6443': 'link-local',
      '0.0.0.0:6443': 'unspecified',
      '[::]:6443': 'unspecified',
      '224.0.0.1:6443': 'multicast',
      '[ff02::1]:6443': 'multicast',
      '255.255.255.255:6443': 'broadcast',
      '[::ffff:127.0.0.1]:6443': 'loopback',
      '[::ffff:a9fe:a9fe]:80': 'metadata',
      '[::127.0.0.1]:6443': 'loopback',
    };
    for (const [address, reason] of Object.entries(reasons)) {
      const verdict = policy.check(address);
      expect(verdict.ok ? 'ok' : verdict.reason, address).to.contain(reason);
    }
  });

  it('refuses every IPv6 address that carries a forbidden IPv4 address, and says which', () => {
    const carrying = (a: string, b: string, inverted: string) => [
      `64:ff9b::${a}:${b}`,
      `64:ff9b:1::${a}:${b}`,
      `64:ff9b:1:7:8:9:${a}:${b}`,
      `2002:${a}:${b}::1`,
      `2001:0:${a}:${b}:0:0:f5ff:fffe`,
      `2001:0:a00:1::${inverted}`,
      `::ffff:0:${a}:${b}`,
      `fd00::5efe:${a}:${b}`,
      `2001:db8::200:5efe:${a}:${b}`,
    ];
    for (const allowed of [[], ['0.0.0.0/0', '::/0'], ['169.254.169.254/32', '127.0.0.1/32']]) {
      const policy = createAddressPolicy(allowed);
      for (const host of carrying('a9fe', 'a9fe', '5601:5601')) {
        const verdict = policy.check(`[${host}]:80`);
        expect(verdict.ok ? 'ok' : verdict.reason, host).to.contain('carries 169.254.169.254');
      }
      for (const host of carrying('7f00', '1', '80ff:fffe'))
        expect(policy.check(`[${host}]:6443`).ok, host).to.equal(false);
    }
    const policy = createAddressPolicy([]);
    expect(policy.check('[64:ff9b::169.254.169.254]:80').ok).to.equal(false);
    for (const host of carrying('a00', '1', 'f5ff:fffe'))
      expect(policy.check(`[${host}]:6443`).ok, host).to.equal(true);
  });

  it('refuses the local NAT64 prefix with a forbidden IPv4 address at any of its positions', () => {
    const policy = createAddressPolicy([]);
    // Source: RFC 6052, section 2.2: prefixes of 48, 56, 64 and 96 bits, and a skipped zero byte.
    for (const host of [
      '64:ff9b:1:a9fe:a9:fe00::1',
      '64:ff9b:1:5a9:fe:a9fe::1',
      '64:ff9b:1:5:a9:fea9:fe00:1',
      '64:ff9b:1:5:0:7:a9fe:a9fe',
      '64:ff9b:1:7f00:0:100::1',
      '64:ff9b:1:5:7f:0:100:1',
    ])
      expect(policy.check(`[${host}]:6443`).ok, host).to.equal(false);
    expect(policy.check('[64:ff9b:1:5:a:0:100:1]:6443').ok).to.equal(true);
  });

  it('refuses the metadata services of clouds that have no link-local address', () => {
    const policy = createAddressPolicy([]);
    for (const host of ['100.100.100.200', '168.63.129.16', '[fd00:ec2::254]', '[fd20:ce::254]', '[::ffff:6464:64c8]'])
      expect(policy.check(`${host}:443`), host)
        .to.have.property('reason')
        .that.contains('metadata');
    expect(createAddressPolicy(['fd00:ec2::254/128']).check('[fd00:ec2::254]:443').ok).to.equal(true);
  });

  it('refuses names, numbers that only some programs take for addresses, and all other text', () => {
    const policy = createAddressPolicy(['0.0.0.0/0', '::/0']);
    const bad = [
      'localhost:6443',
      'kubernetes.default.svc:443',
      '2130706433:6443',
      '127.1:6443',
      '0x7f.0.0.1:6443',
      '010.0.0.1:6443',
      '10.0.0.1',
      '10.0.0.1:0',
      '10.0.0.1:65536',
      '10.0.0.1:06443',
      '10.0.0.1:6443/x',
      'u@10.0.0.1:6443',
      '[fe80::1%eth0]:6443',
      '[fd00::1%25eth0]:6443',
      '[fd00::1%]:6443',
      '[10.0.0.1]:6443',
      'fd00::1:6443',
      '',
    ];
    for (const address of bad) expect(policy.check(address).ok, address).to.equal(false);
  });

  it('permits only addresses in the allowed CIDRs', () => {
    const policy = createAddressPolicy(['10.0.0.0/24', 'fd00::/64']);
    expect(policy.check('10.0.0.255:6443').ok).to.equal(true);
    expect(policy.check('[::ffff:10.0.0.7]:6443').ok).to.equal(true);
    expect(policy.check('[fd00::7]:6443').ok).to.equal(true);
    expect(policy.check('10.0.1.0:6443')).to.deep.equal({ ok: false, reason: 'outside the allowed CIDRs' });
    expect(policy.check('[fd00:0:0:1::]:6443').ok).to.equal(false);
  });

  it('opens a forbidden range only for a CIDR inside it', () => {
    expect(createAddressPolicy(['127.0.0.0/8']).check('127.0.0.1:6443').ok).to.equal(true);
    expect(createAddressPolicy(['127.0.0.1/32']).check('127.0.0.1:6443').ok).to.equal(true);
    expect(createAddressPolicy(['127.0.0.1/32']).check('127.0.0.2:6443').ok).to.equal(false);
    expect(createAddressPolicy(['::1/128']).check('[::1]:6443').ok).to.equal(true);
    expect(createAddressPolicy(['126.0.0.0/7']).check('127.0.0.1:6443').ok).to.equal(false);
    expect(createAddressPolicy(['::/0']).check('[::1]:6443').ok).to.equal(false);
  });

  it('names every CIDR that it cannot parse', () => {
    const bad = ['10.0.0.0', '10.0.0.0/33', 'x/8', '10.0.0.0/-1', '::/129', '10.0.0.0/08', ''];
    expect(() => createAddressPolicy(['10.0.0.0/8', ...bad])).to.throw(
      `not a CIDR: ${bad.map((cidr) => JSON.stringify(cidr)).join(', ')}`,
    );
  });

  it('names the first address of every range that has bits set beyond its prefix', () => {
    for (const [cidr, first] of [
      ['10.0.0.1/8', '10.0.0.0/8'],
      ['10.0.0.130/25', '10.0.0.128/25'],
      ['fd00::1/64', 'fd00::/64'],
      ['fd00::/7', 'fc00::/7'],
      ['2001:db8:0:8000::/48', '2001:db8::/48'],
      ['::ffff:10.0.0.1/104', '10.0.0.0/8'],
    ] as const)
      expect(() => createAddressPolicy(['10.0.0.0/8', cidr]), cidr).to.throw(
        `${JSON.stringify(cidr)} has bits set beyond its prefix: give ${first}`,
      );
    const whole = [
      '0.0.0.0/0',
      '::/0',
      '10.0.0.1/32',
      'fd00::1/128',
      'fc00::/7',
      '2001:db8:0:8000::/49',
      '64:ff9b::/96',
    ];
    expect(() => createAddressPolicy(whole)).not.to.throw();
  });

  it('never permits forbidden IPv4 by a broad allowance, in whichever notation', () => {
    const policy = createAddressPolicy(['0.0.0.0/0', '::/0']);
    fc.assert(
      fc.property(forbiddenV4, port, (octets, number) => {
        for (const host of spellings(octets)) expect(policy.check(`${host}:${number}`).ok, host).to.equal(false);
      }),
      { numRuns: 300 },
    );
  });

  it('judges all spellings of an IPv4 address in the same way', () => {
    fc.assert(
      fc.property(anyV4, anyV4, fc.integer({ min: 0, max: 32 }), port, (octets, network, prefix, number) => {
        const policy = createAddressPolicy([rangeOf(network, prefix)]);
        const verdicts = spellings(octets).map((host) => policy.check(`${host}:${number}`).ok);
        expect(new Set(verdicts).size).to.equal(1);
      }),
      { numRuns: 300 },
    );
  });

  it('never permits an address outside the allowed CIDRs', () => {
    fc.assert(
      fc.property(anyV4, anyV4, fc.integer({ min: 0, max: 32 }), (octets, network, prefix) => {
        const policy = createAddressPolicy([rangeOf(network, prefix)]);
        const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
        const inside = ((toNumber(octets) ^ toNumber(network)) & mask) === 0;
        if (policy.check(`${octets.join('.')}:1`).ok) expect(inside).to.equal(true);
      }),
      { numRuns: 300 },
    );
  });

  it('never throws, on any text', () => {
    const policy = createAddressPolicy(['10.0.0.0/8']);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.ipV6().map((ip) => `[${ip}]:1`),
        ),
        (text) => {
          policy.check(text);
        },
      ),
    );
  });
});

function byte() {
  return fc.integer({ min: 0, max: 255 });
}

function toNumber(octets: readonly number[]): number {
  return octets.reduce((sum, octet) => ((sum << 8) | octet) >>> 0, 0);
}

function spellings(octets: readonly number[]): string[] {
  const dotted = octets.join('.');
  const hex = octets.map((octet) => octet.toString(16).padStart(2, '0'));
  const pair = `${hex[0]}${hex[1]}:${hex[2]}${hex[3]}`;
  const v6 = [`::ffff:${dotted}`, `0:0:0:0:0:FFFF:${dotted}`, `::ffff:${pair}`, `0:0:0:0:0:ffff:${pair}`];
  for (const text of v6) expect(isIPv6(text)).to.equal(true);
  return [dotted, ...v6.map((text) => `[${text}]`)];
}
