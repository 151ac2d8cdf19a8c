import { expect } from 'chai';
import { isShutdownRefusal } from '../../../src/proxy/forward/classify-refusal.ts';

const says = (message: unknown, kind: unknown = 'Status') => Buffer.from(JSON.stringify({ kind, message }));

describe('isShutdownRefusal', () => {
  it('knows both texts of kube-apiserver, with 503 and with 429', () => {
    for (const status of [503, 429]) {
      expect(isShutdownRefusal(status, says('apiserver is shutting down'))).to.equal(true);
      expect(isShutdownRefusal(status, says('The apiserver is shutting down, please try again later.'))).to.equal(true);
    }
  });

  for (const [what, status, body] of [
    ['another status', 500, says('apiserver is shutting down')],
    ['a success', 200, says('apiserver is shutting down')],
    ['another kind', 503, says('apiserver is shutting down', 'Event')],
    ['a text of a webhook that cites it', 503, says('webhook x: apiserver is shutting down')],
    ['a longer word', 503, says('apiserver is shutting downwards')],
    ['another text', 429, says('Too many requests, please try again later.')],
    ['no text', 503, says(undefined)],
    ['a number as text', 503, says(1)],
    ['a list as text', 503, says(['apiserver is shutting down'])],
    ['plain text', 503, Buffer.from('apiserver is shutting down')],
    ['null', 503, Buffer.from('null')],
    ['nothing', 503, Buffer.alloc(0)],
  ] as const)
    it(`does not take ${what} for it`, () => {
      expect(isShutdownRefusal(status, body)).to.equal(false);
    });
});
