import { expect } from 'chai';
import { type Attempt, describeReaches, type Phase, wrongReaches } from '../../lab/cluster/reach.ts';

const attempt = (phase: Phase, isAllowed: boolean, hasReached: boolean): Attempt => ({
  phase,
  what: isAllowed ? 'metrics' : 'another port',
  isAllowed,
  hasReached,
});
const right = [
  attempt('before', true, true),
  attempt('before', false, true),
  attempt('enforced', true, true),
  attempt('enforced', false, false),
  attempt('after', true, true),
  attempt('after', false, true),
];

describe('The reach of Pods under NetworkPolicies', () => {
  it('is right if only what no policy allows fails, and only while policies are enforced', () => {
    expect(wrongReaches(right)).to.deep.equal([]);
  });

  it('is wrong in each other case', () => {
    const wrong = right.map((one) => ({ ...one, hasReached: !one.hasReached }));
    expect(wrongReaches(wrong)).to.deep.equal([
      'metrics, before: not reached',
      'another port, before: not reached',
      'metrics, enforced: not reached',
      'another port, enforced: reached',
      'metrics, after: not reached',
      'another port, after: not reached',
    ]);
  });

  it('is described by counts of allowed and forbidden connections', () => {
    expect(describeReaches(right)).to.equal(
      'While the policies were enforced, 1 of 1 connections that they allow came about, and 0 of 1 that they do not. ' +
        'Before, 1 of 1 of the latter came about, and afterwards 1 of 1.',
    );
  });
});
