import { expect } from 'chai';
import { compareServedVersions, servedMinor, showServedVersion } from '../../src/domain/served-version.ts';

describe('compareServedVersions', () => {
  it('orders servers by the version that they serve before that of their program', () => {
    const unknown = {};
    const emulating = { version: 'v1.36.3', emulatedVersion: '1.33' };
    const old = { version: 'v1.35.4' };
    const young = { version: 'v1.36.3' };
    const youngest = { version: 'v1.100.0' };
    const shuffled = [young, youngest, emulating, unknown, old];
    expect(shuffled.sort(compareServedVersions)).to.deep.equal([unknown, emulating, old, young, youngest]);
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
  it('names what is emulated', () => {
    expect(showServedVersion({ version: 'v1.36.3', emulatedVersion: '1.33' })).to.equal('v1.36.3 as 1.33');
    expect(showServedVersion({ version: 'v1.36.3' })).to.equal('v1.36.3');
    expect(showServedVersion({})).to.equal(undefined);
  });
});
