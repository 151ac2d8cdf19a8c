import { once } from 'node:events';
import { type ClientHttp2Session, constants, connect as http2Connect } from 'node:http2';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { waitUntil } from '../../lab/wait-until.ts';
import { claims, startThreeServers, type ThreeServers } from '../support/three-servers.ts';
import { createWireClient, type WireAnswer, type WireClient } from '../support/wire-client.ts';

const maps = '/api/v1/namespaces/default/configmaps';
const json = ['Content-Type', 'application/json'];

/** A server on an overloaded machine may fail its readiness, but must never be taken out because of a request. */
const takenOutByRequest = /peer taken out(?!.*why="it (is not ready|does not answer))/;

/** Each server sends GOAWAY for two percent of the HTTP/2 requests, which is the maximum. */
const flags = ['--goaway-chance=0.02'];

describe('writes and watches through the proxy at servers that send GOAWAY', function () {
  this.timeout(240_000);
  let servers: ThreeServers;
  let mixed: ThreeServers['mixed'];
  let status: ThreeServers['status'];
  let allReady: ThreeServers['allReady'];
  let ca: string;
  let client: WireClient;

  before(async () => {
    servers = await startThreeServers(flags);
    ({ mixed, ca, client, status, allReady } = servers);
  });

  after(() => servers?.stop());

  /** Gives the reader all rights by RBAC, not by its group. */
  async function bindReader(): Promise<void> {
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'reader' },
      subjects: [{ kind: 'User', name: 'reader', apiGroup: 'rbac.authorization.k8s.io' }],
      roleRef: { kind: 'ClusterRole', name: 'cluster-admin', apiGroup: 'rbac.authorization.k8s.io' },
    };
    const { code, stderr } = await mixed.kubectl('proxy', ['apply', '-f', '-'], JSON.stringify(binding));
    expect(code, stderr).to.equal(0);
    // Each server learns of this separately.
    for (const name of ['old-1', 'new-1', 'new-2'])
      await waitUntil(
        `rights at ${name}`,
        async () => (await mixed.kubectl(name, ['auth', 'can-i', 'list', 'configmaps', '--as', 'reader'])).code === 0,
      );
  }

  /** The first event of a watch, which then ends; with its status if it is refused. */
  function firstEvent(session: ClientHttp2Session, path: string): Promise<string> {
    return new Promise((resolve) => {
      const stream = session.request({ ':path': path, authorization: `Bearer ${mixed.plane.tokens.admin}` });
      let code = 0;
      let text = '';
      stream.on('response', (headers) => {
        code = Number(headers[':status']);
      });
      stream.on('data', (chunk: Buffer) => {
        text += String(chunk);
        if (!text.includes('\n')) return;
        resolve(`${code} ${(JSON.parse(text.slice(0, text.indexOf('\n'))) as { type: string }).type}`);
        stream.close(constants.NGHTTP2_CANCEL);
      });
      stream.on('error', () => {});
      stream.once('close', () => resolve(`${code} ended with ${stream.rstCode} after ${JSON.stringify(text)}`));
    });
  }

  const openSession = (url: string) => {
    const session = http2Connect(url, { ca });
    session.on('error', () => {});
    return session;
  };

  it('lose none of 1,500 watches and 1,500 reads to the GOAWAY of servers', async () => {
    const object = { apiVersion: 'resource.k8s.io/v1', kind: 'DeviceClass', metadata: { name: 'a.example' }, spec: {} };
    const created = await client.http1({
      method: 'POST',
      path: '/apis/resource.k8s.io/v1/deviceclasses',
      headers: json,
      body: JSON.stringify(object),
    });
    expect(created.status, created.body.toString()).to.equal(201);
    const watch = '/apis/resource.k8s.io/v1/deviceclasses?watch=1&resourceVersion=0';
    const direct = openSession(mixed.plane.server('new-1').url);
    let goodbyes = 0;
    direct.on('goaway', () => goodbyes++);
    for (let at = 0; at < 1_500 && goodbyes === 0; at++) await firstEvent(direct, watch);
    direct.destroy();
    expect(goodbyes, 'the servers must say goodbye, or this shows nothing').to.equal(1);
    const seen = new Map<string, number>();
    const count = (outcome: string) => seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    const work = async () => {
      // Each watch ends with a reset. A session with too many resets is ended.
      const session = openSession(mixed.proxyUrl);
      for (let at = 0; at < 150; at++) {
        count(`watch: ${await firstEvent(session, watch)}`);
        const path = at % 2 === 0 ? claims : maps;
        count(`read: ${(await client.http2({ path })).status}`);
      }
      session.destroy();
    };
    await Promise.all(Array.from({ length: 10 }, work));
    expect(Object.fromEntries(seen)).to.deep.equal({ 'watch: 200 ADDED': 1_500, 'read: 200': 1_500 });
    expect(mixed.plane.readLog('proxy')).not.to.match(takenOutByRequest);
  });

  it('lose nothing of known users to the GOAWAY with which servers answer unknown users', async () => {
    await bindReader();
    const seen = new Map<string, number>();
    const ask = async (who: string, token: string, version: 'http1' | 'http2') => {
      const one = createWireClient({ url: mixed.proxyUrl, ca, token });
      for (let at = 0; at < 300; at++) {
        const { status: code } = await one[version]({ path: at % 2 === 0 ? claims : maps });
        seen.set(`${who} ${code}`, (seen.get(`${who} ${code}`) ?? 0) + 1);
      }
      one.close();
    };
    const { reader } = mixed.plane.tokens;
    await Promise.all(
      (['http1', 'http2'] as const).flatMap((version) => [
        ...Array.from({ length: 4 }, () => ask('known', reader, version)),
        ...Array.from({ length: 4 }, () => ask('unknown', 'not-a-token', version)),
      ]),
    );
    expect(Object.fromEntries(seen)).to.deep.equal({ 'known 200': 2_400, 'unknown 401': 2_400 });
    expect(mixed.plane.readLog('proxy')).not.to.match(takenOutByRequest);
  });

  it('are never forbidden to a user with rights by RBAC, which a starting server has not read yet', async () => {
    await bindReader();
    let restarting = true;
    const seen = new Map<string, number>();
    const read = async (version: 'http1' | 'http2') => {
      for (let at = 0; restarting; at++) {
        // A new client is sent to any server.
        const one = createWireClient({ url: mixed.proxyUrl, ca, token: mixed.plane.tokens.reader });
        const path = at % 2 === 0 ? claims : maps;
        const code = await one[version]({ path }).then(
          ({ status: given }) => String(given),
          (error: Error) => error.message,
        );
        one.close();
        seen.set(code, (seen.get(code) ?? 0) + 1);
      }
    };
    const readers = Promise.all((['http1', 'http2', 'http1', 'http2'] as const).map(read));
    for (const name of ['new-1', 'old-1', 'new-2']) {
      await mixed.plane.server(name).kill();
      await mixed.plane.server(name).start();
      await allReady();
    }
    restarting = false;
    await readers;
    process.stdout.write(`      … ${JSON.stringify(Object.fromEntries(seen))}\n`);
    expect([...seen.keys()].filter((code) => code !== '200')).to.deep.equal([]);
    expect(seen.get('200')).to.be.at.least(1_000);
  });

  it('are carried out once or not at all, as the answer says, while every apiserver is restarted in turn', async () => {
    let restarting = true;
    const outcomes = new Map<string, number>();
    const said = new Map<string, number>();
    const note = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    const send = (at: number, request: { method: string; path: string; body: string }): Promise<WireAnswer | Error> =>
      (at % 2 === 0 ? client.http1 : client.http2)({ ...request, headers: json }).catch((error: Error) => error);
    const write = async (writer: number) => {
      // A lone writer that gets a conflict was sent twice.
      let own = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `own-${writer}`, namespace: 'default' } };
      let known = false;
      for (let at = 0; restarting || at < 150; at++) {
        const mark = `${writer}-${at}`;
        const metadata = { generateName: 'once-', labels: { mark } };
        const created = await send(at, {
          method: 'POST',
          path: maps,
          body: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata }),
        });
        const code = created instanceof Error ? 0 : created.status;
        said.set(mark, code);
        note(`POST ${code}`);
        const path = known ? `${maps}/own-${writer}` : maps;
        const answer = await send(at + 1, {
          method: known ? 'PUT' : 'POST',
          path,
          body: JSON.stringify({ ...own, data: { mark } }),
        });
        if (answer instanceof Error || answer.status >= 500) {
          note(`PUT ${answer instanceof Error ? answer.message : answer.status}`);
          // It is unknown whether it was carried out, so the next one starts from the current state.
          const found = await client.http1({ path: `${maps}/own-${writer}` }).catch(() => undefined);
          known = found?.status === 200;
          if (found?.status === 200) own = JSON.parse(found.body.toString());
          continue;
        }
        note(`PUT ${answer.status}`);
        own = JSON.parse(answer.body.toString());
        known = true;
      }
    };
    const writers = Promise.all([0, 1, 2, 3].map(write));
    for (const name of ['new-1', 'old-1', 'new-2']) {
      await mixed.plane.server(name).stop();
      await mixed.plane.server(name).start();
      await allReady();
    }
    restarting = false;
    await writers;
    const listed = await client.http1({ path: `${maps}?labelSelector=mark` });
    const items = (JSON.parse(listed.body.toString()) as { items: { metadata: { labels: { mark: string } } }[] }).items;
    const times = new Map<string, number>();
    for (const { metadata } of items) times.set(metadata.labels.mark, (times.get(metadata.labels.mark) ?? 0) + 1);
    const wrong = [...said].flatMap(([mark, code]) => {
      const found = times.get(mark) ?? 0;
      // Only 504 and a broken connection leave that open.
      const lawful = code === 201 ? found === 1 : code === 504 || code === 0 ? found <= 1 : found === 0;
      return lawful ? [] : [`${mark}: told ${code}, created ${found} times`];
    });
    const summary = JSON.stringify(Object.fromEntries(outcomes));
    process.stdout.write(`      … ${summary}\n`);
    expect(wrong, summary).to.deep.equal([]);
    expect(said.size).to.be.at.least(600);
    expect(
      [...outcomes.keys()].filter((outcome) => /^(?:POST|PUT) 4/.test(outcome)),
      summary,
    ).to.deep.equal([]);
  });

  /** A connection on which the head of a POST was sent, but nothing of its body. */
  async function announce(path: string, body: string) {
    const { hostname, port, host } = new URL(mixed.proxyUrl);
    const socket = tlsConnect({ host: hostname, port: Number(port), ca });
    let received = '';
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    await once(socket, 'secureConnect');
    socket.write(
      [
        `POST ${path} HTTP/1.1`,
        `Host: ${host}`,
        `Authorization: Bearer ${mixed.plane.tokens.admin}`,
        'Content-Type: application/json',
        `Content-Length: ${Buffer.byteLength(body)}`,
        'Expect: 100-continue',
        'Connection: close',
        '\r\n',
      ].join('\r\n'),
    );
    return { socket, received: () => received };
  }

  it('ask a client that waits for 100 for its body once a server is there for it, and never without one', async () => {
    const map = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'expected' } });
    const wanted = await announce(maps, map);
    await waitUntil('100 Continue', async () => wanted.received().endsWith('\r\n\r\n'));
    expect(wanted.received()).to.match(/^HTTP\/1\.1 100 [^\r]*\r\n(?:[^\r]+\r\n)*\r\n$/);
    expect(await status(`${maps}/expected`)).to.equal(404);
    wanted.socket.write(map);
    await once(wanted.socket, 'close');
    expect(wanted.received()).to.match(/\r\n\r\nHTTP\/1\.1 201 /);
    expect(await status(`${maps}/expected`)).to.equal(200);
    await Promise.all(['new-1', 'new-2'].map((name) => mixed.plane.server(name).stop()));
    await waitUntil('503', async () => (await status(claims)) === 503);
    const refused = await announce(claims.replace('/v1/', '/v1/namespaces/default/'), map);
    await once(refused.socket, 'close');
    expect(refused.received()).to.match(/^HTTP\/1\.1 503 /);
    expect(refused.received()).not.to.match(/HTTP\/1\.1 100 /);
    await Promise.all(['new-1', 'new-2'].map((name) => mixed.plane.server(name).start()));
  });
});
