import { expect } from 'chai';
import { closestName, didYouMean } from '../../src/domain/closest-name.ts';

describe('closestName', () => {
  const commands = ['status', 'explain', 'diff', 'doctor', 'dashboard'];
  const cases: readonly [string, string | undefined][] = [
    ['statsu', 'status'],
    ['stauts', 'status'],
    ['satus', 'status'],
    ['statuss', 'status'],
    ['STATUS', 'status'],
    ['docter', 'doctor'],
    ['dif', 'diff'],
    ['expl', 'explain'],
    ['dash', 'dashboard'],
    ['apply', undefined],
    ['x', undefined],
    ['', undefined],
    ['d', undefined],
  ];
  for (const [text, wanted] of cases)
    it(`finds ${wanted ?? 'nothing'} for ${JSON.stringify(text)}`, () =>
      expect(closestName(text, commands)).to.equal(wanted));

  it('takes no notice of the dashes of a flag, and asks only if there is an answer', () => {
    expect(didYouMean('-outptu', ['--output', '--watch'])).to.equal('; did you mean --output?');
    expect(didYouMean('--nonsense', ['--output', '--watch'])).to.equal('');
  });
});
