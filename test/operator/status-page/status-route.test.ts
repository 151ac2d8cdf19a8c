import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { serveEndpoint } from '../../../src/adapters/serving/http-endpoint.ts';
import type { StatusSnapshot } from '../../../src/operator/status-page/build-report.ts';
import { createStatusRoute } from '../../../src/operator/status-page/status-route.ts';
import { calmSnapshot } from '../../support/status-snapshots.ts';

const now = Date.UTC(2026, 0, 1, 12);

describe('GET /status', () => {
  const stopping = new AbortController();
  let snapshot: StatusSnapshot | undefined;
  let url: string;

  before(async () => {
    const route = createStatusRoute(() => snapshot);
    const { address } = await serveEndpoint(
      { bindAddress: '127.0.0.1:0', extra: { '/status': route } },
      stopping.signal,
    );
    url = `http://${address}/status`;
  });
  beforeEach(() => {
    snapshot = calmSnapshot(now);
  });
  after(() => stopping.abort());

  it('is a page whose policy permits only its own style and script', async () => {
    const response = await fetch(url);
    const page = await response.text();
    expect(response.status).to.equal(200);
    expect(response.headers.get('content-type')).to.equal('text/html; charset=utf-8');
    expect(response.headers.get('cache-control')).to.equal('no-store');
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy)
      .to.match(/^default-src 'none'; /)
      .and.contain("frame-ancestors 'none'");
    expect(policy).not.to.match(/unsafe|\*|https?:/);
    for (const tag of ['style', 'script']) {
      const found = [...page.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))];
      expect(found).to.have.length(1);
      const hash = createHash('sha256')
        .update(found[0]?.[1] ?? '')
        .digest('base64');
      expect(policy).to.contain(`${tag}-src 'sha256-${hash}';`);
    }
    expect(page).not.to.match(/ (src|href)="(https?:)?\/\//);
    expect(page).not.to.match(/ (style|on\w+)="/);
  });

  it('serves its data to programs, with the same search', async () => {
    const response = await fetch(`${url}?format=json&q=deploy`);
    expect(response.headers.get('content-type')).to.equal('application/json');
    expect(await response.json()).to.have.nested.property('objects[0].served.rows[0].resource', 'deployments.v1.apps');
  });

  it('is read-only, and answers 503 in a replica without data', async () => {
    expect((await fetch(url, { method: 'POST' })).status).to.equal(405);
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, await head.text()]).to.deep.equal([200, '']);
    snapshot = undefined;
    const response = await fetch(url);
    expect([response.status, response.headers.get('retry-after')]).to.deep.equal([503, '1']);
    expect(await response.text()).to.contain('This replica does not lead');
  });
});
