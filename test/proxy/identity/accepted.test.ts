import { expect } from 'chai';
import { AcceptedCredentials, provesAuthentication } from '../../../src/proxy/identity/accepted-credentials.ts';
import { AcceptedTokens } from '../../../src/proxy/identity/accepted-tokens.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const flowControl = ['X-Kubernetes-PF-FlowSchema-UID', 'u'];
const answer = (status: number, rawHeaders: readonly string[] = [], method = 'GET') => ({ method, status, rawHeaders });

describe('provesAuthentication', () => {
  it('believes the answers that kube-apiserver gives only to an authenticated request', () => {
    for (const status of [101, 200, 201, 202, 304, 403, 404, 405, 406, 409, 410, 415, 422])
      expect(provesAuthentication(answer(status)), String(status)).to.equal(true);
    for (const status of [100, 400, 401, 408, 413, 429, 500, 502, 503, 504])
      expect(provesAuthentication(answer(status)), String(status)).to.equal(false);
  });

  it('believes any answer with the flow-control header, which is added after authentication', () => {
    for (const status of [400, 401, 429, 503]) expect(provesAuthentication(answer(status, flowControl))).to.equal(true);
    expect(provesAuthentication(answer(204, flowControl, 'OPTIONS'))).to.equal(true);
  });

  it('does not believe an answer to OPTIONS, which CORS gives to anybody', () => {
    expect(provesAuthentication(answer(200, [], 'OPTIONS'))).to.equal(false);
  });
});

describe('AcceptedCredentials', () => {
  it('knows a token from its first proof until a server refuses it', () => {
    const accepted = new AcceptedCredentials();
    accepted.note('t', answer(503));
    expect(accepted.has('t')).to.equal(false);
    accepted.note('t', answer(200));
    accepted.note('t', answer(503));
    expect(accepted.has('t')).to.equal(true);
    expect(accepted.has('other')).to.equal(false);
    accepted.note('t', answer(401));
    expect(accepted.has('t')).to.equal(false);
  });

  it('remembers at most 64 tokens of a connection', () => {
    const accepted = new AcceptedCredentials();
    for (let at = 0; at < 64; at++) accepted.note(`t${at}`, answer(200));
    expect(accepted.size).to.equal(64);
    accepted.note('more', answer(200));
    expect([accepted.size, accepted.has('more')]).to.deep.equal([1, true]);
  });
});

describe('AcceptedTokens', () => {
  it('remembers a token for ten minutes after a server accepted it last', async () => {
    const clock = createManualClock();
    const tokens = new AcceptedTokens(() => clock.now());
    tokens.add('t');
    await clock.advance(599_999);
    expect(tokens.has('t')).to.equal(true);
    tokens.add('t');
    await clock.advance(599_999);
    expect(tokens.has('t')).to.equal(true);
    await clock.advance(1);
    expect(tokens.has('t')).to.equal(false);
    tokens.add('t');
    tokens.delete('t');
    expect(tokens.has('t')).to.equal(false);
  });

  it('remembers 10,000 tokens, and forgets the one first that was accepted longest ago', () => {
    const tokens = new AcceptedTokens(() => 0);
    for (let at = 0; at < 10_000; at++) tokens.add(`t${at}`);
    tokens.add('t5');
    expect(tokens.has('t0')).to.equal(true);
    for (let at = 0; at < 6; at++) tokens.add(`more${at}`);
    const known = ['t0', 't4', 't5', 't6', 't7', 'more5'].map((token) => tokens.has(token));
    expect(known).to.deep.equal([false, false, true, false, true, true]);
  });
});
