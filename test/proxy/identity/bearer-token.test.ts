import { expect } from 'chai';
import { bearerToken, hasToken, tokenDigest } from '../../../src/proxy/identity/bearer-token.ts';

const asProtocol = (token: string) =>
  `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;

describe('the token of a request', () => {
  for (const [what, rawHeaders, token] of [
    ['in Authorization', ['Authorization', 'Bearer a'], 'a'],
    ['with more after it', ['Authorization', ' bEARER a b '], 'a'],
    ['among the protocols of a WebSocket', ['Sec-WebSocket-Protocol', `x, ${asProtocol('a')}`], 'a'],
    [
      'beside the protocols of a command in a Pod',
      ['Authorization', 'Bearer a', 'Sec-WebSocket-Protocol', 'v5.channel.k8s.io, v4.channel.k8s.io'],
      'a',
    ],
    ['in both places', ['Authorization', 'Bearer a', 'Sec-WebSocket-Protocol', asProtocol('a')], 'a'],
  ] as const)
    it(`is found ${what}`, () => {
      expect(bearerToken({ rawHeaders, connection: {} })).to.equal(token);
      expect(hasToken(rawHeaders)).to.equal(true);
    });

  it('is ambiguous if two tokens differ', () => {
    const rawHeaders = ['Authorization', 'Bearer a', 'Sec-WebSocket-Protocol', asProtocol('b')];
    expect(bearerToken({ rawHeaders, connection: {} })).to.equal(undefined);
    expect(hasToken(rawHeaders)).to.equal(true);
  });

  for (const [what, rawHeaders] of [
    ['nothing', []],
    ['another scheme', ['Authorization', 'Basic YTpi']],
    ['a scheme alone', ['Authorization', 'Bearer']],
    ['two spaces before it', ['Authorization', 'Bearer  a']],
    ['a tab before it', ['Authorization', 'Bearer\ta']],
    ['an empty protocol', ['Sec-WebSocket-Protocol', asProtocol('')]],
    ['another protocol', ['Sec-WebSocket-Protocol', `x-${asProtocol('a')}`]],
  ] as const)
    it(`is absent with ${what}, as for kube-apiserver`, () => {
      expect(bearerToken({ rawHeaders, connection: {} })).to.equal(undefined);
      expect(hasToken(rawHeaders)).to.equal(false);
    });
});

describe('tokenDigest', () => {
  const digest = (rawHeaders: readonly string[], connection = {}) => tokenDigest({ rawHeaders, connection });

  it('is the same for one token wherever it stands, differs from any other, and is not the token', () => {
    const connection = {};
    const found = digest(['Authorization', 'Bearer a'], connection);
    expect(found).to.match(/^[\w-]{43}$/);
    expect(digest(['Authorization', 'bearer a x'], connection)).to.equal(found);
    expect(digest(['Sec-WebSocket-Protocol', asProtocol('a')], connection)).to.equal(found);
    expect(digest(['Authorization', 'Bearer b'], connection)).not.to.equal(found);
    expect(digest([], connection)).to.equal(undefined);
  });

  it('is remembered for the last field of a connection, unless that is long', () => {
    const connection: { token?: { from: string } } = {};
    for (const [token, isKept] of [
      ['a'.repeat(16 * 1024 - 7), true],
      ['a'.repeat(16 * 1024 - 6), false],
    ] as const) {
      const field = `Bearer ${token}`;
      const found = digest(['Authorization', field], connection);
      expect(digest(['Authorization', field], connection)).to.equal(found);
      expect(connection.token?.from).to.equal(isKept ? field : undefined);
    }
  });
});
