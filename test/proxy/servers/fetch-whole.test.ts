import { expect } from 'chai';
import type { AnswerHandler } from '../../../src/http/client/dispatch.ts';
import type { Exchange } from '../../../src/proxy/request/exchange.ts';
import { fetchWhole } from '../../../src/proxy/servers/fetch-whole.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const target = { id: 'a', address: '10.0.0.1:6443', serverName: 'kubernetes.default.svc', pinned: false };
const exchange = {
  rawHeaders: ['Host', 'a'],
  identity: { connectAs: 'anonymous', replacesToken: false, who: '', stamp: [] },
  connection: { remoteAddress: '10.0.0.9' },
} as unknown as Exchange;

function ask(maxBytes = 10) {
  const clock = createManualClock();
  const handlers: AnswerHandler[] = [];
  const aborts: string[] = [];
  const transport = {
    dispatch: (_target: unknown, _request: unknown, handler: AnswerHandler) => {
      handlers.push(handler);
      return { pause: () => {}, resume: () => {}, abort: (reason: Error) => void aborts.push(reason.message) };
    },
  };
  const request = { method: 'GET', path: '/openapi/v2', headers: [], maxBytes };
  const answer = fetchWhole({ transport, clock }, target, exchange, request);
  const [handler] = handlers;
  if (handler === undefined) throw new Error('nothing was asked');
  return { clock, handler, aborts, answer };
}

describe('fetchWhole', () => {
  it('returns a whole answer, and forgets its deadline', async () => {
    const { clock, handler, aborts, answer } = ask();
    handler.onHead(200, ['ETag', '"x"']);
    handler.onData(Buffer.from('whole'), false);
    handler.onEnd([]);
    const found = await answer;
    expect(found).to.include({ kind: 'answer', status: 200, cut: false });
    expect(found.kind === 'answer' && found.body.toString()).to.equal('whole');
    await clock.advance(60_000);
    expect(aborts).to.deep.equal([]);
  });

  it('ends an answer whose body never ends, with a fault that takes no server out', async () => {
    const { clock, handler, aborts, answer } = ask();
    handler.onHead(200, []);
    handler.onData(Buffer.from('half'), false);
    await clock.advance(10_000);
    expect(await answer).to.have.nested.property('fault.kind', 'answer');
    expect(aborts).to.deep.equal(['no whole answer within 10 s']);
  });

  it('ends an answer that never begins', async () => {
    const { clock, answer } = ask();
    await clock.advance(10_000);
    expect(await answer).to.have.nested.property('fault.error.message', 'no whole answer within 10 s');
  });

  it('waits for no byte beyond the limit', async () => {
    const { handler, aborts, answer } = ask(4);
    handler.onHead(200, []);
    handler.onData(Buffer.from('1234'), false);
    handler.onData(Buffer.from('5'), false);
    handler.onData(Buffer.from('6'), false);
    expect(await answer).to.include({ kind: 'answer', cut: true });
    expect(aborts).to.deep.equal(['the answer is longer than 4 bytes']);
  });
});
