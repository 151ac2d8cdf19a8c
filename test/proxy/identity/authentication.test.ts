import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { expect } from 'chai';
import { routingTable } from '../../../lab/routing-table.ts';
import type { AuthenticationMode, ClientAuthorities } from '../../../src/proxy/ports.ts';
import { type Log, silentLog } from '../../../src/runtime/log.ts';
import type { LoopbackPeer } from '../../support/loopback-peer.ts';
import { startLoopbackPeer } from '../../support/loopback-peer.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import type { ProxyUnderTest, ProxyUnderTestOptions } from '../../support/proxy-under-test.ts';
import { groupVersion, startProxyUnderTest } from '../../support/proxy-under-test.ts';
import { createTestAuthority, type TestCertificate } from '../../support/test-certificates.ts';
import { authorityExtensions, issueTestCertificate } from '../../support/test-pki.ts';

const headerNames = {
  user: ['X-Remote-User'],
  uid: ['X-Remote-Uid'],
  group: ['X-Remote-Group'],
  extraPrefix: ['X-Remote-Extra-'],
};

describe('who a client is', function () {
  this.timeout(30_000);
  const peers = createTestAuthority('peers');
  const users = createTestAuthority('users');
  // The same subject, so that only signatures tell the two apart.
  const proxies = createTestAuthority('users');
  const strangers = createTestAuthority('users');
  const user = (commonName: string, more = {}) => users.issue({ commonName, usage: 'clientAuth', ...more });
  const frontProxy = proxies.issue({ commonName: 'front-proxy-client', usage: 'clientAuth' });
  const jane = user('jane', { organizations: ['dev', 'a, b'], uid: 'uid-7' });
  const janeId = new X509Certificate(jane.certPem).fingerprint256.replaceAll(':', '').toLowerCase();
  let authorities: ClientAuthorities;
  let home: LoopbackPeer;
  let other: LoopbackPeer;
  let proxy: ProxyUnderTest;

  async function start(mode: AuthenticationMode['kind'], options: ProxyUnderTestOptions = {}) {
    const source = () => authorities;
    const authentication: AuthenticationMode =
      mode === 'TokenPassthrough'
        ? { kind: mode }
        : mode === 'RequestHeader'
          ? { kind: mode, authorities: source }
          : { kind: mode, authorities: source, token: () => 'own-token' };
    proxy = await startProxyUnderTest(peers, home, {
      authentication,
      clientCa: mode === 'TokenPassthrough' ? undefined : [users.caPem, proxies.caPem],
      frontProxy: { cert: frontProxy.certPem, key: frontProxy.keyPem },
      ...options,
    } as ProxyUnderTestOptions);
    proxy.use(
      routingTable({
        peers: [home, other].map(({ address }, at) => ({ id: `peer-${at}`, address, state: 'Ready' })),
        groupVersions: [groupVersion('v1', { pods: [0, 1] }), groupVersion('new.io/v1', { things: [1] })],
      }),
    );
  }
  const get = (certificate?: TestCertificate, headers: Record<string, string | string[]> = {}, path = '/api/v1/pods') =>
    proxy.get(path, headers, 'GET', undefined, certificate);
  /** Header values that the home server saw last, in order, by lower-case name. */
  const seen = (name: string, peer = home) => {
    const { rawHeaders = [] } = peer.seen.at(-1) ?? {};
    return rawHeaders.filter((_value, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
  };

  beforeEach(async () => {
    authorities = {
      clientCa: [new X509Certificate(users.caPem)],
      requestHeaderCa: [new X509Certificate(proxies.caPem)],
      allowedNames: ['front-proxy-client'],
      headerNames,
    };
    [home, other] = await Promise.all([startLoopbackPeer('home', peers), startLoopbackPeer('other', peers)]);
  });
  afterEach(async () => {
    await proxy.stop();
    await Promise.all([home.kill(), other.kill()]);
  });

  describe('in mode RequestHeader', () => {
    beforeEach(() => start('RequestHeader'));

    it('is the subject of the certificate, over a connection with the front-proxy certificate', async () => {
      expect((await get(jane)).status).to.equal(200);
      expect(seen('x-remote-user')).to.deep.equal(['jane']);
      expect(seen('x-remote-uid')).to.deep.equal(['uid-7']);
      expect(seen('x-remote-group')).to.deep.equal(['dev', 'a, b']);
      expect(seen('x-remote-extra-authentication.kubernetes.io%2fcredential-id')).to.deep.equal([
        `X509SHA256=${janeId}`,
      ]);
      expect(home.seen.at(-1)?.clientName).to.equal('front-proxy-client');
    });

    it('goes with requests to other servers, and with those for discovery', async () => {
      await get(jane, {}, '/apis/new.io/v1/things');
      expect(seen('x-remote-user', other)).to.deep.equal(['jane']);
      expect(other.seen.at(-1)?.clientName).to.equal('front-proxy-client');
      const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
      await get(jane, { Accept: accept }, '/apis');
      expect(seen('x-remote-user')).to.deep.equal(['jane']);
    });

    it('is the user of the certificate if there is a token too, and the token goes nowhere', async () => {
      await get(jane, {
        Authorization: 'Bearer secret',
        'Sec-WebSocket-Protocol': 'base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io',
      });
      expect(seen('x-remote-user')).to.deep.equal(['jane']);
      expect(seen('authorization')).to.deep.equal([]);
      expect(seen('sec-websocket-protocol')).to.deep.equal(['v4.channel.k8s.io']);
    });

    it('is the user of the token without a certificate, over a connection that proves nothing', async () => {
      await get(undefined, { Authorization: 'Bearer secret' });
      expect(seen('authorization')).to.deep.equal(['Bearer secret']);
      expect(home.seen.at(-1)?.clientName).to.equal(undefined);
    });

    it('is anonymous with neither', async () => {
      expect((await get()).status).to.equal(200);
      expect(seen('x-remote-user')).to.deep.equal([]);
      expect(home.seen.at(-1)?.clientName).to.equal(undefined);
    });

    for (const spelling of ['X-Remote-User', 'x-remote-user', 'X_Remote_User', 'X-Remote_User'])
      it(`cannot become somebody else with ${spelling}`, async () => {
        for (const certificate of [undefined, jane]) {
          await get(certificate, { [spelling]: 'root', 'X-Remote-Group': 'system:masters', 'X-Remote-Uid': '0' });
          expect(seen('x-remote-user')).to.deep.equal(certificate === undefined ? [] : ['jane']);
          expect(seen(spelling.toLowerCase()).filter((value) => value === 'root')).to.deep.equal([]);
          expect(seen('x-remote-group')).not.to.include('system:masters');
        }
      });

    it('cannot become somebody else with the header names that the control plane uses instead', async () => {
      authorities = { ...authorities, headerNames: { ...headerNames, user: ['X-Acme-User'], extraPrefix: ['Acme-'] } };
      const underscores = { X_Acme_User: 'root', 'x-acme_user': 'root', ACME_Scopes: 'all' };
      const answer = await get(jane, {
        'X-Acme-User': 'root',
        'X-Remote-User': 'root',
        'Acme-Scopes': 'all',
        ...underscores,
      });
      expect(answer.status).to.equal(200);
      expect(seen('x-acme-user')).to.deep.equal(['jane']);
      for (const name of Object.keys(underscores)) expect(seen(name.toLowerCase()), name).to.deep.equal([]);
      expect(seen('x-remote-user')).to.deep.equal([]);
      expect(seen('acme-scopes')).to.deep.equal([]);
    });

    it('cannot remove its identity with Connection', async () => {
      await get(jane, { Connection: 'close, X-Remote-User, X-Remote-Group' });
      expect(seen('x-remote-user')).to.deep.equal(['jane']);
    });

    it('leaves impersonation to the server, which decides by the stamped user', async () => {
      await get(jane, { 'Impersonate-User': 'bob', 'Impersonate-Group': ['x', 'y'] });
      expect(seen('x-remote-user')).to.deep.equal(['jane']);
      expect(seen('impersonate-user')).to.deep.equal(['bob']);
      expect(seen('impersonate-group')).to.deep.equal(['x', 'y']);
    });

    it('is nobody with a certificate of an unknown CA, unless there is a token', async () => {
      const stranger = strangers.issue({ commonName: 'jane', usage: 'clientAuth' });
      expect((await get(stranger)).status).to.equal(401);
      expect(home.seen).to.have.length(0);
      expect((await get(stranger, { Authorization: 'Bearer secret' })).status).to.equal(200);
      expect(seen('x-remote-user')).to.deep.equal([]);
      expect(seen('authorization')).to.deep.equal(['Bearer secret']);
    });

    it('is nobody with an expired certificate, or with one for servers', async () => {
      expect((await get(user('jane', { expired: true }))).status).to.equal(401);
      expect((await get(user('jane', { usage: 'serverAuth' }))).status).to.equal(401);
      expect(home.seen).to.have.length(0);
    });

    it('is nobody once the CA is removed, even on an open connection', async () => {
      const session = http2Connect(`https://localhost:${proxy.port}`, {
        ca: peers.caPem,
        cert: jane.certPem,
        key: jane.keyPem,
      });
      const statusOf = async () => {
        const [headers] = (await once(session.request({ ':path': '/api/v1/pods' }), 'response')) as [
          Record<string, unknown>,
        ];
        return headers[':status'];
      };
      expect(await statusOf()).to.equal(200);
      authorities = { ...authorities, clientCa: [new X509Certificate(strangers.caPem)] };
      expect(await statusOf()).to.equal(401);
      session.destroy();
    });

    it('is nobody once the certificate expires, even on an open connection', async () => {
      await proxy.stop();
      const clock = createManualClock(Date.parse(new X509Certificate(jane.certPem).validTo) - 20_000);
      await start('RequestHeader', { clock });
      const session = http2Connect(`https://localhost:${proxy.port}`, {
        ca: peers.caPem,
        cert: jane.certPem,
        key: jane.keyPem,
      });
      const statusOf = async () => {
        const stream = session.request({ ':path': '/api/v1/pods' });
        const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
        return answer[':status'];
      };
      expect(await statusOf()).to.equal(200);
      await clock.advance(10_000);
      expect(await statusOf()).to.equal(200);
      await clock.advance(20_000);
      expect(await statusOf()).to.equal(401);
      session.destroy();
    });

    it('is unknown, not nobody, until the proxy knows the CAs', async () => {
      authorities = { ...authorities, clientCa: [], requestHeaderCa: [] };
      const { status, headers } = await get(jane);
      expect([status, headers['retry-after']]).to.deep.equal([503, '1']);
    });

    it('is nobody with a certificate without a common name, unless there is a token, as no proxy has such a one', async () => {
      const nameless = user('', { organizations: ['system:masters'] });
      expect((await get(nameless)).status).to.equal(401);
      expect(home.seen).to.have.length(0);
      expect((await get(nameless, { Authorization: 'Bearer good' })).status).to.equal(200);
      expect(seen('x-remote-group')).to.deep.equal([]);
      expect(seen('authorization')).to.deep.equal(['Bearer good']);
    });

    it(
      'is nobody with such a certificate even if this proxy knows no other proxies, because ' + 'servers may know some',
      async () => {
        authorities = { ...authorities, requestHeaderCa: [] };
        expect((await get(user('', { organizations: ['system:masters'] }))).status).to.equal(401);
        expect(home.seen).to.have.length(0);
      },
    );

    it('is refused if HTTP would change its name', async () => {
      for (const odd of ['admin ', ' admin', 'a\tb'])
        expect((await get(user(odd))).status, JSON.stringify(odd)).to.equal(403);
      expect(home.seen).to.have.length(0);
    });

    it('may have a name beyond ASCII', async () => {
      await get(user('jürgen'));
      expect(Buffer.from(seen('x-remote-user')[0] ?? '', 'latin1').toString('utf8')).to.equal('jürgen');
    });

    it('is the user that an authenticated proxy names', async () => {
      await get(frontProxy, {
        'X-Remote-User': 'bob',
        'X-Remote-Group': ['g1', 'g2'],
        'X-Remote-Extra-Acme.com%2fKey': 'v',
      });
      expect(seen('x-remote-user')).to.deep.equal(['bob']);
      expect(seen('x-remote-group')).to.deep.equal(['g1', 'g2']);
      expect(seen('x-remote-extra-acme.com%2fkey')).to.deep.equal(['v']);
    });

    it(
      'is not the user that a proxy with another name sends, nor a client user, even if both ' + 'CAs have one name',
      async () => {
        const foreign = proxies.issue({ commonName: 'other-proxy', usage: 'clientAuth' });
        expect((await get(foreign, { 'X-Remote-User': 'root' })).status).to.equal(401);
        for (const pretender of [user('front-proxy-client'), user('front-proxy-client', { withoutKeyId: true })]) {
          await get(pretender, { 'X-Remote-User': 'root' });
          expect(seen('x-remote-user')).to.deep.equal(['front-proxy-client']);
        }
      },
    );

    it('lets an authenticated proxy route once: to home or nowhere', async () => {
      const marked = { 'X-Remote-User': 'bob', 'x-kubernetes-peer-proxied': 'true' };
      expect((await get(frontProxy, marked)).body).to.equal('home');
      expect(seen('x-kubernetes-peer-proxied')).to.deep.equal(['true']);
      expect((await get(frontProxy, marked, '/apis/new.io/v1/things')).status).to.equal(503);
      home.answer = (_request, response) => response.writeHead(404).end('404 page not found\n');
      expect((await get(frontProxy, marked, '/apis/what.io/v1/things')).status).to.equal(503);
      expect(other.seen).to.have.length(0);
    });

    describe('under CAs of one name, without key identifiers', () => {
      const clientExtensions = ['basicConstraints=CA:FALSE', 'extendedKeyUsage=clientAuth'];
      const authority = (issuer?: TestCertificate, ...more: string[]) =>
        issueTestCertificate({
          commonName: issuer === undefined ? 'kubernetes' : 'intermediate',
          extensions: [...authorityExtensions, ...more],
          ...(issuer !== undefined && { issuer }),
        });
      const client = (issuer: TestCertificate, extensions: readonly string[] = clientExtensions, more = {}) =>
        issueTestCertificate({ commonName: 'jane', issuer, extensions, ...more });
      const withChain = (leaf: TestCertificate, ...chain: TestCertificate[]): TestCertificate => ({
        ...leaf,
        certPem: [leaf, ...chain].map(({ certPem }) => certPem).join(''),
      });
      /** The verdict for each order of the authorities, as [one first, other first]. */
      async function statuses(leaf: TestCertificate, ...listed: TestCertificate[]): Promise<number[]> {
        const outcomes: number[] = [];
        for (const order of [listed, listed.toReversed()]) {
          await proxy.stop();
          authorities = { ...authorities, clientCa: order.map(({ certPem }) => new X509Certificate(certPem)) };
          await start('RequestHeader', { clientCa: order.map(({ certPem }) => certPem) });
          outcomes.push((await get(leaf)).status);
        }
        return outcomes;
      }
      const [one, other, third, unlisted] = [authority(), authority(), authority(), authority()];
      const [accepted, refused] = [
        [200, 200],
        [401, 401],
      ];

      it('is accepted from either CA, in any order', async () => {
        for (const issuer of [one, other, third])
          expect(await statuses(client(issuer), one, other, third)).to.deep.equal(accepted);
        expect(seen('x-remote-user')).to.deep.equal(['jane']);
        expect(await statuses(client(unlisted), one, other)).to.deep.equal(refused);
      });

      it('is accepted from an intermediate of either CA, sent or listed', async () => {
        for (const issuer of [one, other]) {
          const intermediate = authority(issuer);
          const leaf = client(intermediate);
          expect(await statuses(withChain(leaf, intermediate), one, other)).to.deep.equal(accepted);
          expect(await statuses(leaf, one, intermediate, other)).to.deep.equal(accepted);
          expect(await statuses(leaf, one, other)).to.deep.equal(refused);
        }
        const foreign = authority(unlisted);
        expect(await statuses(withChain(client(foreign), foreign), one, other)).to.deep.equal(refused);
      });

      it('is not accepted with a certificate that Go refuses', async () => {
        const noAuthority = issueTestCertificate({
          commonName: 'kubernetes',
          extensions: ['basicConstraints=CA:FALSE'],
        });
        const cannotSign = authority(undefined, 'keyUsage=critical,digitalSignature');
        const forServers = authority(undefined, 'extendedKeyUsage=serverAuth');
        const noIntermediates = issueTestCertificate({
          commonName: 'kubernetes',
          extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0'],
        });
        const below = authority(noIntermediates);
        const pretender = client(other);
        const cases: [string, TestCertificate, TestCertificate][] = [
          ['a certificate of a server', client(other, ['extendedKeyUsage=serverAuth']), other],
          ['an expired one', client(other, clientExtensions, { expired: true }), other],
          ['an unknown critical extension', client(other, [...clientExtensions, '1.2.3.4=critical,DER:0500']), other],
          ['an issuer that is no authority', client(noAuthority), noAuthority],
          ['an issuer that may not sign', client(cannotSign), cannotSign],
          ['an issuer for servers only', client(forServers), forServers],
          ['an intermediate too many', withChain(client(below), below), noIntermediates],
          ['a user who signs', withChain(client(pretender), pretender), other],
        ];
        for (const [what, leaf, issuer] of cases)
          expect(await statuses(leaf, one, issuer), what).to.deep.equal(refused);
      });
    });

    it('is in the access log with request, route and reason, and no credential is', async () => {
      await proxy.stop();
      const lines: string[] = [];
      const log: Log = {
        ...silentLog,
        info: (message, fields) => void (message === 'request' && lines.push(JSON.stringify(fields))),
      };
      await start('RequestHeader', { log });
      other.answer = (_request, response) => response.setHeader('Audit-Id', 'given').end();
      await get(jane, {}, '/apis/new.io/v1/things?token=secret');
      await get(undefined, { Authorization: 'Bearer secret', 'Audit-ID': 'audit-7' });
      await get(strangers.issue({ commonName: 'jane', usage: 'clientAuth' }));
      const [first = '', second = '', third = ''] = lines;
      expect(JSON.parse(first)).to.deep.include({
        who: 'certificate:jane',
        method: 'GET',
        path: '/apis/new.io/v1/things',
        peer: 'peer-1',
        auditId: 'given',
        route: 'peer',
        reason: 'home does not serve it',
        code: 200,
      });
      expect(JSON.parse(first)).to.have.property('durationMs');
      expect(JSON.parse(second)).to.deep.include({ who: 'token', auditId: 'audit-7', reason: 'home serves it' });
      expect(JSON.parse(third)).to.deep.include({ who: 'unauthenticated', code: 401, reason: 'Unauthorized' });
      expect(lines.join('')).not.to.contain('secret');
      expect(seen('audit-id')).to.deep.equal(['audit-7']);
    });

    it('accepts this mark from no other client', async () => {
      const mark = { 'x-kubernetes-peer-proxied': 'true' };
      expect((await get(jane, mark, '/apis/new.io/v1/things')).body).to.equal('other');
      await get(jane, mark);
      expect(seen('x-kubernetes-peer-proxied')).to.deep.equal([]);
    });
  });

  describe('in mode Impersonation', () => {
    beforeEach(() => start('Impersonation'));

    it('is impersonated with the token of the proxy, over a connection that proves nothing else', async () => {
      await get(jane, { Authorization: 'Bearer secret' });
      expect(seen('authorization')).to.deep.equal(['Bearer own-token']);
      expect(seen('impersonate-user')).to.deep.equal(['jane']);
      expect(seen('impersonate-uid')).to.deep.equal(['uid-7']);
      expect(seen('impersonate-group')).to.deep.equal(['dev', 'a, b', 'system:authenticated']);
      expect(seen('impersonate-extra-authentication.kubernetes.io%2fcredential-id')).to.deep.equal([
        `X509SHA256=${janeId}`,
      ]);
      expect(home.seen.at(-1)?.clientName).to.equal(undefined);
    });

    it('cannot impersonate on top of that: the proxy refuses any spelling, and ignores none', async () => {
      for (const name of ['Impersonate-User', 'impersonate-group', 'Impersonate-Extra-Scopes']) {
        const { status, body } = await get(jane, { [name]: 'x' });
        expect(status).to.equal(403);
        expect(body).to.contain('impersonat');
      }
      expect(home.seen).to.have.length(0);
    });

    it('impersonates as usual with its own token, and without the credential of the proxy', async () => {
      await get(undefined, { Authorization: 'Bearer secret', 'Impersonate-User': 'bob' });
      expect(seen('authorization')).to.deep.equal(['Bearer secret']);
      expect(seen('impersonate-user')).to.deep.equal(['bob']);
      await get(undefined, { 'Impersonate-User': 'bob' });
      expect(seen('authorization')).to.deep.equal([]);
    });

    it('cannot become somebody else with X-Remote-User', async () => {
      await get(jane, { 'X-Remote-User': 'root' });
      expect(seen('x-remote-user')).to.deep.equal([]);
    });
  });

  describe('in mode TokenPassthrough', () => {
    beforeEach(() => start('TokenPassthrough'));

    it('is not asked for a certificate, and cannot send X-Remote-User to a server', async () => {
      await get(jane, { 'X-Remote-User': 'root', Authorization: 'Bearer secret' });
      expect(seen('x-remote-user')).to.deep.equal([]);
      expect(seen('authorization')).to.deep.equal(['Bearer secret']);
      expect(home.seen.at(-1)?.clientName).to.equal(undefined);
    });
  });
});
