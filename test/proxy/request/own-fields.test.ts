import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import { type LoopbackPeer, startLoopbackPeer } from '../../support/loopback-peer.ts';
import { groupVersion, type ProxyUnderTest, startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const origin = 'https://console.example';

describe('the fields that home adds to every answer', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;

  /** As kube-apiserver with `--cors-allowed-origins` and `--strict-transport-security-directives`. */
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    response.setHeader('Strict-Transport-Security', 'max-age=1');
    response.setHeader('X-Kubernetes-Pf-Flowschema-Uid', 'flow');
    if (request.headers.origin === origin) {
      response.setHeader('Access-Control-Allow-Origin', origin);
      response.setHeader('Access-Control-Expose-Headers', 'Date');
      if (request.method === 'OPTIONS') {
        response.writeHead(204).end();
        return;
      }
    }
    const isReadiness = request.url === '/readyz';
    response.writeHead(isReadiness || request.method === 'GET' ? 200 : 403, { 'Content-Type': 'text/plain' }).end('ok');
  };

  beforeEach(async () => {
    home = await startLoopbackPeer('home', authority);
    home.answer = answer;
    proxy = await startProxyUnderTest(authority, home);
    proxy.use(
      routingTable({
        peers: [{ id: 'home', address: home.address, state: 'Ready' }],
        groupVersions: [groupVersion('v1', { pods: [0] })],
      }),
    );
  });
  afterEach(async () => {
    await proxy.stop();
    await home.kill();
  });

  for (const path of ['/apis', '/api', '/api/v1/%zz'])
    it(`are in the proxy's own answer for ${path}, with a date and an audit ID`, async () => {
      const { headers } = await proxy.get(path, { Origin: origin, 'Audit-ID': 'mine' });
      expect(headers).to.include({
        'access-control-allow-origin': origin,
        'access-control-expose-headers': 'Date',
        'strict-transport-security': 'max-age=1',
        'audit-id': 'mine',
      });
      expect(Date.parse(String(headers.date))).not.to.equal(Number.NaN);
      const other = await proxy.get(path, { Origin: 'https://evil.example' });
      expect(other.headers).to.include({ 'strict-transport-security': 'max-age=1' });
      expect(other.headers).not.to.have.property('access-control-allow-origin');
      expect(other.headers['audit-id']).to.match(/^[0-9a-f-]{36}$/);
    });

  it('answer the preflight request of a browser for every path', async () => {
    for (const path of ['/apis', '/api/v1/pods', '/apis/what.io/v1/things']) {
      const { status, headers } = await proxy.get(path, { Origin: origin }, 'OPTIONS');
      expect(status).to.equal(204);
      expect(headers).to.include({ 'access-control-allow-origin': origin, 'cache-control': 'no-cache, private' });
      expect((await proxy.get(path, { Origin: 'https://evil.example' }, 'OPTIONS')).status).not.to.equal(204);
    }
  });

  it('come from a request to home without a credential', async () => {
    await proxy.get('/apis/what.io/v1/things', { Origin: origin, Authorization: 'Bearer secret' }, 'OPTIONS');
    const asked = home.seen.filter(({ method }) => method === 'OPTIONS');
    expect(asked.map(({ headers }) => [headers.origin, headers.authorization])).to.deep.equal([[origin, undefined]]);
  });

  it('are left out if home cannot be asked', async () => {
    await home.kill();
    const { status, headers } = await proxy.get('/api/v1/%zz', { Origin: origin });
    expect(status).to.equal(400);
    expect(headers).not.to.have.property('access-control-allow-origin');
  });
});
