import { expect } from 'chai';
import { readCorpus } from '../../lab/fuzz/corpus.ts';
import { mutate, shrink } from '../../lab/fuzz/mutate.ts';
import { createFuzzTargets } from '../../lab/fuzz/targets.ts';
import { seededRandom } from '../../lab/seeded-random.ts';

describe('make fuzz', () => {
  for (const target of createFuzzTargets())
    it(`finds nothing in a few hundred inputs and in all earlier failures, for ${target.name}`, () => {
      const inputs = [...target.inputs.map((text) => Buffer.from(text, 'latin1')), ...readCorpus(target.name)];
      const random = seededRandom(7);
      for (const input of inputs) target.check(input);
      for (let at = 0; at < 300; at++) target.check(mutate(inputs, target.words, random));
    });

  it('makes the same inputs from the same seed, and others from another', () => {
    const inputs = [Buffer.from('abcdef')];
    const made = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 20 }, () => mutate(inputs, ['x'], random).toString('hex'));
    };
    expect(made(1)).to.deep.equal(made(1));
    expect(made(1)).not.to.deep.equal(made(2));
  });

  it('shrinks an input to the part that makes it fail', () => {
    const fails = (input: Buffer) => input.includes('!') && input.includes('?');
    expect(shrink(Buffer.from('some ! text ? more'), fails).toString()).to.equal('!?');
  });
});
