import { expect } from 'chai';
import { findMemoryShortage } from '../../../src/proxy/admission/find-memory-shortage.ts';
import { defaultLimits, worstCaseBytes } from '../../../src/proxy/limits.ts';

const mebibyte = 1024 * 1024;

describe('findMemoryShortage', () => {
  const one = worstCaseBytes(defaultLimits);

  it('finds none if the container has as much as all processes may need, or no limit', () => {
    for (const given of [2 * one, 2 * one + 1, 0, -1])
      expect(findMemoryShortage({ limits: defaultLimits, workers: 2 }, given)).to.equal(undefined);
  });

  it('says what the container has, and what all processes may need', () => {
    expect(findMemoryShortage({ limits: defaultLimits, workers: 2 }, 2 * one - 1)).to.deep.equal({
      limit: `${Math.ceil((2 * one - 1) / mebibyte)}Mi`,
      needed: `${Math.ceil((2 * one) / mebibyte)}Mi`,
    });
    expect(findMemoryShortage({ limits: defaultLimits, workers: 1 }, 512 * mebibyte)).to.include({ limit: '512Mi' });
  });
});
