import { expect } from 'chai';
import { cutText } from '../../src/domain/cut-text.ts';

describe('cutText', () => {
  it('keeps a text that is short enough, and ends a longer one with an ellipsis', () => {
    expect(['', 'abcd', 'abcde', 'abcdefgh'].map((text) => cutText(text, 4))).to.deep.equal([
      '',
      'abcd',
      'abc…',
      'abc…',
    ]);
  });
});
