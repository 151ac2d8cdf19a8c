import { expect } from 'chai';
import type { ReflectorTrouble } from '../../../src/adapters/kubernetes/reflector.ts';
import { reflectorCheck } from '../../../src/adapters/kubernetes/reflector-check.ts';

describe('reflectorCheck', () => {
  it('fails until the objects were listed, and says why, always as it is now', () => {
    const reflector: { synced: boolean; failing: ReflectorTrouble | undefined } = { synced: false, failing: undefined };
    const check = reflectorCheck('objects', reflector);
    expect([check.name, check.ok, check.message]).to.deep.equal(['objects', false, 'not listed yet']);
    reflector.failing = { since: 0, message: 'forbidden' };
    expect([check.ok, check.message]).to.deep.equal([false, 'forbidden']);
    reflector.synced = true;
    expect(check.ok).to.equal(true);
  });
});
