import { expect } from 'chai';
import { rememberFew } from '../../src/http2/remember-few.ts';

describe('rememberFew', () => {
  it('keeps no long key, and none beyond a thousand', () => {
    const known = new Map<string, number>();
    rememberFew(known, 'x'.repeat(65), 0);
    expect(known.size).to.equal(0);
    rememberFew(known, 'x'.repeat(64), 0);
    for (let at = 1; at < 2_000; at++) rememberFew(known, String(at), at);
    expect(known.size).to.equal(1_000);
    expect(known.get('999')).to.equal(999);
  });
});
