import { expect } from 'chai';
import { explainElectionTrouble } from '../../src/operator/explain-election-trouble.ts';

describe('explainElectionTrouble', () => {
  it('names the cure of trouble that does not pass by itself', () => {
    expect(explainElectionTrouble('NamespaceMissing', 'not found', 'own')).to.deep.equal({
      reason: 'NamespaceMissing',
      message: 'no operator can lead, because its namespace own does not exist: create it, or set --namespace',
    });
    expect(explainElectionTrouble('Forbidden', 'cannot get leases', 'own')).to.deep.equal({
      reason: 'Forbidden',
      message: 'no operator can lead, because it may not use its election Lease: cannot get leases',
    });
  });

  for (const trouble of ['Unreachable', 'Failed', undefined] as const)
    it(`says nothing of ${trouble ?? 'no trouble'}, which may pass by itself`, () => {
      expect(explainElectionTrouble(trouble, 'x', 'own')).to.equal(undefined);
    });
});
