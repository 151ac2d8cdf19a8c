import { expect } from 'chai';
import { parseVersionFlags } from '../../src/flags/version-flags.ts';

describe('parseVersionFlags', () => {
  for (const args of [['-o', 'json'], ['-o=json'], ['-ojson'], ['--output', 'json'], ['--output=json']])
    it(`reads ${args.join(' ')}`, () => {
      expect(parseVersionFlags(args)).to.deep.equal({ kind: 'flags', output: 'json' });
    });

  it('prints text without flags, and its help on request', () => {
    expect(parseVersionFlags([])).to.deep.equal({ kind: 'flags', output: 'text' });
    for (const flag of ['-h', '--help']) expect(parseVersionFlags([flag])).to.deep.equal({ kind: 'help' });
  });

  for (const [args, problem] of [
    [['-o', 'yaml'], '-o yaml is not supported; give json'],
    [['-o'], '-o needs a value'],
    [['json'], 'unexpected argument "json"'],
    [['--outptu=json'], 'unknown flag --outptu; did you mean --output? It takes --output, --help'],
  ] as const)
    it(`refuses ${args.join(' ')}`, () => {
      expect(parseVersionFlags(args)).to.deep.equal({ kind: 'problems', problems: [problem] });
    });
});
