import { expect } from 'chai';
import {
  compareServedVersions,
  compareVersions,
  minorOf,
  servedMinor,
  showServedVersion,
} from '../../src/domain/served-version.ts';

describe('compareServedVersions', () => {
  it('orders servers by the version that they serve, then by that of their program', () => {
    const unknown = {};
    const emulating = { version: 'v1.36.3', emulatedVersion: '1.33' };
    const old = { version: 'v1.35.4' };
    const young = { version: 'v1.36.3' };
    const youngest = { version: 'v1.100.0' };
    const shuffled = [young, youngest, emulating, unknown, old];
    expect(shuffled.sort(compareServedVersions)).to.deep.equal([unknown, emulating, old, young, youngest]);
  });

  it('orders servers of one minor version by their programs', () => {
    const patches = [{ version: 'v1.36.3' }, { version: 'v1.36.10' }];
    expect([...patches].reverse().sort(compareServedVersions)).to.deep.equal(patches);
    const emulating = [{ emulatedVersion: '1.33' }, { version: 'v1.36.3', emulatedVersion: '1.33' }];
    expect([...emulating].reverse().sort(compareServedVersions)).to.deep.equal(emulating);
  });
});

describe('compareVersions', () => {
  it('orders by the numbers, a missing one before zero, and then as text', () => {
    const sorted = ['', '1.9', '1.9.0', '1.10', '1.10.0', '1.10.0-1', '1.10.0-10'];
    expect([...sorted].reverse().sort(compareVersions)).to.deep.equal(sorted);
    expect(compareVersions('v1.36.3-a', 'v1.36.3-b')).to.be.below(0);
  });

  it('compares at most four numbers', () => {
    expect(compareVersions('1.2.3.4-b5', '1.2.3.4-a6')).to.be.above(0);
  });
});

describe('minorOf', () => {
  it('reads a version only from its beginning, with or without a v', () => {
    expect(minorOf('1.36.3')).to.equal('1.36');
    expect(minorOf('v12.3')).to.equal('12.3');
    expect(minorOf('go1.26')).to.equal(undefined);
    expect(minorOf(undefined)).to.equal(undefined);
  });
});

describe('servedMinor', () => {
  it('is the emulated version, else that of the program', () => {
    expect(servedMinor({ version: 'v1.36.3', emulatedVersion: '1.33' })).to.equal('1.33');
    expect(servedMinor({ version: 'v1.36.3+k3s1' })).to.equal('1.36');
    expect(servedMinor({ version: 'unknown' })).to.equal(undefined);
    expect(servedMinor({})).to.equal(undefined);
  });
});

describe('showServedVersion', () => {
  it('names the emulated version', () => {
    expect(showServedVersion({ version: 'v1.36.3', emulatedVersion: '1.33' })).to.equal('v1.36.3 as 1.33');
    expect(showServedVersion({ version: 'v1.36.3' })).to.equal('v1.36.3');
    expect(showServedVersion({ emulatedVersion: '1.33' })).to.equal(undefined);
    expect(showServedVersion({})).to.equal(undefined);
  });
});
