import { expect } from 'chai';
import { defaultLimits, worstCaseBytes } from '../../src/proxy/limits.ts';

describe('worstCaseBytes', () => {
  const kibibyte = 1024;
  const mebibyte = 1024 * kibibyte;
  const none = {
    ...defaultLimits,
    maxConnections: 0,
    maxRequests: 0,
    maxLongRunning: 0,
    maxUnauthenticated: 0,
    maxBufferedBytes: 0,
  };

  it('adds the process and the documents to what each limit permits', () => {
    const idle = worstCaseBytes(none);
    expect(idle).to.equal((320 + 480) * mebibyte);
    for (const [change, bytes] of [
      [{ maxConnections: 10 }, 10 * 64 * kibibyte],
      [{ maxRequests: 10 }, 10 * 16 * kibibyte],
      [{ maxLongRunning: 10 }, 10 * 16 * kibibyte],
      [{ maxUnauthenticated: 10 }, 3 * 10 * 16 * kibibyte],
      [{ maxBufferedBytes: 8 * mebibyte }, 10 * mebibyte],
    ] as const)
      expect(worstCaseBytes({ ...none, ...change }) - idle, JSON.stringify(change)).to.equal(bytes);
  });
});
