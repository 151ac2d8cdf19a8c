import { request } from 'node:http';
import { expect } from 'chai';
import { ApiError } from '../../../src/adapters/kubernetes/api-error.ts';
import { createStatusPageReader } from '../../../src/adapters/kubernetes/read-status-page.ts';
import { serveDashboard } from '../../../src/adapters/kubernetes/serve-dashboard.ts';
import { PluginError, type StatusPage } from '../../../src/plugin/ports.ts';
import { systemClock } from '../../../src/runtime/clock.ts';

const refused = (code: number, status?: object) =>
  new ApiError(`GET: ${code}`, { code, reason: '', method: 'GET', path: '', status });

/** An API server with operators behind it that answer in turn: with a page, or an error. */
function fakeApi(...turns: (string | Error)[]) {
  const asked: { path: string; spec?: unknown; headers?: unknown; query?: unknown }[] = [];
  let tokens = 0;
  const client = {
    async create(path: string, object: unknown): Promise<never> {
      asked.push({ path, spec: (object as { spec: unknown }).spec });
      tokens += 1;
      return { status: { token: `token-${tokens}` } } as never;
    },
    async read(path: string, { headers, query }: { headers?: unknown; query?: unknown } = {}) {
      asked.push({ path, headers, query });
      const turn = turns.length > 1 ? turns.shift() : turns[0];
      if (turn instanceof Error) throw turn;
      const received = { 'content-type': 'text/html', 'content-security-policy': "default-src 'none'" };
      return { headers: received, body: Buffer.from(turn ?? '') };
    },
  };
  return { asked, client };
}

describe('reading the status page through the API server', () => {
  it('sends the operator a token for the page alone, and renews it in time', async () => {
    let now = 0;
    const { asked, client } = fakeApi('page');
    const read = createStatusPageReader(client, 'ns', { ...systemClock, now: () => now });
    const page = await read('?q=pods');
    expect(Buffer.from(page.body).toString()).to.equal('page');
    await read('');
    now = 300_000;
    await read('');
    const token = {
      path: '/api/v1/namespaces/ns/serviceaccounts/peerdiscovery-status-viewer/token',
      spec: { audiences: ['peerdiscovery'], expirationSeconds: 600 },
    };
    const path = '/api/v1/namespaces/ns/services/https:peerdiscovery-operator-metrics:metrics/proxy/status';
    expect(asked).to.deep.equal([
      token,
      { path, headers: { 'x-peerdiscovery-token': 'token-1' }, query: { q: 'pods' } },
      { path, headers: { 'x-peerdiscovery-token': 'token-1' }, query: {} },
      token,
      { path, headers: { 'x-peerdiscovery-token': 'token-2' }, query: {} },
    ]);
  });

  it('retries until it meets the leading replica, but not for ever', async () => {
    const found = fakeApi(refused(503), refused(503, {}), 'page');
    const page = await createStatusPageReader(found.client, 'ns', systemClock)('');
    expect(Buffer.from(page.body).toString()).to.equal('page');
    const lost = fakeApi(refused(503));
    const error = await createStatusPageReader(lost.client, 'ns', systemClock)('').catch((thrown) => thrown);
    expect(error).to.be.instanceOf(PluginError);
    expect(error.message).to.contain('leads');
    expect(lost.asked.length).to.be.lessThan(20);
  });

  it('distinguishes a refusal of the operator from one of the API server', async () => {
    const by = async (error: Error) =>
      createStatusPageReader(fakeApi(error).client, 'ns', systemClock)('').catch((thrown) => thrown);
    expect((await by(refused(403))).cure).to.contain('config/rbac/operator');
    expect(await by(refused(403, { kind: 'Status' }))).to.be.instanceOf(ApiError);
  });
});

describe('the dashboard on this machine', () => {
  const page: StatusPage = { contentType: 'text/html', policy: "script-src 'none'", body: Buffer.from('the page') };
  let read: (search: string) => Promise<StatusPage>;
  let searched: string[] = [];
  const stopping = new AbortController();
  let url: URL;

  before(async () => {
    url = new URL(await serveDashboard((search) => read(search), 0, stopping.signal));
  });
  beforeEach(() => {
    searched = [];
    read = async (search) => {
      searched.push(search);
      return page;
    };
  });
  after(() => stopping.abort());

  /** The status of a request with this `Host`. */
  const statusOf = (path: string, host = url.host, method = 'GET') =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: url.hostname, port: url.port, path, method, headers: { host }, agent: false };
      request(options, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .once('error', reject)
        .end();
    });

  it('passes the page on with its policy', async () => {
    expect(url.hostname).to.equal('127.0.0.1');
    const response = await fetch(`${url}?q=pods`);
    expect(await response.text()).to.equal('the page');
    expect(response.headers.get('content-security-policy')).to.equal("script-src 'none'");
    expect(searched).to.deep.equal(['?q=pods']);
  });

  it('permits nothing to a page without a policy', async () => {
    read = async () => ({ ...page, policy: '' });
    expect((await fetch(url)).headers.get('content-security-policy')).to.equal("default-src 'none'");
  });

  it('serves nothing to a client that does not know the address, to other names, and to other methods', async () => {
    expect(url.pathname).to.match(/^\/[0-9a-f]{32}\/$/);
    expect(await statusOf(url.pathname)).to.equal(200);
    for (const path of ['/', '/status', url.pathname.slice(0, -2), `${url.pathname}x`, '//x', '*'])
      expect(await statusOf(path), path).to.equal(404);
    for (const host of ['attacker.example', `attacker.example:${url.port}`, '127.0.0.1'])
      expect(await statusOf(url.pathname, host), host).to.equal(404);
    expect(await statusOf(url.pathname, `localhost:${url.port}`)).to.equal(200);
    expect(await statusOf(url.pathname, url.host, 'POST')).to.equal(405);
    expect(searched).to.have.length(2);
  });

  it('names the problem and the cure', async () => {
    read = async () => {
      throw new PluginError('nobody leads', 'wait');
    };
    const response = await fetch(url);
    expect([response.status, await response.text()]).to.deep.equal([502, 'error: nobody leads\n  cure: wait\n']);
  });

  it('reports that its port is taken', async () => {
    const error = await serveDashboard(read, Number(url.port), stopping.signal).catch((thrown) => thrown);
    expect(error).to.be.instanceOf(PluginError);
    expect(error.cure).to.contain('--port');
  });
});
