import { expect } from 'chai';
import { messageOf } from '../../src/runtime/message-of.ts';

describe('messageOf', () => {
  it('is the message of an error, and the text of anything else', () => {
    expect(messageOf(new TypeError('no'))).to.equal('no');
    expect([messageOf('no'), messageOf(undefined), messageOf(7)]).to.deep.equal(['no', 'undefined', '7']);
  });
});
