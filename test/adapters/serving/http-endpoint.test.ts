import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import {
  type EndpointOptions,
  type ReadinessCheck,
  serveEndpoint,
} from '../../../src/adapters/serving/http-endpoint.ts';

const well = { name: 'leases', ok: true, message: '' };
const ill = { name: 'watch', ok: false, message: 'silent\nfor 30 s' };

describe('serveEndpoint', () => {
  let stop: AbortController;
  beforeEach(() => {
    stop = new AbortController();
  });
  afterEach(() => stop.abort());

  async function serve(checks: readonly ReadinessCheck[], more: Partial<EndpointOptions> = {}) {
    const options = { bindAddress: '127.0.0.1:0', checks: () => checks, metrics: async () => 'up 1\n', ...more };
    const endpoint = await serveEndpoint(options, stop.signal);
    const get = async (path: string, init: RequestInit = {}) => {
      const response = await fetch(`http://${endpoint.address}${path}`, init);
      return { status: response.status, text: await response.text(), headers: response.headers };
    };
    return { endpoint, get };
  }

  it('answers ok while every check succeeds', async () => {
    const { get } = await serve([well]);
    for (const path of ['/healthz', '/livez', '/readyz', '/readyz/leases', '/readyz/ping'])
      expect(await get(path), path).to.include({ status: 200, text: 'ok' });
  });

  it('lists its checks on request', async () => {
    const { get } = await serve([well]);
    expect((await get('/readyz?verbose')).text).to.equal('[+]ping ok\n[+]leases ok\nreadyz check passed\n');
  });

  it('answers 500 with the reason while a check fails, and stays alive', async () => {
    const { get } = await serve([well, ill]);
    expect(await get('/readyz')).to.include({
      status: 500,
      text: '[+]ping ok\n[+]leases ok\n[-]watch failed: silent for 30 s\nreadyz check failed\n',
    });
    expect((await get('/readyz/watch')).status).to.equal(500);
    expect((await get('/readyz?exclude=watch')).status).to.equal(200);
    expect((await get('/livez')).status).to.equal(200);
  });

  it('answers while strangers hold all its connections, and ends none with an open request', async () => {
    let finish = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const extra = { '/slow': () => slow.then(() => ({ status: 200, body: 'late' })) };
    const { endpoint, get } = await serve([well], { extra });
    const answer = get('/slow');
    const [host = '', port = ''] = endpoint.address.split(':');
    const strangers = Array.from({ length: 300 }, () => connect(Number(port), host).on('error', () => {}));
    await Promise.all(strangers.map((socket) => once(socket, 'connect')));
    expect((await get('/livez')).status).to.equal(200);
    finish();
    expect((await answer).text).to.equal('late');
    for (const socket of strangers) socket.destroy();
  });

  it('answers one request of a client at a time, and reads nothing more while its answer is unread', async () => {
    let asked = 0;
    const extra = {
      '/large': () => {
        asked++;
        return { status: 200, body: 'x'.repeat(10_000_000) };
      },
    };
    const { endpoint, get } = await serve([well], { extra });
    const [host = '', port = ''] = endpoint.address.split(':');
    const client = connect(Number(port), host).pause();
    client.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1_000));
    await once(client, 'connect');
    for (let at = 0; at < 20; at++) expect((await get('/livez')).status).to.equal(200);
    expect(asked).to.equal(1);
    client.destroy();
  });

  it('answers a request that it cannot parse, and ends the connection', async () => {
    const { endpoint } = await serve([well]);
    const [host = '', port = ''] = endpoint.address.split(':');
    for (const [said, status] of [
      ['GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
      ['\u0000\u0000\u0000\u0000', 400],
      [`GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ] as const) {
      const client = connect(Number(port), host);
      client.write(said);
      let heard = '';
      client.setEncoding('latin1').on('data', (chunk: string) => {
        heard += chunk;
      });
      await once(client, 'end');
      expect(heard).to.match(new RegExp(`^HTTP/1.1 ${status} `));
      client.destroy();
    }
  });

  it('serves metrics in the format of Prometheus', async () => {
    const answer = await (await serve([])).get('/metrics');
    expect(answer).to.include({ status: 200, text: 'up 1\n' });
    expect(answer.headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
  });

  it('answers 500 without error details when the metrics cannot be made', async () => {
    const { get } = await serve([], { metrics: () => Promise.reject(new Error('inner')) });
    expect(await get('/metrics')).to.include({ status: 500, text: 'internal error\n' });
  });

  it('serves extra paths, and nothing else', async () => {
    const extra = { '/config': () => ({ status: 200, body: 'mine' }) };
    const { get } = await serve([], { extra });
    expect((await get('/config')).text).to.equal('mine');
    for (const path of ['/', '/nope', '/readyz/nope', '/readyz/a/b', '/constructor', '/metrics/x'])
      expect((await get(path)).status, path).to.equal(404);
    expect((await get('/readyz', { method: 'POST' })).status).to.equal(405);
    expect(await get('/readyz', { method: 'HEAD' })).to.include({ status: 200, text: '' });
  });

  it('stops listening when told, in both ways', async () => {
    const first = await serve([]);
    await first.get('/healthz');
    await first.endpoint.close();
    await first.endpoint.close();
    const second = await serve([]);
    stop.abort();
    await second.endpoint.close();
    for (const { get } of [first, second]) expect(await get('/healthz').catch(() => 'closed')).to.equal('closed');
  });

  it('fails at once when it cannot listen', async () => {
    const { endpoint } = await serve([]);
    const attempt = (bindAddress: string) => serve([], { bindAddress }).then(String, (error: Error) => error.message);
    expect(await attempt(endpoint.address)).to.contain('EADDRINUSE');
    for (const bad of ['', '8080', 'x:99999', '::1:80']) expect(await attempt(bad)).to.contain('not a bind address');
  });
});
