import { expect } from 'chai';
import { compareFields } from '../../src/domain/compare-fields.ts';
import type { OutlineNode } from '../../src/domain/schema-outline.ts';

type Fields = Readonly<Record<string, OutlineNode>>;

const node = (text: string, fields: Fields = {}, refs: readonly string[] = []): OutlineNode => ({
  digest: JSON.stringify([text, Object.entries(fields).map(([name, { digest }]) => [name, digest]), refs]),
  text,
  gated: false,
  refs,
  fields: new Map(Object.entries(fields)),
});
const refTo = (...names: readonly string[]) => node('', {}, names);
const kindOf = (definitions: Fields) => ({
  outline: { definitions: new Map(Object.entries(definitions)), kinds: new Map() },
  definition: 'Kind',
});
const compare = (left: Fields, right: Fields) => {
  const { onlyLeft, onlyRight, described } = compareFields(kindOf(left), kindOf(right));
  return [onlyLeft.paths, onlyRight.paths, described.paths];
};

describe('compareFields', () => {
  it('names a definition whose own description differs, where it first occurs', () => {
    const withSpec = (text: string): Fields => ({
      Kind: node('', { first: refTo('Spec'), second: refTo('Spec') }),
      Spec: node(text, { name: node('x') }),
    });
    expect(compare(withSpec('old'), withSpec('new'))).to.deep.equal([[], [], ['first']]);
    expect(compare(withSpec('old'), withSpec('old'))).to.deep.equal([[], [], []]);
  });

  it('names a field whose description differs at each place, even if its type is known', () => {
    const of = (text: string): Fields => ({
      Kind: node('', { first: refTo('Spec'), second: node(text, {}, ['Spec']) }),
      Spec: node('', { name: node('x') }),
    });
    expect(compare(of('old'), of('new'))).to.deep.equal([[], [], ['second']]);
  });

  it('follows definitions that refer to others, which may refer back', () => {
    const of = (base: Fields): Fields => ({
      Kind: node('', { own: node('a') }, ['Middle']),
      Middle: node('', { middle: node('b') }, ['Base']),
      Base: node('', base, ['Middle']),
    });
    expect(compare(of({ more: node('c') }), of({}))).to.deep.equal([['more'], [], []]);
    expect(compare(of({}), of({ more: node('c') }))).to.deep.equal([[], ['more'], []]);
  });

  it('takes the field of the node itself before the one of a definition that it refers to', () => {
    const of = (inherited: string): Fields => ({
      Kind: node('', { both: node('own') }, ['Base']),
      Base: node('', { both: node(inherited) }),
    });
    expect(compare(of('x'), of('y'))).to.deep.equal([[], [], []]);
  });

  it('compares nodes with the same definition and different fields of their own', () => {
    const of = (second: Fields): Fields => ({
      Kind: node('', { first: node('', { a: node('x') }, ['Base']), second: node('', second, ['Base']) }),
      Base: node('', { base: node('b') }),
    });
    expect(compare(of({ a: node('x'), b: node('y') }), of({ a: node('x') }))).to.deep.equal([['second.b'], [], []]);
  });

  it('takes a definition that is missing for one without fields', () => {
    const whole: Fields = { Kind: node('', { spec: refTo('Spec') }), Spec: node('', { name: node('x') }) };
    const broken: Fields = { Kind: node('', { spec: refTo('Spec') }) };
    expect(compare(whole, broken)).to.deep.equal([['spec.name'], [], []]);
    expect(compare(broken, broken)).to.deep.equal([[], [], []]);
    expect(compare({}, broken)).to.deep.equal([[], ['spec'], []]);
  });
});
