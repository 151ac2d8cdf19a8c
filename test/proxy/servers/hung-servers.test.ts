import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as http2Connect } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import type { ProxyUnderTest } from '../../support/proxy-under-test.ts';
import { groupVersion, startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const silently = () => {};
/** The time from a server's silence to the end of its requests. */
const limitMs = 5_000;

describe('a server that hangs', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let other: LoopbackPeer;
  let proxy: ProxyUnderTest;

  const table = (state: 'Ready' | 'NotReady' = 'Ready') =>
    routingTable({
      peers: [
        { id: 'home', address: home.address, state },
        { id: 'other', address: other.address, state: 'Ready' },
      ],
      groupVersions: [groupVersion('v1', { pods: [0, 1] })],
    });
  const hang = (peer: LoopbackPeer) => {
    peer.answer = silently;
    peer.onReadyz = silently;
  };
  const overHttp2 = async (): Promise<ClientHttp2Session> => {
    const session = http2Connect(`https://127.0.0.1:${proxy.port}`, { ca: proxy.caPem, servername: 'localhost' });
    session.on('error', () => {});
    await once(session, 'connect');
    return session;
  };

  for (const isPinned of [true, false])
    describe(isPinned ? 'and is pinned as home' : 'and is one of those that may be home', () => {
      beforeEach(async () => {
        [home, other] = await Promise.all([
          startLoopbackPeer('home', authority),
          startLoopbackPeer('other', authority),
        ]);
        proxy = await startProxyUnderTest(authority, isPinned ? home : undefined);
        proxy.use(table());
      });
      afterEach(async () => {
        await proxy.stop();
        await Promise.all([home, other].map((peer) => peer.kill()));
      });

      it('loses its requests: reads go to another server, writes get 504', async () => {
        hang(home);
        const requests = { reads: [0, 1, 2, 3], writes: [0, 1, 2] };
        const reads = requests.reads.map(() => proxy.get('/api/v1/pods'));
        const writes = requests.writes.map(() => proxy.get('/api/v1/pods', { 'Content-Length': '2' }, 'POST', '{}'));
        for (const { status, body } of await Promise.all(reads)) expect([status, body]).to.deep.equal([200, 'other']);
        const answers = await Promise.all(writes);
        const postsAt = ({ seen }: LoopbackPeer) => seen.filter(({ method }) => method === 'POST').length;
        expect(postsAt(home)).to.be.at.least(1);
        expect(postsAt(home) + postsAt(other)).to.equal(writes.length);
        const lost = answers.filter(({ status }) => status === 504);
        expect(lost).to.have.length(postsAt(home));
        for (const { headers } of lost) expect(headers['retry-after']).to.equal(undefined);
      });

      it('gets no new work, even if the table grows old, and is back once it is ready', async () => {
        hang(home);
        const bodies: string[] = [];
        await proxy.get('/api/v1/pods').then(({ body }) => bodies.push(body));
        proxy.doubt('the operator is gone');
        for (let at = 0; at < 5; at++) bodies.push((await proxy.get('/api/v1/pods')).body);
        expect(new Set(bodies)).to.deep.equal(new Set(['other']));
        if (!isPinned) return;
        home.answer = (_request, response) => response.end('home');
        home.onReadyz = (_request, response) => response.end('ok');
        let back = '';
        const ask = () => proxy.get('/api/v1/pods').then(({ body }) => (back = body));
        while (back !== 'home') await ask();
      });
    });

  describe('whoever asks', () => {
    beforeEach(async () => {
      [home, other] = await Promise.all([startLoopbackPeer('home', authority), startLoopbackPeer('other', authority)]);
      proxy = await startProxyUnderTest(authority, home);
      proxy.use(table());
    });
    afterEach(async () => {
      await proxy.stop();
      await Promise.all([home, other].map((peer) => peer.kill()));
    });

    it('loses its watches and upgraded connections, over both protocols', async () => {
      home.answer = (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'application/json' });
        response.write('{}\n');
      };
      home.onUpgrade = (_request, socket) => {
        socket.on('error', () => {});
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n');
      };
      const session = await overHttp2();
      const watch: ClientHttp2Stream = session.request({ ':path': '/api/v1/pods?watch=1' });
      const ended = Promise.all([
        new Promise((resolve) => watch.once('close', resolve)),
        proxy.get('/api/v1/pods?watch=1').catch(() => {}),
        upgraded(proxy),
      ]);
      watch.on('error', () => {});
      watch.resume();
      await once(watch, 'response');
      hang(home);
      await ended;
      session.destroy();
    });

    it('waits for a slow answer of a ready server', async () => {
      home.answer = (_request, response) => setTimeout(() => response.end('late'), limitMs);
      expect((await proxy.get('/api/v1/pods')).body).to.equal('late');
    });

    it('keeps its answer if it says that it is not ready, as during a shutdown', async () => {
      let finish: (() => void) | undefined;
      home.answer = (_request, response) => {
        finish = () => response.end('begun');
      };
      const begun = proxy.get('/api/v1/pods');
      await eventually(() => finish !== undefined);
      home.onReadyz = (_request, response) => response.writeHead(500).end('[-]shutdown failed: reason withheld\n');
      let elsewhere = '';
      home.answer = (_request, response) => response.end('home');
      while (elsewhere !== 'other') elsewhere = (await proxy.get('/api/v1/pods')).body;
      finish?.();
      expect((await begun).body).to.equal('begun');
    });

    it('gets 503 with Retry-After if every server hangs', async () => {
      hang(home);
      hang(other);
      const answers = await Promise.all([proxy.get('/api/v1/pods'), proxy.get('/version')]);
      for (const { status, headers } of answers) expect([status, headers['retry-after']]).to.deep.equal([503, '1']);
      expect((await proxy.get('/api/v1/pods')).status).to.equal(503);
    });

    for (const status of [401, 403])
      it(`gets no ${status} from a server that has not been ready since it failed`, async () => {
        for (const peer of [home, other]) {
          peer.onReadyz = (_request, response) => response.writeHead(500).end('[-]poststarthook/rbac failed\n');
          peer.answer = (_request, response) => response.writeHead(status).end();
        }
        const statuses = new Set<number>();
        const seen: (string | undefined)[] = [];
        const askAll = async () => {
          for (const [path, method] of [
            ['/api/v1/pods', 'GET'],
            ['/api/v1/pods', 'POST'],
            ['/apis', 'GET'],
          ] as const) {
            const answer = await proxy.get(path, {}, method);
            statuses.add(answer.status);
            seen.push(answer.headers['retry-after'] as string | undefined);
          }
        };
        // Until both have been probed, they count as ready.
        while (!statuses.has(503)) await askAll();
        statuses.clear();
        seen.length = 0;
        for (let at = 0; at < 2; at++) await askAll();
        expect([[...statuses], new Set(seen)]).to.deep.equal([[503], new Set(['1'])]);
        home.onReadyz = (_request, response) => response.end('ok');
        while (!statuses.has(status)) await askAll();
      });

    it('is not used as home if the table last called it not ready, once the table is old', async () => {
      hang(home);
      proxy.use(table('NotReady'));
      proxy.doubt('the operator is gone');
      expect((await proxy.get('/api/v1/pods')).body).to.equal('other');
      expect(home.seen).to.have.length(0);
    });
  });
});

/** Resolves when an upgraded connection ends. */
async function upgraded({ port, caPem }: ProxyUnderTest): Promise<void> {
  const socket: Socket = tlsConnect({ host: '127.0.0.1', port, ca: caPem, servername: 'localhost' });
  socket.on('error', () => {});
  socket.write(
    'GET /api/v1/namespaces/d/pods/p/exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).to.match(/^HTTP\/1\.1 101 /);
  await once(socket, 'close');
}
