import type { ServerResponse } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as http2Connect } from 'node:http2';
import { Agent, request } from 'node:https';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import { planMoves } from '../../../src/proxy/servers/level-watches.ts';
import { type LoopbackPeer, startLoopbackPeer } from '../../support/loopback-peer.ts';
import { createManualClock, eventually, type ManualClock } from '../../support/manual-clock.ts';
import { groupVersion, type ProxyUnderTest, startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

const plan = (counts: Record<string, number>, pinned?: string, most = 1_000) =>
  Object.fromEntries(planMoves(new Map(Object.entries(counts)), pinned, most));

describe('the plan of the watches to move', () => {
  it('takes watches beyond the mean from the busiest server', () => {
    expect(plan({ a: 90, b: 90, c: 0 })).to.deep.equal({ a: 30, b: 30 });
    expect(plan({ a: 100, b: 0 })).to.deep.equal({ a: 50 });
  });

  it('moves nothing between nearly level servers, and no surplus that a move would not reduce', () => {
    expect(plan({ a: 105, b: 95, c: 100 })).to.deep.equal({});
    expect(plan({ a: 1, b: 0 })).to.deep.equal({});
    expect(plan({ a: 2, b: 1, c: 1 })).to.deep.equal({});
    expect(plan({ a: 0, b: 0 })).to.deep.equal({});
    expect(plan({})).to.deep.equal({});
    expect(plan({ a: 7 })).to.deep.equal({});
  });

  it('takes no more at once than permitted, from the busiest first', () => {
    expect(plan({ a: 60, b: 90, c: 0 }, undefined, 15)).to.deep.equal({ b: 15 });
  });

  it('gives all to a pinned home, and nothing to one that cannot take them', () => {
    expect(plan({ home: 0, b: 3, c: 1 }, 'home')).to.deep.equal({ b: 3, c: 1 });
    expect(plan({ b: 3, c: 3 }, 'home')).to.deep.equal({});
  });
});

describe('the levelling of watches', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  const watch = '/api/v1/pods?watch=1&resourceVersion=7';
  let clock: ManualClock;
  let old: LoopbackPeer;
  let young: LoopbackPeer;
  let proxy: ProxyUnderTest;
  let sessions: ClientHttp2Session[];
  let running: Map<LoopbackPeer, Set<ServerResponse>>;

  const use = (state: 'Ready' | 'NotReady') =>
    proxy.use(
      routingTable({
        peers: [
          { id: 'old', address: old.address, state: 'Ready' },
          { id: 'young', address: young.address, state },
        ],
        groupVersions: [groupVersion('v1', { pods: [0, 1] })],
      }),
    );
  /** A request for `hold` gets the beginning of an answer, which continues until the client leaves. */
  const holdAll = (peer: LoopbackPeer) => {
    const open = new Set<ServerResponse>();
    running.set(peer, open);
    peer.answer = ({ url = '' }, response) => {
      if (!/watch=1|follow=true/.test(url)) return void response.end('short');
      open.add(response);
      response.once('close', () => open.delete(response));
      response.writeHead(200).write('{}\n');
    };
  };
  const counts = () => [old, young].map((peer) => running.get(peer)?.size ?? 0);
  const start = async (isPinned = false) => {
    [old, young] = await Promise.all([startLoopbackPeer('old', authority), startLoopbackPeer('young', authority)]);
    holdAll(old);
    holdAll(young);
    clock = createManualClock();
    proxy = await startProxyUnderTest(authority, isPinned ? young : undefined, { clock, watchLevelingPeriodMs: 5_000 });
  };
  const openSession = () => {
    const session = http2Connect(`https://127.0.0.1:${proxy.port}`, { ca: proxy.caPem, servername: 'localhost' });
    session.on('error', () => {});
    sessions.push(session);
    return session;
  };
  /** Resolves when an answer has begun. */
  const open = (session: ClientHttp2Session, path: string) =>
    new Promise<ClientHttp2Stream>((resolve, reject) => {
      const stream = session.request({ ':path': path, authorization: 'Bearer a' });
      stream.on('error', reject);
      stream.once('data', () => resolve(stream));
    });
  /** Opens watches over HTTP/2 like a client that resumes an ended one. It uses a new connection if told to. */
  const keepWatching = async (count: number) => {
    let session = openSession();
    const ends: number[] = [];
    session.once('goaway', () => {
      session = openSession();
    });
    const follow = (stream: ClientHttp2Stream) => {
      stream.once('close', () => {
        ends.push(stream.rstCode);
        if (!session.destroyed) void open(session, watch).then(follow, () => {});
      });
    };
    for (let at = 0; at < count; at++) follow(await open(session, watch));
    return ends;
  };
  const pass = async (seconds: number) => {
    for (let at = 0; at < seconds; at++) {
      await clock.advance(1_000);
      // Sockets need turns of the event loop, which no clock gives.
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  };

  beforeEach(() => {
    sessions = [];
    running = new Map();
  });
  afterEach(async () => {
    for (const session of sessions) session.destroy();
    await proxy.stop();
    await Promise.all([old, young].map((peer) => peer.kill()));
  });

  it('ends watches of a busy server as a timeout does, once another has been there for a while', async () => {
    await start();
    use('NotReady');
    const ends = await keepWatching(24);
    expect(counts()).to.deep.equal([24, 0]);
    use('Ready');
    await pass(14);
    expect(counts()).to.deep.equal([24, 0]);
    await pass(60);
    await eventually(() => counts().reduce((sum, count) => sum + count) === 24, 5_000);
    const [atOld = 0, atYoung = 0] = counts();
    expect(Math.max(atOld, atYoung)).to.be.at.most(12 * 1.3);
    // Whole answers, and only as many as necessary.
    expect(ends).to.deep.equal(ends.map(() => 0));
    expect(ends.length).to.equal(atYoung);
    await pass(60);
    expect(counts()).to.deep.equal([atOld, atYoung]);
  });

  it('does not end logs, and does not move other requests of the same connection', async () => {
    await start();
    use('NotReady');
    const session = openSession();
    let goodbyes = 0;
    session.on('goaway', () => goodbyes++);
    const logs = await open(session, '/api/v1/namespaces/a/pods/b/log?follow=true');
    const watches: ClientHttp2Stream[] = [];
    for (let at = 0; at < 12; at++) watches.push(await open(session, watch));
    use('Ready');
    await pass(80);
    await eventually(() => goodbyes > 0 && watches.filter(({ closed }) => closed).length >= 6, 5_000);
    expect(logs.closed).to.equal(false);
    expect(young.seen).to.have.length(0);
  });

  it(
    'moves a watch that resumes on the same connection over HTTP/1.1, and ends that connection ' + 'after an answer',
    async () => {
      await start();
      use('NotReady');
      const agents = Array.from({ length: 4 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
      /** Resolves when the answer has ended. The value says whether the connection ends with it. */
      const ask = (agent: Agent, path: string) =>
        new Promise<boolean>((resolve, reject) => {
          const { port, caPem: ca } = proxy;
          const headers = { Authorization: 'Bearer a' };
          const sent = request({ agent, host: 'localhost', port, ca, path, headers }, (response) => {
            response.resume().once('close', () => resolve(response.headers.connection === 'close'));
          });
          sent.once('error', reject).end();
        });
      const first = agents.map(async (agent) => ({ agent, closes: await ask(agent, watch) }));
      await eventually(() => counts()[0] === 4, 5_000);
      use('Ready');
      await pass(60);
      const { agent, closes } = await Promise.race(first);
      expect(closes).to.equal(false);
      const again = ask(agent, watch);
      await eventually(() => counts()[1] === 1, 5_000);
      for (const response of running.get(young) ?? []) response.end();
      expect(await again).to.equal(true);
      for (const each of agents) each.destroy();
      await Promise.all(first);
    },
  );

  it('gives a pinned home its watches back from its stand-ins', async () => {
    await start(true);
    use('NotReady');
    await keepWatching(6);
    expect(counts()).to.deep.equal([6, 0]);
    use('Ready');
    await pass(60);
    await eventually(() => counts()[1] === 6, 5_000);
    expect(counts()).to.deep.equal([0, 6]);
  });

  it('is off with a period of 0', async () => {
    [old, young] = await Promise.all([startLoopbackPeer('old', authority), startLoopbackPeer('young', authority)]);
    holdAll(old);
    holdAll(young);
    clock = createManualClock();
    proxy = await startProxyUnderTest(authority, undefined, { clock });
    use('NotReady');
    await keepWatching(8);
    use('Ready');
    await pass(60);
    expect(counts()).to.deep.equal([8, 0]);
  });
});
