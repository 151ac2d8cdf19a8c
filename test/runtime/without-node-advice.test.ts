import { expect } from 'chai';
import { withoutNodeAdvice } from '../../src/runtime/without-node-advice.ts';

describe('withoutNodeAdvice', () => {
  const advice = 'if the root CA is installed locally, try running Node.js with --use-system-ca';

  it('keeps the error and removes the hint at a flag of Node', () => {
    expect(withoutNodeAdvice(`self-signed certificate; ${advice}`)).to.equal('self-signed certificate');
    expect(withoutNodeAdvice(`GET https://a/version: self-signed certificate; ${advice} (twice)`)).to.equal(
      'GET https://a/version: self-signed certificate (twice)',
    );
    expect(withoutNodeAdvice('certificate has expired')).to.equal('certificate has expired');
  });
});
