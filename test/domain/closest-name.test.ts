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
    ['e', undefined],
    ['dfif', 'diff'],
    ['tsatsu', 'status'],
    ['idff', 'diff'],
    ['dfig', undefined],
    ['daschbord', 'dashboard'],
  ];
  for (const [text, wanted] of cases)
    it(`finds ${wanted ?? 'nothing'} for ${JSON.stringify(text)}`, () =>
      expect(closestName(text, commands)).to.equal(wanted));

  it('counts every different letter, but a swap only of two neighbours', () => {
    for (const [text, name] of [
      ['abcd', 'abxy'],
      ['zzab', 'zzbc'],
      ['zzbc', 'zzab'],
      ['ab-c', 'abcd'],
      ['abcd', 'ab-c'],
    ] as const)
      expect(closestName(text, [name]), `${text} ${name}`).to.equal(undefined);
  });

  it('finds nothing if no name is known, or if several begin with the text', () => {
    expect(closestName('status', [])).to.equal(undefined);
    expect(closestName('do', ['doctor', 'dominate'])).to.equal(undefined);
    expect(closestName('abc', ['ab-cdefghi'])).to.equal(undefined);
  });

  it('ignores the dashes of a flag, and asks only if a name is close', () => {
    expect(didYouMean('-outptu', ['--output', '--watch'])).to.equal('; did you mean --output?');
    expect(closestName('--og', ['--go'])).to.equal('--go');
    expect(closestName('--kub', ['--kubeconfig-of-the-cluster'])).to.equal('--kubeconfig-of-the-cluster');
    expect(didYouMean('--nonsense', ['--output', '--watch'])).to.equal('');
  });
});
