import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import type { Log } from '../../../src/runtime/log.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { groupVersion, startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const write =
  (text: string, ends = false): Answer =>
  ({ socket }) =>
    ends ? socket.end(text, 'latin1') : socket.write(text, 'latin1');

/** What a kube-apiserver may do to a connection because of a backend. */
const broken: Readonly<Record<string, Answer>> = {
  'is cut before it begins': ({ socket }) => socket.destroy(),
  'is cut in its head': write('HTTP/1.1 200 OK\r\nContent-', true),
  'is cut in the middle': write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut', true),
  'is cut between chunks': write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n', true),
  'is not HTTP': write('hello\r\n\r\n'),
  'has a chunk that is none': write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'),
  'has two lengths': write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'),
  'has a head without end': write(`HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(300_000)}`),
  'is interim for ever': write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)),
};

describe('answers that a backend of a server breaks', function () {
  this.timeout(30_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let takenOut: unknown[];
  beforeEach(async () => {
    takenOut = [];
    const log: Log = {
      ...silentLog,
      warn: (message, fields) => {
        if (message === 'peer taken out of service') takenOut.push(fields);
      },
    };
    home = await startLoopbackPeer('home', authority);
    proxy = await startProxyUnderTest(authority, home, { log });
    const metrics = groupVersion('metrics.k8s.io/v1beta1', { nodes: [0] });
    proxy.use(
      routingTable({
        peers: [{ id: 'home', address: home.address, state: 'Ready' }],
        groupVersions: [
          groupVersion('/v1', { pods: [0], services: [0], nodes: [0] }),
          { ...metrics, origin: 'Aggregated' },
        ],
      }),
    );
  });
  afterEach(async () => {
    await proxy.stop();
    await home.kill();
  });

  const ask = (method: string, path: string) =>
    proxy.get(path, {}, method, method === 'POST' ? 'body' : undefined).catch((error: Error) => error.message);

  for (const [what, answer] of Object.entries(broken))
    it(`leave the server in use if one ${what}`, async () => {
      home.answer = (request, response) =>
        request.url === '/version' ? response.end('{}') : request.resume() && answer(request, response);
      for (const path of [
        '/api/v1/namespaces/a/services/x/proxy/y',
        '/api/v1/namespaces/a/pods/x/proxy/y',
        '/api/v1/nodes/x/proxy/y',
        '/apis/metrics.k8s.io/v1beta1/nodes',
        '/apis/metrics.k8s.io/v1beta1',
      ])
        for (const method of ['POST', 'GET']) {
          await ask(method, path);
          expect(await ask('GET', '/version'), `${method} ${path}`).to.include({ status: 200 });
        }
      expect(takenOut).to.deep.equal([]);
    });

  it('leave the server in use if it did not answer an upgrade', async () => {
    home.onUpgrade = (_request, socket) => socket.destroy();
    const upgrade = 'HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n';
    await proxy.sendRaw(`GET /api/v1/namespaces/a/services/x/proxy/y ${upgrade}`);
    expect(takenOut).to.deep.equal([]);
  });

  it('leave the server in use if an aggregated server is shutting down, and repeat no write', async () => {
    const other = await startLoopbackPeer('other', authority);
    const nodes = { ...groupVersion('metrics.k8s.io/v1beta1', { nodes: [0, 1] }), origin: 'Aggregated' } as const;
    const peers = [home, other].map(({ address }) => ({ id: address, address, state: 'Ready' }) as const);
    proxy.use(routingTable({ revision: 2, peers, groupVersions: [nodes] }));
    home.answer = (_request, response) =>
      response
        .writeHead(503, { 'Retry-After': '1', 'Content-Type': 'application/json' })
        .end('{"kind":"Status","message":"apiserver is shutting down"}');
    expect(await ask('POST', '/apis/metrics.k8s.io/v1beta1/nodes')).to.include({ status: 503 });
    expect(other.seen).to.deep.equal([]);
    // Another server may answer a read.
    expect(await ask('GET', '/apis/metrics.k8s.io/v1beta1/nodes')).to.include({ status: 200, body: 'other' });
    expect(takenOut).to.deep.equal([]);
    await other.kill();
  });

  it('leave the server in use if it answers before the end of a body and closes the connection', async () => {
    home.answer = ({ socket }) => void socket.destroy();
    const head =
      'POST /api/v1/namespaces/a/pods HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9000000\r\n\r\n';
    await proxy.sendRaw(`${head}${'a'.repeat(1_000_000)}`);
    expect(takenOut).to.deep.equal([]);
  });

  it('take the server out at once if it has gone', async () => {
    home.answer = ({ socket }) => {
      home.onReadyz = (_request, response) => response.writeHead(500).end();
      socket.destroy();
    };
    await ask('POST', '/api/v1/namespaces/a/services/x/proxy/y');
    await eventually(() => takenOut.length === 1);
  });

  it('take the server out if it has no backend', async () => {
    home.answer = ({ socket }) => void socket.destroy();
    await ask('POST', '/api/v1/namespaces/a/pods');
    expect(takenOut).to.have.length(1);
  });
});
