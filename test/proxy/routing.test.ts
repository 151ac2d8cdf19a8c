import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { get as httpsGet } from 'node:https';
import type { Socket } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { routingTable } from '../../lab/routing-table.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import type { LoopbackPeer } from '../support/loopback-peer.ts';
import { startLoopbackPeer } from '../support/loopback-peer.ts';
import { eventually } from '../support/manual-clock.ts';
import type { ProxyUnderTest } from '../support/proxy-under-test.ts';
import { groupVersion, startProxyUnderTest } from '../support/proxy-under-test.ts';
import { createTestAuthority } from '../support/test-certificates.ts';

const unknownResource = JSON.stringify({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  message: 'the server could not find the requested resource',
  reason: 'NotFound',
  details: {},
  code: 404,
});
const missingObject = JSON.stringify({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  reason: 'NotFound',
  details: { name: 'x', kind: 'pods' },
  code: 404,
});
const v2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

describe('the proxy', function () {
  this.timeout(20_000);
  const authority = createTestAuthority('peers');
  let home: LoopbackPeer;
  let other: LoopbackPeer;
  let third: LoopbackPeer;
  let proxy: ProxyUnderTest;
  const table = (overrides = {}) =>
    routingTable({
      peers: [home, other, third].map(({ address }, at) => ({ id: `peer-${at}`, address, state: 'Ready' })),
      groupVersions: [
        groupVersion('v1', { pods: [0, 1, 2] }),
        groupVersion('new.io/v1', { things: [1, 2], lone: [1] }),
      ],
      ...overrides,
    });
  const notFound = (peer: LoopbackPeer, body: string, type = 'application/json') => {
    peer.answer = (_request, response) => response.writeHead(404, { 'Content-Type': type }).end(body);
  };

  beforeEach(async () => {
    [home, other, third] = await Promise.all(
      ['home', 'other', 'third'].map((name) => startLoopbackPeer(name, authority)) as [
        Promise<LoopbackPeer>,
        Promise<LoopbackPeer>,
        Promise<LoopbackPeer>,
      ],
    );
    proxy = await startProxyUnderTest(authority, home);
    proxy.use(table());
  });
  afterEach(async () => {
    await proxy.stop();
    await Promise.all([home, other, third].map((peer) => peer.kill()));
  });

  it('sends a request home if home serves it, unmarked, with its token unchanged', async () => {
    const answer = await proxy.get('/api/v1/pods', {
      Authorization: 'Bearer t',
      'X-Remote-User': 'root',
      'x-kubernetes-peer-proxied': 'true',
    });
    expect(answer.body).to.equal('home');
    const headers = home.seen[0]?.headers ?? {};
    expect(headers.authorization).to.equal('Bearer t');
    expect(headers).not.to.have.any.keys('x-remote-user', 'x-kubernetes-peer-proxied');
  });

  it('sends a request that home lacks to one capable peer, marked, and keeps to that peer on a connection', async () => {
    expect((await proxy.get('/apis/new.io/v1/lone')).body).to.equal('other');
    expect(other.seen[0]?.headers['x-kubernetes-peer-proxied']).to.equal('true');
    expect(home.seen).to.have.length(0);
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: proxy.caPem });
    for (let round = 0; round < 6; round++) await getOver(session, '/apis/new.io/v1/things');
    session.close();
    expect([other.seen.length, third.seen.length].map((count) => count % 6).sort()).to.deep.equal([0, 1]);
  });

  describe('with a resource whose fields only some servers know', () => {
    const skewed = (states: readonly ('Ready' | 'Unreachable')[], more = {}) =>
      table({
        peers: [home, other, third].map(({ address }, at) => ({
          id: `peer-${at}`,
          address,
          state: states[at] ?? 'Ready',
        })),
        groupVersions: [
          {
            group: '',
            version: 'v1',
            origin: 'BuiltIn',
            resources: [{ resource: 'pods', peers: [0, 1, 2], writers: [2], standIns: [1], subresources: {} }],
          },
        ],
        ...more,
      });
    const pods = '/api/v1/namespaces/x/pods';

    it('sends writes and reads of one object to a server that knows all fields, marked, and lists home', async () => {
      proxy.use(skewed([]));
      expect((await proxy.get(pods, {}, 'POST', '{}')).body).to.equal('third');
      expect((await proxy.get(`${pods}/p`)).body).to.equal('third');
      expect((await proxy.get(pods)).body).to.equal('home');
      expect(third.seen[0]?.headers['x-kubernetes-peer-proxied']).to.equal('true');
      expect(await proxy.proxy.metrics.text()).to.match(
        /^peerdiscovery_proxy_field_writes_total\{group="",version="v1",resource="pods"\} 1$/m,
      );
    });

    it('warns that a server that stands in may have dropped fields', async () => {
      proxy.use(skewed(['Ready', 'Ready', 'Unreachable']));
      const answer = await proxy.get(pods, {}, 'POST', '{}');
      expect(answer.body).to.equal('other');
      expect(answer.headers.warning).to.match(/^299 - ".*pods of v1.*"$/);
      expect((await proxy.get(`${pods}/p`)).headers.warning).to.equal(undefined);
    });

    it('warns of lost fields if no server of the version knows all fields', async () => {
      const resources = [{ resource: 'pods', peers: [0, 1], writers: [], standIns: [0, 1], subresources: {} }];
      proxy.use(skewed([], { groupVersions: [{ group: '', version: 'v1', origin: 'BuiltIn', resources }] }));
      const answer = await proxy.get(pods, {}, 'POST', '{}');
      expect(answer.body).to.equal('home');
      expect(answer.headers.warning).to.match(
        /^299 - "no kube-apiserver that serves pods of v1 knows all of its fields/,
      );
    });

    it('answers 503 and sends nothing if every server that is left would destroy a stored field', async () => {
      proxy.use(skewed(['Ready', 'Unreachable', 'Unreachable']));
      const answer = await proxy.get(pods, {}, 'POST', '{}');
      expect(answer.status).to.equal(503);
      expect(answer.headers['retry-after']).to.equal('5');
      expect(answer.body).to.include('knows all fields of pods of v1').and.include('peer-2 is Unreachable');
      expect((await proxy.get(pods)).body).to.equal('home');
    });
  });

  it('passes status, repeated headers and body on unchanged', async () => {
    home.answer = (_request, response) =>
      response
        .writeHead(201, ['Warning', 'a', 'Warning', 'b', 'Audit-Id', 'i', 'Content-Length', '2', 'Date', 'd'])
        .end('ok');
    const answer = await proxy.get('/api/v1/pods');
    expect(answer).to.include({ status: 201, body: 'ok' });
    expect(
      answer.rawHeaders
        .filter((_, at) => at % 2 === 0)
        .map((name) => name.toLowerCase())
        .sort(),
    ).to.deep.equal(['audit-id', 'connection', 'content-length', 'date', 'warning', 'warning'].sort());
  });

  it('passes bodies of known and unknown length on', async () => {
    home.answer = (request, response) => {
      request.pipe(response);
    };
    expect((await proxy.get('/api/v1/pods', { 'Content-Length': '5' }, 'POST', 'hello')).body).to.equal('hello');
    expect((await proxy.get('/api/v1/pods', { 'Transfer-Encoding': 'chunked' }, 'PATCH', 'hello')).body).to.equal(
      'hello',
    );
    expect((await proxy.get('/api/v1/pods/x', { 'Content-Length': '5' }, 'DELETE', 'hello')).body).to.equal('hello');
  });

  it("passes home's 404 on if no server has the resource", async () => {
    notFound(home, '404 page not found\n', 'text/plain; charset=utf-8');
    expect((await proxy.get('/apis/nope.io/v1/x')).status).to.equal(404);
  });

  it('turns that 404 into a 503 while the table is incomplete, whatever its encoding', async () => {
    proxy.use(table({ complete: false, doubts: [{ peer: 'peer-9', reason: 'Unreachable', message: 'no answer' }] }));
    for (const [body, type] of [
      ['404 page not found\n', 'text/plain'],
      [unknownResource, 'application/json'],
      [
        'kind: Status\nmessage: the server could not find the requested resource\nreason: NotFound\n',
        'application/yaml',
      ],
    ] as const) {
      notFound(home, body, type);
      const answer = await proxy.get('/apis/nope.io/v1/x');
      expect(answer.status).to.equal(503);
      expect(answer.headers['retry-after']).to.equal('1');
      expect(answer.body).to.include('peer-9: no answer');
    }
    notFound(home, missingObject);
    expect((await proxy.get('/apis/nope.io/v1/x')).status).to.equal(404);
  });

  it('turns that 404 into a 503 while there is no table', async () => {
    const bare = await startProxyUnderTest(authority, home);
    notFound(home, unknownResource);
    expect((await bare.get('/apis/nope.io/v1/x')).status).to.equal(503);
    notFound(home, missingObject);
    expect((await bare.get('/api/v1/namespaces/a/pods/x')).status).to.equal(404);
    await bare.stop();
  });

  it("does not answer with one server's discovery while there is no table", async () => {
    const bare = await startProxyUnderTest(authority, home);
    for (const path of [
      '/apis',
      '/apis/',
      '/api',
      '/api/v1',
      '/apis/new.io',
      '/apis/new.io/v1',
      '/openapi/v2',
      '/openapi/v3',
    ])
      for (const method of ['GET', 'HEAD']) {
        const { status, headers } = await bare.get(`${path}?timeout=32s`, {}, method);
        expect([path, status, headers['retry-after']]).to.deep.equal([path, 503, '1']);
      }
    // Servers that ignore `profile` would send their own document in place of the merged one.
    for (const [path, accept] of [
      ['/apis', 'application/json;profile=nopeer'],
      ['/apis', `application/json, ${v2.replace('v=v2', 'v=v9')};profile=nopeer`],
      ['/api', 'text/html;profile=nopeer, */*'],
      ['/apis/new.io', `${v2};profile=nopeer`],
      ['/apis/new.io/v1', `${v2};profile=nopeer, application/json`],
    ] as const)
      expect([path, accept, (await bare.get(path, { Accept: accept })).status]).to.deep.equal([path, accept, 503]);
    expect(home.seen).to.have.length(0);
    expect((await bare.get('/apis', { Accept: `${v2};profile=nopeer` })).body).to.equal('home');
    expect((await bare.get('/version')).body).to.equal('home');
    await bare.stop();
  });

  it('passes on the 404 of a missing object, but not the 404 of a listed resource', async () => {
    notFound(home, missingObject);
    expect((await proxy.get('/api/v1/namespaces/a/pods/x')).status).to.equal(404);
    notFound(home, unknownResource);
    expect((await proxy.get('/api/v1/pods')).body).to.be.oneOf(['other', 'third']);
    expect(proxy.behind).to.deep.equal([home.address]);
  });

  it('sends a write elsewhere if its 404 proves that nothing was carried out, while its body is whole', async () => {
    notFound(home, unknownResource);
    for (const peer of [other, third])
      peer.answer = (request, response) => {
        request.pipe(response);
      };
    expect((await proxy.get('/api/v1/pods', { 'Content-Length': '5' }, 'POST', 'hello')).body).to.equal('hello');
    const chunked = { 'Transfer-Encoding': 'chunked' };
    expect((await proxy.get('/api/v1/pods', chunked, 'POST', 'again')).body).to.equal('again');
    home.answer = (request, response) => {
      request.resume();
      request.once('end', () => response.writeHead(404, { 'Content-Type': 'application/json' }).end(unknownResource));
    };
    expect((await proxy.get('/api/v1/pods', chunked, 'POST', 'late')).body).to.equal('late');
    const before = other.seen.length + third.seen.length;
    const upload = 'x'.repeat(300_000);
    const refused = await proxy.get('/api/v1/pods', { 'Content-Length': String(upload.length) }, 'POST', upload);
    expect(refused.status).to.equal(503);
    expect(refused.headers['retry-after']).to.equal('1');
    expect(other.seen.length + third.seen.length).to.equal(before);
  });

  it('answers 503 if every server in the table says that it does not know the resource', async () => {
    for (const peer of [home, other, third]) notFound(peer, unknownResource);
    expect((await proxy.get('/api/v1/pods')).status).to.equal(503);
    expect((await proxy.get('/apis/new.io/v1/things', { 'Content-Length': '1' }, 'POST', 'x')).status).to.equal(503);
  });

  it('passes on answers of a backend under proxy, but no 404 of a server that may not know the resource', async () => {
    notFound(home, '404 page not found\n', 'text/plain');
    const pods = groupVersion('v1', { pods: [0, 1, 2] });
    const resources = pods.resources.map((row) => ({ ...row, subresources: { proxy: [0, 1, 2] } }));
    proxy.use(
      table({
        groupVersions: [{ ...pods, resources }],
        complete: false,
        doubts: [{ peer: 'p', reason: 'r', message: 'm' }],
      }),
    );
    expect((await proxy.get('/api/v1/namespaces/a/pods/x/proxy/some/path')).status).to.equal(404);
    expect((await proxy.get('/apis/nope.io/v1/namespaces/a/things/x/proxy/some/path')).status).to.equal(503);
  });

  it('gives no new work to a home that drains or starts, unless no other server is there', async () => {
    const draining = (states: readonly string[]) => {
      const { peers, ...rest } = table();
      return { ...rest, peers: peers.map((peer, at) => ({ ...peer, state: states[at] })) } as ReturnType<typeof table>;
    };
    proxy.use(draining(['NotReady', 'Ready', 'Ready']));
    expect((await proxy.get('/api/v1/pods')).body).to.be.oneOf(['other', 'third']);
    proxy.use(draining(['NotReady', 'NotReady', 'Unreachable']));
    expect((await proxy.get('/api/v1/pods')).body).to.equal('home');
  });

  it(
    'keeps the home of a client connection, gives it one new home if that is lost, and ' + 'counts the change',
    async () => {
      const unpinned = await startProxyUnderTest(authority, undefined);
      unpinned.use(table());
      const session = http2Connect(`https://localhost:${unpinned.port}`, { ca: unpinned.caPem });
      const first = await getOver(session, '/version');
      for (let round = 0; round < 4; round++) expect(await getOver(session, '/version')).to.equal(first);
      await ({ home, other, third }[first] as LoopbackPeer).kill();
      const second = await getOver(session, '/version');
      expect(second).not.to.equal(first);
      for (let round = 0; round < 4; round++) expect(await getOver(session, '/version')).to.equal(second);
      session.close();
      expect(await unpinned.proxy.metrics.text()).to.match(/peerdiscovery_proxy_home_changes_total 1\n/);
      await unpinned.stop();
    },
  );

  it('stays with the peer to which a read of a resource has failed over', async () => {
    proxy.use(table({ groupVersions: [groupVersion('new.io/v1', { things: [1, 2] })] }));
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: proxy.caPem });
    const first = await getOver(session, '/apis/new.io/v1/things');
    const broken = first === 'other' ? other : third;
    broken.answer = (request) => request.socket.destroy();
    const second = await getOver(session, '/apis/new.io/v1/things');
    expect(second).not.to.equal(first);
    broken.answer = (_request, response) => response.end(first);
    await eventually(() => proxy.proxy.checks().every(({ ok }) => ok));
    for (let round = 0; round < 4; round++) expect(await getOver(session, '/apis/new.io/v1/things')).to.equal(second);
    session.close();
  });

  it('tries the only capable peer again at once after it has lost a connection', async () => {
    other.answer = (request) => request.socket.destroy();
    expect((await proxy.get('/apis/new.io/v1/lone', { 'Content-Length': '1' }, 'POST', 'x')).status).to.equal(504);
    other.answer = (_request, response) => response.end('other');
    expect((await proxy.get('/apis/new.io/v1/lone')).body).to.equal('other');
  });

  it('treats a 404 to a HEAD as one of a server that does not know the resource', async () => {
    proxy.use(table({ groupVersions: [groupVersion('new.io/v1', { things: [1, 2], lone: [1] })] }));
    const type = { 'Content-Type': 'application/json' };
    other.answer = (_request, response) => response.writeHead(404, type).end();
    third.answer = (_request, response) => response.writeHead(405, type).end();
    const statuses = new Set<number>();
    for (let round = 0; round < 4; round++)
      statuses.add((await proxy.get('/apis/new.io/v1/things', {}, 'HEAD')).status);
    expect([...statuses]).to.deep.equal([405]);
    expect(statusAndRetry(await proxy.get('/apis/new.io/v1/lone', {}, 'HEAD'))).to.deep.equal([503, '1']);
    answerFor(other, 404, '', ['things', 'lone']);
    expect((await proxy.get('/apis/new.io/v1/lone', {}, 'HEAD')).status).to.equal(404);
    // If the table is sure that no server serves it, there is no doubt.
    home.answer = (_request, response) => response.writeHead(404, type).end();
    expect((await proxy.get('/apis/nope.io/v1/things', {}, 'HEAD')).status).to.equal(404);
  });

  describe('a 404 of a server whose discovery says what it serves', () => {
    const denial = unknownResource.replace('the server could not find the requested resource', 'tenant not found');
    const asked = (peer: LoopbackPeer) => peer.seen.map(({ method, url }) => `${method} ${url}`);
    const send = (method: string, path = '/api/v1/namespaces/a/pods') =>
      proxy.get(path, method === 'GET' || method === 'HEAD' ? {} : { 'Content-Length': '1' }, method, 'x');

    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'GET'])
      it(`is the answer to ${method} at once if its text is not kube-apiserver's`, async () => {
        answerFor(home, 404, denial, []);
        const { status, body } = await send(method);
        expect([status, body]).to.deep.equal([404, denial]);
        expect(asked(home)).to.deep.equal([`${method} /api/v1/namespaces/a/pods`]);
        expect([...asked(other), ...asked(third), ...proxy.behind]).to.deep.equal([]);
      });

    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'HEAD'])
      it(`is the answer to ${method} if the server serves the resource, even with kube-apiserver's text`, async () => {
        answerFor(home, 404, unknownResource, ['pods']);
        const { status, body } = await send(method);
        expect([status, body]).to.deep.equal([404, method === 'HEAD' ? '' : unknownResource]);
        expect(asked(home)).to.deep.equal([`${method} /api/v1/namespaces/a/pods`, 'GET /api/v1']);
        expect([...asked(other), ...asked(third), ...proxy.behind]).to.deep.equal([]);
      });

    it('makes the proxy ask for the discovery as the client', async () => {
      answerFor(home, 404, unknownResource, ['pods']);
      await proxy.get('/api/v1/pods', { authorization: 'Bearer mine', 'impersonate-user': 'jane' });
      const { headers } = home.seen[1] ?? {};
      expect([headers?.authorization, headers?.['impersonate-user']]).to.deep.equal(['Bearer mine', 'jane']);
    });

    it('makes the proxy send the request to another server if that discovery lacks the resource', async () => {
      answerFor(home, 404, unknownResource, ['secrets', 'pods/status']);
      expect((await send('POST')).body).to.be.oneOf(['other', 'third']);
      expect(proxy.behind).to.deep.equal([home.address]);
    });

    for (const discovery of [403, 500, 'no list'] as const)
      it(`makes the proxy send a read to another server, but never a write, if that discovery is ${discovery}`, async () => {
        answerFor(home, 404, unknownResource, discovery);
        const write = await send('POST');
        expect(statusAndRetry(write)).to.deep.equal([504, undefined]);
        expect(write.body).to.include('the request may have been carried out');
        expect([...asked(other), ...asked(third)]).to.deep.equal([]);
        expect((await send('GET')).body).to.be.oneOf(['other', 'third']);
        expect(proxy.behind).to.deep.equal([]);
      });

    it('makes the proxy look for the subresource if the request is about one', async () => {
      const pods = groupVersion('v1', { pods: [0, 1, 2] });
      const resources = pods.resources.map((row) => ({ ...row, subresources: { exec: [0, 1, 2] } }));
      proxy.use(table({ groupVersions: [{ ...pods, resources }] }));
      answerFor(home, 404, '404 page not found\n', ['pods', 'pods/exec']);
      expect((await send('POST', '/api/v1/namespaces/a/pods/x/exec')).status).to.equal(404);
      answerFor(home, 404, '404 page not found\n', ['pods']);
      expect((await send('POST', '/api/v1/namespaces/a/pods/x/exec')).body).to.be.oneOf(['other', 'third']);
    });

    it('is accepted for an unlisted resource in a doubtful table only after the proxy has repeated a read', async () => {
      proxy.use(table({ complete: false, doubts: [{ peer: 'p', reason: 'r', message: 'm' }] }));
      answerFor(home, 404, unknownResource, ['fresh']);
      expect((await proxy.get('/api/v1/fresh')).status).to.equal(404);
      expect(asked(home)).to.deep.equal(['GET /api/v1/fresh', 'GET /api/v1', 'GET /api/v1/fresh', 'GET /api/v1']);
      expect((await send('POST', '/api/v1/fresh')).status).to.equal(504);
      answerFor(home, 404, unknownResource, []);
      expect((await send('POST', '/api/v1/fresh')).status).to.equal(503);
    });
  });

  it("leaves a server's own refusals alone, with their Retry-After, and forwards the trace context", async () => {
    home.answer = (_request, response) => response.writeHead(429, { 'Retry-After': '7' }).end('slow down');
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const answer = await proxy.get('/api/v1/pods', { traceparent, tracestate: 'a=b' });
    expect(answer).to.include({ status: 429, body: 'slow down' });
    expect(answer.headers['retry-after']).to.equal('7');
    expect(home.seen[0]?.headers).to.include({ traceparent, tracestate: 'a=b' });
    expect(other.seen.length + third.seen.length).to.equal(0);
  });

  it(
    'sends what a server refuses because it is shutting down to another, writes too, and then ' + 'avoids that server',
    async () => {
      const refusal = { kind: 'Status', status: 'Failure', message: 'apiserver is shutting down', code: 503 };
      const refuse: LoopbackPeer['answer'] = (_request, response) =>
        response
          .writeHead(503, { 'Retry-After': '1', 'Content-Type': 'application/json' })
          .end(`${JSON.stringify(refusal)}\n\n`);
      other.answer = refuse;
      third.answer = refuse;
      expect((await proxy.get('/apis/new.io/v1/lone')).body).to.include('apiserver is shutting down');
      third.answer = (request, response) => {
        request.pipe(response);
      };
      const write = await proxy.get('/apis/new.io/v1/things', { 'Content-Length': '5' }, 'POST', 'hello');
      expect(write.body).to.equal('hello');
      expect((await proxy.get('/apis/new.io/v1/things')).status).to.equal(200);
      expect(await proxy.proxy.metrics.text()).to.match(/peerdiscovery_proxy_failovers_total [12]\n/);
    },
  );

  it('routes new requests by a new table at once, and cuts no running watch', async () => {
    let event = (_text: string) => {};
    other.answer = (_request, response) => {
      response.writeHead(200).flushHeaders();
      event = (text) => response.write(text);
    };
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: proxy.caPem });
    const watch = session.request({ ':path': '/apis/new.io/v1/lone?watch=1' });
    await once(watch, 'response');
    proxy.use(table({ groupVersions: [groupVersion('new.io/v1', { lone: [2] })], revision: 2 }));
    expect(await getOver(session, '/apis/new.io/v1/lone')).to.equal('third');
    event('still here');
    expect(String((await once(watch, 'data'))[0])).to.equal('still here');
    watch.close();
    session.close();
  });

  it('shows what readiness depends on, and stays ready if the table is merely old', async () => {
    const bare = await startProxyUnderTest(authority, home);
    const failing = () =>
      bare.proxy
        .checks()
        .filter(({ ok, informational }) => !ok && informational !== true)
        .map(({ name }) => name);
    expect(failing()).to.deep.equal(['table']);
    bare.use(table());
    expect(failing()).to.deep.equal([]);
    bare.doubt('the operator is gone');
    expect(failing()).to.deep.equal([]);
    expect(bare.proxy.checks().find(({ name }) => name === 'table-fresh')).to.deep.include({
      ok: false,
      message: 'the operator is gone',
    });
    await bare.stop();
  });

  it('answers 503 with a negotiated Status if the servers of the resource cannot take requests', async () => {
    const gone = table();
    proxy.use({ ...gone, peers: gone.peers.map((peer, at) => (at === 0 ? peer : { ...peer, state: 'Unreachable' })) });
    const answer = await proxy.get('/apis/new.io/v1/lone', { Accept: 'application/yaml' });
    expect(answer.status).to.equal(503);
    expect(answer.headers['content-type']).to.equal('application/yaml');
    expect(answer.body).to.include('peer-1 is Unreachable');
  });

  it('loses no read and no unsent write when a peer dies while another can serve', async () => {
    await other.kill();
    for (let round = 0; round < 5; round++) {
      expect((await proxy.get('/apis/new.io/v1/things')).body).to.equal('third');
      expect((await proxy.get('/apis/new.io/v1/things', { 'Content-Length': '1' }, 'POST', 'x')).body).to.equal(
        'third',
      );
    }
  });

  it('counts a 503 of discovery, and logs the code of each of its answers', async () => {
    await proxy.stop();
    const codes: unknown[] = [];
    const info: Log['info'] = (message, fields) => void (message === 'request' && codes.push(fields?.code));
    proxy = await startProxyUnderTest(authority, home, { log: { ...silentLog, info } });
    proxy.use(table());
    await Promise.all([home, other, third].map((peer) => peer.kill()));
    expect((await proxy.get('/apis', { Accept: v2 })).status).to.equal(503);
    expect(codes).to.deep.equal([503]);
    expect(await proxy.proxy.metrics.text()).to.match(/unavailable_total\{reason="discovery"\} 1\n/);
  });

  it('sends requests to other servers while home is dead', async () => {
    await home.kill();
    expect((await proxy.get('/api/v1/pods')).body).to.be.oneOf(['other', 'third']);
    expect((await proxy.get('/version')).body).to.be.oneOf(['other', 'third']);
  });

  it('repeats a read without a byte of an answer, once, and never a write', async () => {
    other.answer = (request) => request.socket.destroy();
    third.answer = (request) => request.socket.destroy();
    expect((await proxy.get('/apis/new.io/v1/things')).status).to.equal(503);
    expect([other.seen.length, third.seen.length]).to.deep.equal([1, 1]);
    await eventually(() => proxy.proxy.checks().every(({ ok }) => ok));
    const before = other.seen.length + third.seen.length;
    let write = await proxy.get('/apis/new.io/v1/lone', { 'Content-Length': '1' }, 'POST', 'x');
    // The proxy sends nothing until the probe has brought the peer back.
    while (write.status === 503 && other.seen.length + third.seen.length === before)
      write = await proxy.get('/apis/new.io/v1/lone', { 'Content-Length': '1' }, 'POST', 'x');
    expect(write.status).to.equal(504);
    expect(write.headers).not.to.have.property('retry-after');
    expect(other.seen.length + third.seen.length).to.equal(before + 1);
  });

  it('cuts an answer off visibly when its peer dies in the middle', async () => {
    home.answer = (request, response) => {
      response.write('half');
      setImmediate(() => request.socket.destroy());
    };
    const failure = await proxy.get('/api/v1/pods').then(
      () => undefined,
      (error: Error) => error,
    );
    expect(failure).to.be.instanceOf(Error);
  });

  it('sends no credential to a server whose certificate is for another name or from another authority', async () => {
    const wrongName = await startLoopbackPeer('evil', authority, 'kubelet.example');
    const wrongAuthority = await startLoopbackPeer('evil', createTestAuthority('others'));
    for (const evil of [wrongName, wrongAuthority]) {
      proxy.use(
        routingTable({
          peers: [
            { id: 'home', address: home.address, state: 'Ready' },
            { id: 'evil', address: evil.address, state: 'Ready' },
          ],
          groupVersions: [groupVersion('new.io/v1', { things: [1] })],
          serverName: 'kubelet.example',
        }),
      );
      expect((await proxy.get('/apis/new.io/v1/things', { Authorization: 'Bearer t' })).status).to.equal(503);
      expect(evil.seen).to.have.length(0);
      await evil.kill();
    }
  });

  it('does not connect to forbidden address ranges that the table names, but to the pinned home', async () => {
    const strict = await startProxyUnderTest(authority, home, { allowCidrs: [] });
    strict.use(table());
    expect((await strict.get('/apis/new.io/v1/lone')).status).to.equal(503);
    expect((await strict.get('/api/v1/pods')).body).to.equal('home');
    expect(other.seen).to.have.length(0);
    await strict.stop();
  });

  it('streams watches as they arrive, over HTTP/1.1 and HTTP/2', async () => {
    const events: ((text: string) => void)[] = [];
    home.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.flushHeaders();
      events.push((text) => (text === '' ? response.end() : response.write(text)));
    };
    const http1 = httpsGet({
      host: '127.0.0.1',
      port: proxy.port,
      path: '/api/v1/pods?watch=1',
      ca: proxy.caPem,
      servername: 'localhost',
      agent: false,
    });
    const [response] = (await once(http1, 'response')) as [import('node:http').IncomingMessage];
    events[0]?.('one');
    expect(String((await once(response, 'data'))[0])).to.equal('one');
    events[0]?.('two');
    expect(String((await once(response, 'data'))[0])).to.equal('two');
    response.resume();
    events[0]?.('');
    await once(response, 'end');

    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: proxy.caPem });
    const stream = session.request({ ':path': '/api/v1/pods?watch=1' });
    await once(stream, 'response');
    events[1]?.('one');
    expect(String((await once(stream, 'data'))[0])).to.equal('one');
    events[1]?.('');
    stream.resume();
    await once(stream, 'end');
    session.close();
  });

  it('slows the server down if the client reads slowly', async () => {
    const total = 160 * 1024 * 1024;
    // The kernel alone may hold 38 MiB for each of the two connections, and does on a busy machine.
    const held = 96 * 1024 * 1024;
    let written = 0;
    let ended = false;
    home.answer = (_request, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const more = () => {
        while (written < total) {
          written += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
        ended = true;
        response.end();
      };
      more();
    };
    const request = httpsGet({
      host: '127.0.0.1',
      port: proxy.port,
      path: '/api/v1/pods',
      ca: proxy.caPem,
      servername: 'localhost',
      agent: false,
      // An unknown user has only ten seconds to read, which a busy machine may need.
      headers: { authorization: 'Bearer known' },
    });
    const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
    response.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(ended).to.equal(false);
    expect(written).to.be.below(held);
    let received = 0;
    response.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    response.resume();
    await once(response, 'end');
    expect(received).to.equal(total);
  });

  it('stops the request at the server when the client leaves', async () => {
    let gone = false;
    home.answer = (request, response) => {
      response.write('x');
      request.socket.once('close', () => {
        gone = true;
      });
    };
    const request = httpsGet({
      host: '127.0.0.1',
      port: proxy.port,
      path: '/api/v1/pods?watch=1',
      ca: proxy.caPem,
      servername: 'localhost',
      agent: false,
    });
    await once(request, 'response');
    request.on('error', () => {});
    request.destroy();
    await eventually(() => gone);
  });

  it('passes trailers', async () => {
    home.answer = (_request, response) => {
      response.writeHead(200, { Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked' });
      response.write('x');
      response.addTrailers({ 'X-Sum': '1' });
      response.end();
    };
    const session = http2Connect(`https://localhost:${proxy.port}`, { ca: proxy.caPem });
    const stream = session.request({ ':path': '/api/v1/pods' });
    stream.resume();
    const [trailers] = (await once(stream, 'trailers')) as [Record<string, string>];
    expect(trailers['x-sum']).to.equal('1');
    session.close();
  });

  it('gives the unified document to clients that home lets in, and to nobody else', async () => {
    home.answer = (request, response) => {
      if (request.headers.authorization !== 'Bearer t') return response.writeHead(401).end('no');
      return request.headers['if-none-match'] === '"h"'
        ? response.writeHead(304).end()
        : response.writeHead(200, { ETag: '"h"' }).end('{}');
    };
    expect(await proxy.get('/apis', { Accept: v2 })).to.include({ status: 401, body: 'no' });
    const given = await proxy.get('/apis', { Accept: v2, Authorization: 'Bearer t' });
    expect(given).to.include({ status: 200, body: '{"unified":"apis"}\n' });
    expect(given.headers).to.include({ 'content-type': v2, etag: '"A1"', vary: 'Accept', 'cache-control': 'public' });
    const asked = home.seen.length;
    expect(
      (await proxy.get('/apis', { Accept: v2, Authorization: 'Bearer t', 'If-None-Match': '"A1"' })).status,
    ).to.equal(304);
    expect(home.seen).to.have.length(asked);
    expect((await proxy.get('/api', { Accept: v2, Authorization: 'Bearer t' })).body).to.equal('{"unified":"api"}\n');
    const head = await proxy.get('/apis', { Accept: v2, Authorization: 'Bearer t' }, 'HEAD');
    expect(head).to.include({ status: 200, body: '' });
    expect(
      (await proxy.get('/apis', { Accept: v2, Authorization: 'Bearer t', 'Impersonate-User': 'x' })).status,
    ).to.equal(200);
    expect(home.seen.at(-1)?.headers['impersonate-user']).to.equal('x');
  });

  it("returns home's own answer for profile=nopeer and for a form that the proxy cannot write", async () => {
    for (const accept of [`${v2};profile=nopeer`, 'text/html', 'application/json;sv=v1'])
      expect((await proxy.get('/apis', { Accept: accept })).body).to.equal('home');
  });

  it('joins both sides of an upgrade, keeps a half-closed side half-closed, and marks and strips headers as always', async () => {
    let heads: NodeJS.Dict<string | string[]> = {};
    other.onUpgrade = (request, socket: Socket) => {
      heads = request.headers;
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\nhello',
      );
      let received = '';
      socket.on('data', (chunk: Buffer) => {
        received += String(chunk);
      });
      socket.once('end', () => socket.end(`[${received}]`));
    };
    proxy.use(table({ groupVersions: [groupVersion('v1', { pods: [1] })] }));
    const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
      host: '127.0.0.1',
      port: proxy.port,
      ca: proxy.caPem,
      servername: 'localhost',
      allowHalfOpen: true,
    };
    const socket = tlsConnect(options);
    socket.write(
      'GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer t\r\nX-Remote-User: root\r\n\r\n',
    );
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += String(chunk);
      if (received.endsWith('hello')) socket.end('question');
    });
    await once(socket, 'close');
    expect(received).to.match(/^HTTP\/1\.1 101 .*Sec-WebSocket-Accept: k\r\n.*\r\nhello\[question\]$/s);
    expect(heads).to.include({
      authorization: 'Bearer t',
      'x-kubernetes-peer-proxied': 'true',
      upgrade: 'websocket',
    });
    expect(heads).not.to.have.property('x-remote-user');
  });

  for (const protocol of ['h2c', 'TLS/1.2', 'tcp', 'foo/1', 'foo, websocket'])
    it(`ignores a request's upgrade to ${protocol}, with a body or without`, async () => {
      const ask = `Host: h\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n`;
      home.answer = (request, response) => request.pipe(response.writeHead(200, { 'X-Got': `${request.method}` }));
      expect(await proxy.sendRaw(`GET /api/v1/pods HTTP/1.1\r\n${ask}\r\n`)).to.match(/^HTTP\/1\.1 200 .*X-Got: GET/s);
      for (const [framing, body] of [
        ['Content-Length: 5', 'hello'],
        ['Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
      ])
        expect(
          await proxy.sendRaw(
            `POST /api/v1/pods HTTP/1.1\r\n${ask}${framing}\r\n\r\n${body}GET /second HTTP/1.1\r\n\r\n`,
          ),
        ).to.match(/^HTTP\/1\.1 200 .*X-Got: POST.*hello\r\n0\r\n\r\n$/s);
      expect(home.seen.map(({ headers }) => headers.upgrade)).to.deep.equal([undefined, undefined, undefined]);
    });

  for (const path of [
    'api/v1/namespaces/a/services/x/proxy/y',
    'api/v1/namespaces/a/pods/x/proxy',
    'api/v1/nodes/n/proxy/z',
    'apis/metrics.k8s.io/v1beta1/nodes',
  ])
    for (const protocol of ['tcp', 'h2c', 'foo/1, bar'])
      it(`passes an upgrade to ${protocol} on under ${path}`, async () => {
        home.onUpgrade = (request, socket) =>
          socket.end(
            `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\nraw`,
          );
        const answer = await proxy.sendRaw(
          `GET /${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
        );
        expect(answer).to.match(new RegExp(`^HTTP/1\\.1 101 .*Upgrade: ${protocol}\r\n\r\nraw$`, 's'));
      });

  it('ignores an upgrade in a request with a body under proxy', async () => {
    home.answer = (request, response) => request.pipe(response.writeHead(200, { 'X-Got': `${request.method}` }));
    const ask = 'Host: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 5\r\n\r\nhello';
    expect(await proxy.sendRaw(`POST /api/v1/namespaces/a/services/x/proxy/y HTTP/1.1\r\n${ask}`)).to.match(
      /^HTTP\/1\.1 200 .*X-Got: POST.*hello/s,
    );
  });

  it('passes a refused upgrade on as an ordinary answer', async () => {
    home.onUpgrade = (_request, socket) =>
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
    const answer = await proxy.sendRaw(
      'GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    expect(answer).to.match(/^HTTP\/1\.1 403 .*\r\n\r\nno$/s);
  });
});

async function getOver(session: import('node:http2').ClientHttp2Session, path: string): Promise<string> {
  const stream = session.request({ ':path': path });
  let body = '';
  stream.on('data', (chunk: Buffer) => {
    body += String(chunk);
  });
  await once(stream, 'end');
  return body;
}

/** Answers everything in this way, except the list of a group-version. */
function answerFor(
  peer: LoopbackPeer,
  status: number,
  body: string,
  discovery: readonly string[] | number | 'no list',
): void {
  peer.answer = (request, response) => {
    request.resume();
    const type = { 'Content-Type': body.startsWith('{') ? 'application/json' : 'text/plain' };
    if (!/^\/(api|apis\/[^/]+)\/[^/]+$/.test(request.url ?? '')) response.writeHead(status, type).end(body);
    else if (discovery === 'no list') response.end('{}');
    else if (typeof discovery === 'number') response.writeHead(discovery).end();
    else response.end(JSON.stringify({ kind: 'APIResourceList', resources: discovery.map((name) => ({ name })) }));
  };
}

function statusAndRetry({
  status,
  headers,
}: {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
}) {
  return [status, headers['retry-after']];
}
