import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { expect } from 'chai';
import { serveEndpoint } from '../../../src/adapters/serving/http-endpoint.ts';
import { createReviewAccess } from '../../../src/adapters/serving/review-access.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import { createSelfSignedCertificate } from '../../../src/runtime/issue-certificate.ts';

/** An API server that knows two tokens, one of which may read metrics. It counts the requests. */
function fakeReviews() {
  const asked: string[] = [];
  const state = { broken: false };
  const create = async (path: string, object: unknown): Promise<never> => {
    if (state.broken) throw new Error('no connection');
    const kind = path.slice(path.lastIndexOf('/') + 1);
    asked.push(kind);
    const { spec } = object as { spec: { token?: string; user?: string; audiences?: readonly string[] } };
    if (kind === 'tokenreviews') {
      const [username = '', audience] = spec.token?.split('@') ?? [];
      const fits = spec.audiences === undefined ? audience === undefined : spec.audiences.includes(audience ?? '');
      const authenticated = username === 'unaware' || (username !== 'stranger' && fits);
      const audiences = fits && spec.audiences !== undefined ? { audiences: spec.audiences } : {};
      return { status: { authenticated, ...audiences, user: { username, groups: ['g'] } } } as never;
    }
    return { status: { allowed: spec.user === 'prometheus' } } as never;
  };
  return { asked, state, client: { create } };
}

const prometheus = { token: 'prometheus', delegated: false };

describe('access to metrics', () => {
  it('is for users that the cluster knows and that may get the path', async () => {
    const { client } = fakeReviews();
    const review = createReviewAccess(client, systemClock);
    expect(await review(prometheus, '/metrics')).to.equal('allowed');
    expect(await review({ token: 'visitor', delegated: false }, '/metrics')).to.equal('forbidden');
    expect(await review({ token: 'stranger', delegated: false }, '/metrics')).to.equal('unauthenticated');
    expect(await review(undefined, '/metrics')).to.equal('unauthenticated');
  });

  it('is also for a token made for this endpoint alone, in a header that an API server passes on', async () => {
    const { client } = fakeReviews();
    const review = createReviewAccess(client, systemClock);
    let from = 0;
    const delegated = (token: string) => review({ token, delegated: true }, '/status', `192.0.2.${from++}`);
    expect(await delegated('prometheus@peerdiscovery')).to.equal('allowed');
    expect(await delegated('visitor@peerdiscovery')).to.equal('forbidden');
    // A token for an API server is worth more, so clients must not send it here.
    expect(await delegated('prometheus')).to.equal('unauthenticated');
    expect(await delegated('prometheus@other')).to.equal('unauthenticated');
    // An authenticator that ignores audiences.
    expect(await delegated('unaware')).to.equal('unauthenticated');
    expect(await review({ token: 'prometheus@peerdiscovery', delegated: false }, '/status')).to.equal(
      'unauthenticated',
    );
  });

  it('asks about at most ten strangers a second, while known users still get in', async () => {
    const { client, asked } = fakeReviews();
    let now = 0;
    const review = createReviewAccess(client, { ...systemClock, now: () => now });
    expect(await review(prometheus, '/metrics')).to.equal('allowed');
    now = 30_000;
    asked.length = 0;
    const flood = Array.from({ length: 400 }, (_, at) => ({ token: `stranger@${at}`, delegated: false }));
    const verdicts = await Promise.all(flood.map((credential, at) => review(credential, '/metrics', `192.0.2.${at}`)));
    expect(asked).to.have.length(10);
    expect(verdicts.slice(0, 10)).to.deep.equal(Array(10).fill('unauthenticated'));
    expect(new Set(verdicts.slice(10))).to.deep.equal(new Set(['unavailable']));
    expect(await review(prometheus, '/metrics')).to.equal('allowed');
    now = 31_000;
    expect(await review({ token: 'visitor', delegated: false }, '/metrics')).to.equal('forbidden');
  });

  it('asks about at most three strangers of one network a second, so a new user elsewhere gets in', async () => {
    const { client, asked } = fakeReviews();
    const review = createReviewAccess(client, { ...systemClock, now: () => 0 });
    const flood = Array.from({ length: 400 }, (_, at) => ({ token: `stranger@${at}`, delegated: false }));
    await Promise.all(flood.map((credential, at) => review(credential, '/metrics', `2001:db8::${at.toString(16)}`)));
    expect(asked).to.have.length(3);
    expect(await review(prometheus, '/metrics', '192.0.2.1')).to.equal('allowed');
  });

  it('counts only tokens that the API server refuses, so any number of users share one address', async () => {
    const { client } = fakeReviews();
    const review = createReviewAccess(client, { ...systemClock, now: () => 0 });
    for (let at = 0; at < 20; at++)
      expect(await review({ token: `visitor${at}`, delegated: false }, '/metrics', '192.0.2.1')).to.equal('forbidden');
    for (let at = 0; at < 3; at++)
      expect(await review({ token: `stranger@${at}`, delegated: false }, '/metrics', '192.0.2.1')).to.equal(
        'unauthenticated',
      );
    expect(await review({ token: 'stranger@3', delegated: false }, '/metrics', '192.0.2.1')).to.equal('unavailable');
  });

  it('asks once in ten seconds per token and path, even for simultaneous requests', async () => {
    const { client, asked } = fakeReviews();
    let now = 0;
    const review = createReviewAccess(client, { ...systemClock, now: () => now });
    await Promise.all([review(prometheus, '/metrics'), review(prometheus, '/metrics')]);
    now = 9_999;
    await review(prometheus, '/metrics');
    expect(asked).to.deep.equal(['tokenreviews', 'subjectaccessreviews']);
    await review(prometheus, '/other');
    now = 20_000;
    await review(prometheus, '/metrics');
    expect(asked).to.have.length(6);
  });

  it('is denied while the API server cannot be asked, and asked for again at once', async () => {
    const { client, state } = fakeReviews();
    const review = createReviewAccess(client, systemClock);
    state.broken = true;
    expect(await review(prometheus, '/metrics')).to.equal('unavailable');
    state.broken = false;
    expect(await review(prometheus, '/metrics')).to.equal('allowed');
  });

  it('goes over TLS with a self-signed certificate of the process', async () => {
    const stopping = new AbortController();
    const { client } = fakeReviews();
    const pair = createSelfSignedCertificate('host.example', systemClock.now());
    const { address } = await serveEndpoint(
      {
        bindAddress: '127.0.0.1:0',
        metrics: async () => 'up 1\n',
        certificate: () => pair,
        reviewAccess: createReviewAccess(client, systemClock),
      },
      stopping.signal,
    );
    const bearer = (token?: string): Record<string, string> =>
      token === undefined ? {} : { authorization: `Bearer ${token}` };
    const get = (path: string, token?: string, headers = bearer(token)) =>
      new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
        const options = { ca: pair.cert, servername: 'host.example', headers, agent: false };
        request(`https://${address}${path}`, options, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.once('end', () => resolve({ status: response.statusCode, text }));
        })
          .once('error', reject)
          .end();
      });
    expect(await get('/metrics', 'prometheus')).to.deep.equal({ status: 200, text: 'up 1\n' });
    expect((await get('/metrics')).status).to.equal(401);
    for (const authorization of ['', 'Bearer ', 'Basic cHJvbWV0aGV1cw==', 'prometheus'])
      expect((await get('/metrics', undefined, { authorization })).status).to.equal(401);
    const delegated = { 'x-peerdiscovery-token': 'prometheus@peerdiscovery' };
    expect((await get('/metrics', undefined, delegated)).status).to.equal(200);
    expect((await get('/metrics', 'visitor')).status).to.equal(403);
    expect((await get('/healthz', 'visitor')).status).to.equal(403);
    expect((await get('/healthz', 'prometheus')).status).to.equal(404);
    stopping.abort();
    const { validTo, subjectAltName } = new X509Certificate(pair.cert);
    expect(subjectAltName).to.equal('DNS:host.example');
    expect(Date.parse(validTo) - systemClock.now()).to.be.greaterThan(300 * 24 * 3_600_000);
  });
});
