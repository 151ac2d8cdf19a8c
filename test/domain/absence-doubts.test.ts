import { expect } from 'chai';
import { absenceDoubts } from '../../src/domain/absence-doubts.ts';

const peer = (id: string, inDoubt: boolean) => ({ id, state: 'Ready' as const, ...(inDoubt && { inDoubt }) });
const doubt = { peer: 'b', reason: 'ConnectionFailed', message: 'no answer' };

describe('Doubts about what no server is known to serve', () => {
  it('are none if the table has none and no server has been away', () => {
    expect(absenceDoubts({ doubts: [], peers: [peer('a', false), peer('b', false)] })).to.deep.equal([]);
  });

  it('are those of the table, and each other server that has been away and was not read since', () => {
    const doubts = absenceDoubts({ doubts: [doubt], peers: [peer('a', true), peer('b', true), peer('c', false)] });
    expect(doubts.map(({ peer, reason }) => [peer, reason])).to.deep.equal([
      ['b', 'ConnectionFailed'],
      ['a', 'Away'],
    ]);
  });
});
