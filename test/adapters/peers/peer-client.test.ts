import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { SecureVersion } from 'node:tls';
import { expect } from 'chai';
import { createPeerClient, type PeerClientOptions } from '../../../src/adapters/peers/peer-client.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import {
  type FakePeer,
  type Respond,
  sendEndlessBody,
  sendHalf,
  sendHugeJson,
  sendJson,
  sendNothing,
  sendSlowly,
  sendText,
  startFakePeer,
} from '../../support/hostile-peer.ts';
import { eventually } from '../../support/manual-clock.ts';
import { createTestAuthority, type TestAuthority, type TestCertificate } from '../../support/test-certificates.ts';

const serverName = 'kubernetes.default.svc';

describe('createPeerClient', () => {
  let authority: TestAuthority;
  let otherAuthority: TestAuthority;
  let serving: TestCertificate;
  let client: TestCertificate;
  const cleanUps: (() => unknown)[] = [];
  const { signal } = new AbortController();

  before(() => {
    authority = createTestAuthority('cluster CA');
    otherAuthority = createTestAuthority('other CA');
    serving = authority.issue({ commonName: 'kube-apiserver', dnsNames: [serverName] });
    client = authority.issue({ commonName: 'peerdiscovery', usage: 'clientAuth' });
  });

  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function startPeer(
    routes: Readonly<Record<string, Respond>>,
    certificate = serving,
    maxVersion: SecureVersion = 'TLSv1.3',
  ): Promise<FakePeer> {
    const peer = await startFakePeer({ certificate, routes, maxVersion });
    cleanUps.push(() => peer.kill());
    return peer;
  }

  function newClient(options: Partial<PeerClientOptions> = {}) {
    const peers = createPeerClient({
      ca: () => authority.caPem,
      serverName,
      credentials: async () => ({ token: 'secret-token' }),
      timeoutMs: 5_000,
      userAgent: 'peerdiscovery-test',
      log: silentLog,
      ...options,
    });
    cleanUps.push(() => peers.close());
    return peers;
  }

  describe('probe', () => {
    const names = ['kubernetes.default.svc'];
    const probe = async (routes: Readonly<Record<string, Respond>>, options: Partial<PeerClientOptions> = {}) =>
      newClient(options).probe((await startPeer(routes)).address, signal);

    it('reports ready for 200', async () => {
      expect(await probe({ '/readyz': sendText(200, 'ok') })).to.deep.equal({ kind: 'ready', names });
    });

    it('names the checks that fail', async () => {
      const report = '[+]ping ok\n[-]etcd failed: reason withheld\n[-]shutdown failed: draining\nreadyz check failed\n';
      const result = await probe({ '/readyz': sendText(500, report) });
      expect(result).to.deep.equal({ kind: 'notReady', detail: 'etcd failed, shutdown failed: draining', names });
    });

    it("shortens a peer's text, and keeps only printable characters", async () => {
      const result = await probe({ '/readyz': sendText(500, `[-]\u001b[31m${'x'.repeat(5_000)}`) });
      if (result.kind !== 'notReady') expect.fail(result.kind);
      expect(result.detail)
        .to.have.length(300)
        .and.match(/^[ -~]+$/);
    });

    it('distinguishes a rejected credential from an unhealthy server', async () => {
      expect((await probe({ '/readyz': sendText(401, '') })).kind).to.equal('unauthorized');
      expect((await probe({ '/readyz': sendText(403, '') })).kind).to.equal('unauthorized');
      expect((await probe({ '/readyz': sendText(429, '') })).kind).to.equal('notReady');
    });

    it('follows no redirect', async () => {
      const elsewhere = await startPeer({ '/readyz': sendText(200, 'ok') });
      const location = `https://${elsewhere.address}/readyz`;
      expect((await probe({ '/readyz': sendText(302, '', { Location: location }) })).kind).to.equal('notReady');
      expect(elsewhere.requests).to.deep.equal([]);
    });

    it('reports unreachable when no server listens, and when the answer is late', async () => {
      const peer = await startPeer({});
      await peer.kill();
      expect((await newClient().probe(peer.address, signal)).kind).to.equal('unreachable');
      expect((await probe({ '/readyz': sendNothing }, { timeoutMs: 150 })).kind).to.equal('unreachable');
    });

    it('ends at the deadline though the question still waits for a connection', async () => {
      let accepted = 0;
      const silent = createServer((socket) => {
        accepted += 1;
        cleanUps.push(() => socket.destroy());
      }).listen(0, '127.0.0.1');
      cleanUps.push(() => silent.close());
      await once(silent, 'listening');
      const { port } = silent.address() as AddressInfo;
      const peers = newClient({ timeoutMs: 250 });
      const many = Array.from({ length: 12 }, () => peers.probe(`127.0.0.1:${port}`, signal));
      expect((await Promise.all(many)).map(({ kind }) => kind)).to.deep.equal(many.map(() => 'unreachable'));
      // A client opens at most four at once, so one more is of a question that outlived its deadline.
      expect(accepted).to.be.at.most(4);
    });

    it('needs no second try by its caller if a kept-alive connection has just been closed', async () => {
      let drop = false;
      const peer = await startPeer({
        '/readyz': (request, response) => {
          if (drop) {
            drop = false;
            request.socket.destroy();
          } else sendText(200, 'ok')(request, response);
        },
      });
      const peers = newClient();
      expect((await peers.probe(peer.address, signal)).kind).to.equal('ready');
      drop = true;
      expect((await peers.probe(peer.address, signal)).kind).to.equal('ready');
    });

    it("ends with the caller's reason when the caller gives up", async () => {
      const peer = await startPeer({ '/readyz': sendNothing });
      const giveUp = new AbortController();
      const running = newClient().probe(peer.address, giveUp.signal);
      const reason = new Error('shutting down');
      giveUp.abort(reason);
      expect(await running.catch((error: unknown) => error)).to.equal(reason);
    });
  });

  describe('verification', () => {
    const discovery = { '/api': sendJson(emptyList()), '/apis': sendJson(emptyList()), '/readyz': sendText(200, 'ok') };
    const impostors: readonly (readonly [string, () => TestCertificate])[] = [
      ['of another CA', () => otherAuthority.issue({ commonName: 'kube-apiserver', dnsNames: [serverName] })],
      ['that signed itself', () => selfSigned()],
      ['for another name', () => authority.issue({ commonName: 'kubelet', dnsNames: ['node-1'] })],
      ['with the name as common name only', () => authority.issue({ commonName: serverName, withoutNames: true })],
      ['with a wildcard', () => authority.issue({ commonName: 'x', dnsNames: ['*.default.svc'] })],
      ['that has expired', () => authority.issue({ commonName: 'x', dnsNames: [serverName], expired: true })],
      ['of a client', () => authority.issue({ commonName: 'x', dnsNames: [serverName], usage: 'clientAuth' })],
    ];

    /** A CA is a self-signed certificate with a key. */
    function selfSigned(): TestCertificate {
      return createTestAuthority(serverName).issue({ commonName: serverName, dnsNames: [serverName] });
    }

    for (const [what, certificateOf] of impostors) {
      it(`sends neither token nor client certificate to a server with a certificate ${what}`, async () => {
        // Under TLS 1.2, a client shows its certificate before the handshake is over.
        for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
          const peer = await startPeer(discovery, certificateOf(), maxVersion);
          for (const credentials of [{ token: 'secret' }, { certPem: client.certPem, keyPem: client.keyPem }]) {
            const peers = newClient({ credentials: async () => credentials });
            const probed = await peers.probe(peer.address, signal);
            expect(probed.kind).to.equal('refused');
            const fetched = await peers.fetchDiscovery(peer.address, undefined, signal);
            expect(fetched).to.include({ kind: 'failed', reason: 'Refused' });
          }
          // The bytes that a connection sent are known after it has ended.
          await eventually(() => peer.connections() === 0, 10_000);
          expect(peer.requests).to.deep.equal([]);
          expect(peer.handshakes.filter((name) => name !== undefined)).to.deep.equal([]);
        }
      });
    }

    it('shows its client certificate only after an anonymous probe of the same server', async () => {
      const peer = await startPeer(discovery);
      const peers = newClient({ credentials: async () => ({ certPem: client.certPem, keyPem: client.keyPem }) });
      expect((await peers.probe(peer.address, signal)).kind).to.equal('ready');
      expect(peer.handshakes).to.deep.equal([undefined, 'peerdiscovery']);
      expect(peer.requests.map((request) => request.client)).to.deep.equal(['peerdiscovery']);
      expect(peer.requests[0]?.headers.authorization).to.equal(undefined);
    });

    it('sends the token to a verified server', async () => {
      const peer = await startPeer(discovery);
      expect((await newClient().probe(peer.address, signal)).kind).to.equal('ready');
      expect(peer.requests[0]?.headers).to.include({
        authorization: 'Bearer secret-token',
        'accept-encoding': 'identity',
        'user-agent': 'peerdiscovery-test',
      });
    });

    it('refuses every server without a CA', async () => {
      const peer = await startPeer(discovery);
      for (const ca of [undefined, '', ' \n', 'no certificate in here'])
        expect((await newClient({ ca: () => ca }).probe(peer.address, signal)).kind).to.equal('refused');
      expect(peer.requests).to.deep.equal([]);
    });

    it('drops connections that an older CA verified', async () => {
      const peer = await startPeer(discovery);
      let ca = authority.caPem;
      const peers = newClient({ ca: () => ca });
      expect((await peers.probe(peer.address, signal)).kind).to.equal('ready');
      ca = otherAuthority.caPem;
      expect((await peers.probe(peer.address, signal)).kind).to.equal('refused');
      expect(peer.requests).to.have.length(1);
    });

    it('uses a new token or client certificate from the next request on', async () => {
      const peer = await startPeer(discovery);
      let credentials: { token?: string; certPem?: string; keyPem?: string } = { token: 'one' };
      const peers = newClient({ credentials: async () => credentials });
      await peers.probe(peer.address, signal);
      credentials = { token: 'two' };
      await peers.probe(peer.address, signal);
      credentials = client;
      await peers.probe(peer.address, signal);
      expect(peer.requests.map(({ headers, client: name }) => headers.authorization ?? name)).to.deep.equal([
        'Bearer one',
        'Bearer two',
        'peerdiscovery',
      ]);
    });
  });

  describe('fetchDiscovery', () => {
    const fetchFrom = async (routes: Readonly<Record<string, Respond>>, options: Partial<PeerClientOptions> = {}) =>
      newClient(options).fetchDiscovery((await startPeer(routes)).address, undefined, signal);

    it("asks for the server's own document first, then for older forms", async () => {
      const peer = await startPeer({ '/api': sendJson(coreList()), '/apis': sendJson(appsList()) });
      const result = await newClient().fetchDiscovery(peer.address, undefined, signal);
      if (result.kind !== 'fetched') expect.fail(JSON.stringify(result));
      expect(result.documents).to.include({ form: 'v2' });
      expect(result.documents.hash).to.match(/^[0-9a-f]{16}$/);
      expect(result.documents.api.map(({ name }) => name)).to.deep.equal(['']);
      expect(result.documents.apis.map(({ name }) => name)).to.deep.equal(['apps']);
      expect(peer.requests.map(({ headers }) => headers.accept?.split(','))).to.deep.equal(
        Array(2).fill([
          'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer',
          'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
          'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
          'application/json',
        ]),
      );
    });

    it('returns the very same documents while both ETags match', async () => {
      const peer = await startPeer({ '/api': sendJson(coreList(), '"A"'), '/apis': sendJson(appsList(), '"B"') });
      const peers = newClient();
      const first = await peers.fetchDiscovery(peer.address, undefined, signal);
      if (first.kind !== 'fetched') expect.fail(JSON.stringify(first));
      const second = await peers.fetchDiscovery(peer.address, first.documents, signal);
      if (second.kind !== 'unchanged') expect.fail(second.kind);
      expect(second.documents).to.equal(first.documents);
      expect(peer.requests.slice(2).map(({ headers }) => headers['if-none-match'])).to.have.members(['"A"', '"B"']);
    });

    it('keeps the half whose ETag matches', async () => {
      let apis = sendJson(appsList(), '"B"');
      const peer = await startPeer({
        '/api': sendJson(coreList(), '"A"'),
        '/apis': (request, response) => apis(request, response),
      });
      const peers = newClient();
      const first = await peers.fetchDiscovery(peer.address, undefined, signal);
      if (first.kind !== 'fetched') expect.fail(JSON.stringify(first));
      apis = sendJson(emptyList(), '"C"');
      const second = await peers.fetchDiscovery(peer.address, first.documents, signal);
      if (second.kind !== 'fetched') expect.fail(second.kind);
      expect(second.documents.api).to.equal(first.documents.api);
      expect(second.documents.apis).to.deep.equal([]);
      expect(second.documents.etags).to.deep.equal({ api: '"A"', apis: '"C"' });
      expect(second.documents.hash).not.to.equal(first.documents.hash);
    });

    it('sees from their content that documents without ETag are unchanged', async () => {
      const peer = await startPeer({ '/api': sendJson(coreList()), '/apis': sendJson(appsList()) });
      const peers = newClient();
      const first = await peers.fetchDiscovery(peer.address, undefined, signal);
      if (first.kind !== 'fetched') expect.fail(JSON.stringify(first));
      const second = await peers.fetchDiscovery(peer.address, first.documents, signal);
      expect(second).to.have.property('documents', first.documents);
      expect(second.kind).to.equal('unchanged');
    });

    it('reads v2beta1 if a server has nothing newer', async () => {
      const beta = (list: object) => sendJson({ ...list, apiVersion: 'apidiscovery.k8s.io/v2beta1' }, '"X"');
      const result = await fetchFrom({ '/api': beta(coreList()), '/apis': beta(appsList()) });
      if (result.kind !== 'fetched') expect.fail(JSON.stringify(result));
      expect(result.documents).to.include({ form: 'v2beta1' });
      expect(result.documents.etags).to.deep.equal({ api: '"X"', apis: '"X"' });
      expect(result.documents.apis[0]?.versions?.[0]?.resources?.[0]?.resource).to.equal('deployments');
    });

    it('reads the legacy lists of an old server, and marks group-versions without an answer as stale', async () => {
      const peer = await startPeer({ ...legacyRoutes(), '/apis/broken.example/v1': sendText(503, 'no') });
      const peers = newClient();
      const result = await peers.fetchDiscovery(peer.address, undefined, signal);
      if (result.kind !== 'fetched') expect.fail(JSON.stringify(result));
      const { documents } = result;
      expect(documents).to.deep.include({ form: 'legacy', etags: {} });
      expect(documents.api).to.deep.equal([
        {
          name: '',
          versions: [
            {
              version: 'v1',
              freshness: 'Current',
              resources: [
                {
                  resource: 'pods',
                  responseKind: { group: '', version: '', kind: 'Pod' },
                  scope: 'Namespaced',
                  singularResource: 'pod',
                  verbs: ['get', 'list'],
                  shortNames: ['po'],
                  subresources: [
                    {
                      subresource: 'eviction',
                      responseKind: { group: 'policy', version: 'v1', kind: 'Eviction' },
                      verbs: ['create'],
                    },
                  ],
                },
              ],
            },
          ],
        },
      ]);
      expect(
        documents.apis.map(({ name, versions }) => [name, versions?.map(({ freshness }) => freshness)]),
      ).to.deep.equal([
        ['apps', ['Current', 'Stale']],
        ['broken.example', ['Stale']],
      ]);
      expect((await peers.fetchDiscovery(peer.address, documents, signal)).kind).to.equal('unchanged');
    });

    it('asks again for plain JSON if the server accepts no other form', async () => {
      const plainOnly =
        (respond: Respond): Respond =>
        (request, response) =>
          (request.headers.accept === 'application/json' ? respond : sendText(406, ''))(request, response);
      const routes = Object.entries(legacyRoutes()).map(([path, respond]) => [path, plainOnly(respond)] as const);
      const result = await fetchFrom(Object.fromEntries(routes));
      expect(result).to.have.nested.property('documents.form', 'legacy');
    });

    const core = sendJson(coreList());
    const failures: readonly (readonly [string, Readonly<Record<string, Respond>>, string])[] = [
      ['HTTPStatus if one half fails', { '/api': core, '/apis': sendText(500, 'no') }, 'HTTPStatus'],
      ['HTTPStatus on a redirect', { '/api': core, '/apis': sendText(302, '', { Location: '/api' }) }, 'HTTPStatus'],
      ['Unauthorized on 401', { '/api': core, '/apis': sendText(401, '') }, 'Unauthorized'],
      ['Unauthorized on 403', { '/api': core, '/apis': sendText(403, '') }, 'Unauthorized'],
      ['Malformed on garbage', { '/api': core, '/apis': sendText(200, '<html>') }, 'Malformed'],
      ['Malformed on bytes that are no text', { '/api': core, '/apis': sendBytes([0x22, 0xff, 0x22]) }, 'Malformed'],
      ['Malformed on null', { '/api': core, '/apis': sendJson(null) }, 'Malformed'],
      ['Malformed on a Status', { '/api': core, '/apis': sendJson({ kind: 'Status', apiVersion: 'v1' }) }, 'Malformed'],
      ['Malformed on wrong types', { '/api': core, '/apis': sendJson({ ...emptyList(), items: 7 }) }, 'Malformed'],
      [
        'Malformed on a list without items',
        { '/api': core, '/apis': sendJson({ ...emptyList(), items: undefined }) },
        'Malformed',
      ],
      ['HTTPStatus on an unasked 304', { '/api': core, '/apis': sendText(304, '') }, 'HTTPStatus'],
      [
        'Malformed on an encoding that was not offered',
        { '/api': core, '/apis': sendText(200, 'x', { 'Content-Encoding': 'gzip' }) },
        'Malformed',
      ],
      [
        'Malformed on groups that would change the path',
        {
          '/api': core,
          '/apis': sendJson({ kind: 'APIGroupList', groups: [{ name: '../x?', versions: [{ version: 'v1' }] }] }),
        },
        'Malformed',
      ],
      [
        'Malformed on a list of groups that is not there',
        { '/api': core, '/apis': sendJson({ kind: 'APIGroupList' }) },
        'Malformed',
      ],
      ['Unreachable on a connection that breaks in the body', { '/api': core, '/apis': sendHalf }, 'Unreachable'],
    ];
    for (const [title, routes, reason] of failures) {
      it(`fails as a whole with ${title}`, async () => {
        const result = await fetchFrom(routes);
        expect(result).to.include({ kind: 'failed', reason });
      });
    }

    const limit = { maxBodyBytes: 512 * 1024 };
    for (const [what, respond] of [
      ['an endless body', sendEndlessBody],
      ['a gigabyte of JSON', sendHugeJson(1024 ** 3)],
      ['a length that it announces', sendText(200, 'x'.repeat(600_000))],
    ] as const) {
      it(`stops reading ${what} at the limit`, async () => {
        const result = await fetchFrom({ '/api': core, '/apis': respond }, limit);
        expect(result).to.include({ kind: 'failed', reason: 'TooLarge' });
      });
    }

    for (const [what, unit] of [
      ['objects', '{}'],
      ['lists', '[]'],
      ['numbers', '1'],
    ] as const)
      it(`rejects a document with millions of ${what}, which would take its memory`, async () => {
        const crowd = `{"kind":"APIGroupDiscoveryList","items":[${`${unit},`.repeat(4_000_000)}${unit}]}`;
        const result = await fetchFrom({ '/api': core, '/apis': sendText(200, crowd) });
        expect(result).to.include({ kind: 'failed', reason: 'Malformed' });
        expect(result).to.have.property('message').that.includes('/apis is too large: it has more than');
      });

    it('cuts off a peer that sends slowly for ever', async () => {
      const result = await fetchFrom({ '/api': core, '/apis': sendSlowly }, { timeoutMs: 200 });
      expect(result).to.include({ kind: 'failed', reason: 'Timeout' });
    });

    it('does not delay a peer because another one hangs', async () => {
      const hanging = await startPeer({ '/api': sendNothing, '/apis': sendNothing });
      const healthy = await startPeer({ '/api': core, '/apis': sendJson(appsList()) });
      const peers = newClient();
      const giveUp = new AbortController();
      const stuck = Array.from({ length: 20 }, () => peers.fetchDiscovery(hanging.address, undefined, giveUp.signal));
      expect((await peers.fetchDiscovery(healthy.address, undefined, signal)).kind).to.equal('fetched');
      giveUp.abort();
      await Promise.allSettled(stuck);
    });

    it('fails at once if no server listens', async () => {
      const result = await newClient({ timeoutMs: 300 }).fetchDiscovery('127.0.0.1:1', undefined, signal);
      expect(result).to.include({ kind: 'failed', reason: 'Unreachable' });
    });

    it('fails if its own credential cannot be read, without contacting the peer', async () => {
      const peer = await startPeer({});
      const credentials = () => Promise.reject(new Error('no such file'));
      const result = await newClient({ credentials }).fetchDiscovery(peer.address, undefined, signal);
      expect(result).to.include({ kind: 'failed', reason: 'Unauthorized' });
      expect(peer.handshakes).to.deep.equal([]);
    });
  });

  describe('detectPeerAggregation', () => {
    const detect = async (merged: Respond, own: Respond = sendJson(appsList(), '"own"')) => {
      const peer = await startPeer({
        '/api': sendJson(coreList(), '"core"'),
        '/apis': (request, response) =>
          (request.headers.accept?.includes('nopeer') === true ? own : merged)(request, response),
      });
      const peers = newClient();
      const fetched = await peers.fetchDiscovery(peer.address, undefined, signal);
      if (fetched.kind !== 'fetched') expect.fail(JSON.stringify(fetched));
      return peers.detectPeerAggregation(peer.address, fetched.documents, signal);
    };

    it('is true if the document without nopeer has more groups', async () => {
      const both = { ...appsList(), items: [...appsList().items, { metadata: { name: 'batch' }, versions: [] }] };
      expect(await detect(sendJson(both, '"merged"'))).to.equal(true);
    });

    it('is false if both documents are the same', async () => {
      expect(await detect(sendJson(appsList(), '"own"'))).to.equal(false);
      expect(await detect(sendJson(appsList(), '"other"'))).to.equal(false);
    });

    it('cannot tell while the own document changes, or while the server fails', async () => {
      let asked = 0;
      const changing: Respond = (request, response) => sendJson(appsList(), `"own-${asked++}"`)(request, response);
      expect(await detect(sendJson(emptyList(), '"merged"'), changing)).to.equal(undefined);
      expect(await detect(sendText(503, ''))).to.equal(undefined);
    });
  });

  describe('fetchVersion', () => {
    const versionOf = async (respond: Respond) =>
      newClient().fetchVersion((await startPeer({ '/version': respond })).address, signal);

    it('returns the version that the server reports', async () => {
      expect(await versionOf(sendJson({ gitVersion: 'v1.36.3+k3s1' }))).to.deep.equal({ version: 'v1.36.3+k3s1' });
    });

    it("returns the emulated version, unless it is the server's own or missing", async () => {
      const emulating = (emulationMajor: unknown, emulationMinor: unknown) =>
        versionOf(sendJson({ gitVersion: 'v1.36.3', emulationMajor, emulationMinor }));
      expect(await emulating('1', '33')).to.deep.equal({ version: 'v1.36.3', emulatedVersion: '1.33' });
      for (const [major, minor] of [
        ['1', '36'],
        ['1', ''],
        [undefined, undefined],
        ['1', '33<b>'],
        [{}, '33'],
      ])
        expect(await emulating(major, minor)).to.deep.equal({ version: 'v1.36.3' });
    });

    it('returns nothing for invalid versions', async () => {
      for (const value of [null, {}, { gitVersion: 7 }, { gitVersion: 'v1 <b>' }, { gitVersion: 'v'.repeat(65) }])
        expect(await versionOf(sendJson(value))).to.equal(undefined);
      expect(await versionOf(sendText(500, ''))).to.equal(undefined);
    });
  });

  describe('fetchSchemas', () => {
    const hash = 'A'.repeat(128);
    const index = {
      paths: {
        '.well-known/openid-configuration': { serverRelativeURL: `/openapi/v3/x?hash=${hash}` },
        'api/v1': { serverRelativeURL: `/openapi/v3/api/v1?hash=${hash}` },
        'apis/apps/v1': { serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=B1' },
        'apis/apps': { serverRelativeURL: '/openapi/v3/apis/apps?hash=C1' },
        'apis/odd/v1': { serverRelativeURL: 7 },
        'apis/null/v1': null,
      },
    };

    it('returns the hash of each group-version, and the known hashes if nothing changed', async () => {
      const peer = await startPeer({ '/openapi/v3': sendJson(index, '"one"') });
      const schemas = await newClient().fetchSchemas(peer.address, undefined, signal);
      expect([...(schemas?.hashes ?? [])]).to.deep.equal([
        ['/v1', 'A'.repeat(16)],
        ['apps/v1', 'B1'],
      ]);
      expect(await newClient().fetchSchemas(peer.address, schemas, signal)).to.equal(schemas);
    });

    it('returns nothing for a document that is not an index', async () => {
      for (const respond of [
        sendJson({ paths: null }),
        sendJson([]),
        sendJson(null),
        sendText(403, ''),
        sendText(200, '{'),
      ]) {
        const { address } = await startPeer({ '/openapi/v3': respond });
        expect(await newClient().fetchSchemas(address, undefined, signal)).to.equal(undefined);
      }
    });
  });

  it('closes the connections to all addresses except those to keep', async () => {
    const [kept, left] = await Promise.all([
      startPeer({ '/readyz': sendText(200, 'ok') }),
      startPeer({ '/readyz': sendText(200, 'ok') }),
    ]);
    const lost: string[] = [];
    const peers = newClient({ onConnectionLost: (address) => lost.push(address) });
    for (const { address } of [kept, left]) await peers.probe(address, signal);
    peers.keepOnly(new Set([kept.address]));
    await eventually(() => left.connections() === 0);
    await peers.probe(kept.address, signal);
    expect(kept.handshakes.length, 'it goes on by the same connection').to.equal(1);
    expect(lost, 'nobody is asked why').to.deep.equal([]);
  });

  describe('onConnectionLost', () => {
    it('is called when a peer dies between two requests', async () => {
      const peer = await startPeer({ '/readyz': sendText(200, 'ok') });
      const lost = await new Promise<string>((resolve, reject) => {
        const peers = newClient({ onConnectionLost: resolve });
        peers
          .probe(peer.address, signal)
          .then(() => peer.kill())
          .catch(reject);
      });
      expect(lost).to.equal(peer.address);
    });

    it('is not called for connections that the client itself closes', async () => {
      const peer = await startPeer({ '/readyz': sendText(200, 'ok') });
      const lost: string[] = [];
      const peers = newClient({ onConnectionLost: (address) => lost.push(address) });
      await peers.probe(peer.address, signal);
      peers.keepOnly(new Set());
      await peers.probe(peer.address, signal);
      peers.close();
      await peer.kill();
      expect(lost).to.deep.equal([]);
    });
  });
});

function emptyList() {
  return { kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2', metadata: {}, items: [] };
}

function coreList() {
  return { ...emptyList(), items: [group('', 'v1', 'pods', 'Pod')] };
}

function appsList() {
  return { ...emptyList(), items: [group('apps', 'v1', 'deployments', 'Deployment')] };
}

function group(name: string, version: string, resource: string, kind: string) {
  const responseKind = { group: name, version, kind };
  const resources = [
    { resource, responseKind, scope: 'Namespaced', singularResource: kind.toLowerCase(), verbs: ['get', 'list'] },
  ];
  return { metadata: { name, creationTimestamp: null }, versions: [{ version, resources, freshness: 'Current' }] };
}

function sendBytes(bytes: readonly number[]): Respond {
  return (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(Buffer.from(bytes));
  };
}

function legacyRoutes(): Readonly<Record<string, Respond>> {
  const pods = {
    name: 'pods',
    singularName: 'pod',
    namespaced: true,
    kind: 'Pod',
    verbs: ['get', 'list'],
    shortNames: ['po'],
  };
  const eviction = {
    name: 'pods/eviction',
    singularName: '',
    namespaced: true,
    group: 'policy',
    version: 'v1',
    kind: 'Eviction',
    verbs: ['create'],
  };
  const versions = (name: string, ...all: string[]) => ({
    name,
    versions: all.map((version) => ({ groupVersion: `${name}/${version}`, version })),
  });
  return {
    '/api': sendJson({ kind: 'APIVersions', versions: ['v1'] }),
    '/api/v1': sendJson({ kind: 'APIResourceList', groupVersion: 'v1', resources: [pods, eviction] }),
    '/apis': sendJson({
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [versions('apps', 'v1', 'v1beta1'), versions('broken.example', 'v1')],
    }),
    '/apis/apps/v1': sendJson({ kind: 'APIResourceList', groupVersion: 'apps/v1', resources: [] }),
  };
}
