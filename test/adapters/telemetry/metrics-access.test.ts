import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { expect } from 'chai';
import { serveEndpoint } from '../../../src/adapters/telemetry/http-endpoint.ts';
import { createReviewAccess } from '../../../src/adapters/telemetry/review-access.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import { createSelfSignedCertificate } from '../../../src/runtime/issue-certificate.ts';

/** An API server that knows two tokens, of which one may read metrics, and counts what it is asked. */
function fakeReviews() {
  const asked: string[] = [];
  const state = { broken: false };
  const create = async (path: string, object: unknown): Promise<never> => {
    if (state.broken) throw new Error('no connection');
    const kind = path.slice(path.lastIndexOf('/') + 1);
    asked.push(kind);
    const { spec } = object as { spec: { token?: string; user?: string } };
    if (kind === 'tokenreviews')
      return {
        status: { authenticated: spec.token !== 'stranger', user: { username: spec.token, groups: ['g'] } },
      } as never;
    return { status: { allowed: spec.user === 'prometheus' } } as never;
  };
  return { asked, state, client: { create } };
}

describe('access to metrics', () => {
  it('is for those whom the cluster knows and lets get the path', async () => {
    const { client } = fakeReviews();
    const review = createReviewAccess(client, systemClock);
    expect(await review('Bearer prometheus', '/metrics')).to.equal('allowed');
    expect(await review('Bearer visitor', '/metrics')).to.equal('forbidden');
    expect(await review('Bearer stranger', '/metrics')).to.equal('unauthenticated');
    for (const header of [undefined, '', 'Bearer ', 'Basic cHJvbWV0aGV1cw==', 'prometheus'])
      expect(await review(header, '/metrics')).to.equal('unauthenticated');
  });

  it('is asked for once in ten seconds per token and path, also for those who ask at once', async () => {
    const { client, asked } = fakeReviews();
    let now = 0;
    const review = createReviewAccess(client, { ...systemClock, now: () => now });
    await Promise.all([review('Bearer prometheus', '/metrics'), review('Bearer prometheus', '/metrics')]);
    now = 9_999;
    await review('Bearer prometheus', '/metrics');
    expect(asked).to.deep.equal(['tokenreviews', 'subjectaccessreviews']);
    await review('Bearer prometheus', '/other');
    now = 20_000;
    await review('Bearer prometheus', '/metrics');
    expect(asked).to.have.length(6);
  });

  it('is denied while the API server cannot be asked, and asked for again at once', async () => {
    const { client, state } = fakeReviews();
    const review = createReviewAccess(client, systemClock);
    state.broken = true;
    expect(await review('Bearer prometheus', '/metrics')).to.equal('unavailable');
    state.broken = false;
    expect(await review('Bearer prometheus', '/metrics')).to.equal('allowed');
  });

  it('goes over TLS by a certificate that the process signs for itself', async () => {
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
    const get = (path: string, token?: string) =>
      new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
        const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
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
    expect((await get('/metrics', 'visitor')).status).to.equal(403);
    expect((await get('/healthz', 'visitor')).status).to.equal(403);
    expect((await get('/healthz', 'prometheus')).status).to.equal(404);
    stopping.abort();
    const { validTo, subjectAltName } = new X509Certificate(pair.cert);
    expect(subjectAltName).to.equal('DNS:host.example');
    expect(Date.parse(validTo) - systemClock.now()).to.be.greaterThan(300 * 24 * 3_600_000);
  });
});
