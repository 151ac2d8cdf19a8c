import { X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import { type Authentication, createAuthenticate } from '../../../src/proxy/identity/authenticate.ts';
import type { ClientCertificate } from '../../../src/proxy/identity/client-certificate.ts';
import type { RequestIdentity } from '../../../src/proxy/identity/request-identity.ts';
import type { AuthenticationMode, ClientAuthorities } from '../../../src/proxy/ports.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { createTestAuthority, type TestCertificateRequest } from '../../support/test-certificates.ts';

const headerNames: ClientAuthorities['headerNames'] = {
  user: ['X-Remote-User'],
  uid: ['X-Remote-Uid'],
  group: ['X-Remote-Group'],
  extraPrefix: ['X-Remote-Extra-'],
};
const second = 1_000;

describe('createAuthenticate', function () {
  this.timeout(20_000);
  const users = createTestAuthority('users');
  const gateways = createTestAuthority('gateways');
  const clientCa = [new X509Certificate(users.caPem)];
  const requestHeaderCa = [new X509Certificate(gateways.caPem)];
  const authorities: ClientAuthorities = { clientCa, requestHeaderCa, allowedNames: [], headerNames };

  function certify(request: TestCertificateRequest, authority = users): ClientCertificate {
    const leaf = new X509Certificate(authority.issue({ usage: 'clientAuth', ...request }).certPem);
    return { leaf, intermediates: [], chained: true, sha256: leaf.fingerprint256 };
  }
  const requestHeader = (of: ClientAuthorities = authorities): AuthenticationMode => ({
    kind: 'RequestHeader',
    authorities: () => of,
  });
  const impersonation = (token: string | undefined = 'own'): AuthenticationMode => ({
    kind: 'Impersonation',
    authorities: () => authorities,
    token: () => token,
  });

  function authenticate(
    mode: AuthenticationMode,
    certificate: ClientCertificate | undefined,
    rawHeaders: readonly string[] = [],
  ): Authentication {
    return createAuthenticate(mode, { ...createManualClock(), date: () => Date.now() })({
      connection: { certificate },
      rawHeaders,
    });
  }
  function identityOf(found: Authentication): RequestIdentity {
    if (found.kind !== 'identified') throw new Error(`refused: ${JSON.stringify(found.status)}`);
    return found.identity;
  }
  const statusOf = (found: Authentication) => (found.kind === 'refused' ? found.status : undefined);
  /** The values of a stamped field. */
  const stamped = ({ stamp }: RequestIdentity, name: string) =>
    stamp.filter((_text, at) => at % 2 === 1 && stamp[at - 1]?.toLowerCase() === name.toLowerCase());

  it('passes tokens through, whoever judges certificates', () => {
    const token = ['authorization', 'Bearer t'];
    for (const mode of [{ kind: 'TokenPassthrough' } as const, requestHeader(), impersonation()]) {
      expect(identityOf(authenticate(mode, undefined, token))).to.include({ who: 'token', replacesToken: false });
      expect(identityOf(authenticate(mode, undefined))).to.include({ who: 'anonymous', connectAs: 'anonymous' });
    }
  });

  it('ignores certificates where tokens alone count', () => {
    const certificate = certify({ commonName: 'jane' });
    expect(identityOf(authenticate({ kind: 'TokenPassthrough' }, certificate))).to.include({ who: 'anonymous' });
  });

  describe('for a client certificate, in the mode Impersonation', () => {
    const jane = () => certify({ commonName: 'jane', organizations: ['dev'] });

    it('states the user with the credential of the proxy, and removes what the client says of others', () => {
      const identity = identityOf(authenticate(impersonation(), jane()));
      expect(identity).to.include({ who: 'certificate:jane', connectAs: 'anonymous', replacesToken: true });
      expect(stamped(identity, 'Authorization')).to.deep.equal(['Bearer own']);
      expect(stamped(identity, 'Impersonate-User')).to.deep.equal(['jane']);
      expect(identity.forged?.('impersonate-user')).to.equal(true);
      expect(identity.forged?.('impersonate-extra-scopes')).to.equal(true);
      expect(identity.forged?.('x-remote-user')).to.equal(false);
      expect(identity.forged?.('x-impersonate-user')).to.equal(false);
    });

    for (const { what, request, groups } of [
      {
        what: 'its groups, and the one of every user',
        organizations: ['dev'],
        groups: ['dev', 'system:authenticated'],
      },
      { what: 'the group of every user if it has none', organizations: [], groups: ['system:authenticated'] },
      {
        what: 'the group of every user only once',
        organizations: ['system:authenticated', 'dev'],
        groups: ['system:authenticated', 'dev'],
      },
      {
        what: 'no such group for one that claims to be unauthenticated',
        organizations: ['dev', 'system:unauthenticated'],
        groups: ['dev', 'system:unauthenticated'],
      },
    ].map(({ what, organizations, groups }) => ({ what, request: { commonName: 'jane', organizations }, groups })))
      it(`states ${what}`, () => {
        const identity = identityOf(authenticate(impersonation(), certify(request)));
        expect(stamped(identity, 'Impersonate-Group')).to.deep.equal(groups);
      });

    it('counts the anonymous user as unauthenticated', () => {
      const identity = identityOf(authenticate(impersonation(), certify({ commonName: 'system:anonymous' })));
      expect(stamped(identity, 'Impersonate-Group')).to.deep.equal(['system:unauthenticated']);
    });

    it('is 503 with Retry-After while the proxy has no credential', () => {
      const mode: AuthenticationMode = {
        kind: 'Impersonation',
        authorities: () => authorities,
        token: () => undefined,
      };
      const status = statusOf(authenticate(mode, jane()));
      expect(status).to.include({ code: 503 });
      expect(status?.details?.retryAfterSeconds).to.equal(1);
    });

    it('is 403 if the client names another user, in any spelling', () => {
      for (const name of ['Impersonate-User', 'IMPERSONATE-UID', 'impersonate-extra-x'])
        expect(statusOf(authenticate(impersonation(), jane(), ['Accept', '*/*', name, 'root'])), name).to.include({
          code: 403,
        });
      expect(authenticate(impersonation(), jane(), ['Accept', '*/*', 'X-Impersonate-User', 'root']).kind).to.equal(
        'identified',
      );
    });

    it('is 403 if HTTP cannot carry the name unchanged', () => {
      for (const mode of [impersonation(), requestHeader()])
        expect(statusOf(authenticate(mode, certify({ commonName: 'jane ' })))).to.include({ code: 403 });
    });
  });

  describe('for the certificate of a gateway', () => {
    const gateway = () => certify({ commonName: 'gateway' }, gateways);
    const jane = ['X-Remote-User', 'jane'];
    const routed = ['x-kubernetes-peer-proxied', 'true'];

    it('believes its word, and whether another proxy has routed the request', () => {
      for (const mark of [false, true]) {
        const headers = mark ? [...jane, ...routed] : jane;
        const identity = identityOf(authenticate(requestHeader(), gateway(), headers));
        expect(identity).to.include({ who: 'proxy:jane', connectAs: 'frontProxy', alreadyRouted: mark });
        expect(stamped(identity, 'X-Remote-User')).to.deep.equal(['jane']);
      }
    });

    it('believes the mark beside a token', () => {
      const token = ['Authorization', 'Bearer t'];
      for (const headers of [token, [...token, ...routed]]) {
        const identity = identityOf(authenticate(requestHeader(), gateway(), headers));
        expect(identity).to.include({ who: 'token', alreadyRouted: headers.length > 2 });
      }
    });

    it('is 401 without a name, a token, or an allowed name', () => {
      expect(statusOf(authenticate(requestHeader(), gateway(), routed))).to.include({ code: 401 });
      for (const { allowedNames, code } of [
        { allowedNames: ['gateway'], code: undefined },
        { allowedNames: ['other'], code: 401 },
      ]) {
        const found = authenticate(requestHeader({ ...authorities, allowedNames }), gateway(), jane);
        expect(statusOf(found)?.code, allowedNames.join()).to.equal(code);
      }
    });

    it('is not believed about the mark if it is a user of the cluster', () => {
      const identity = identityOf(authenticate(requestHeader(), certify({ commonName: 'jane' }), routed));
      expect(identity).to.include({ who: 'certificate:jane', alreadyRouted: false });
    });
  });

  it('is the user of the certificate if there is a token too, and the token goes nowhere', () => {
    for (const mode of [requestHeader(), impersonation()]) {
      const identity = identityOf(authenticate(mode, certify({ commonName: 'jane' }), ['Authorization', 'Bearer t']));
      expect(identity).to.include({ who: 'certificate:jane', replacesToken: true, alreadyRouted: false });
    }
  });

  it('is the user of the token beside a certificate of another authority, which may claim nothing', () => {
    const stranger = certify({ commonName: 'jane' }, createTestAuthority('strangers'));
    for (const more of [[], ['x-kubernetes-peer-proxied', 'true'], ['X-Remote-User', 'root']]) {
      const identity = identityOf(authenticate(requestHeader(), stranger, ['Authorization', 'Bearer t', ...more]));
      expect(identity).to.include({ who: 'token', replacesToken: false, alreadyRouted: false, connectAs: 'anonymous' });
    }
  });

  describe('for a certificate that names nobody', () => {
    /** A certificate whose subject is read as this. */
    const named = (subject: object, authority = users): ClientCertificate => {
      const certificate = certify({ commonName: 'jane' }, authority);
      const leaf = new Proxy(certificate.leaf, {
        get: (real, name) => {
          if (name === 'toLegacyObject') return () => ({ subject });
          const value: unknown = Reflect.get(real, name, real);
          return typeof value === 'function' ? value.bind(real) : value;
        },
      });
      return { ...certificate, leaf };
    };
    const token = ['Authorization', 'Bearer t'];
    const routed = ['x-kubernetes-peer-proxied', 'true'];

    it('is 401 without a common name, or with two UIDs, unless there is a token', () => {
      const uid = '1.3.6.1.4.1.57683.2';
      for (const subject of [{ O: 'dev' }, { CN: 'jane', [uid]: ['u1', 'u2'] }]) {
        const status = statusOf(authenticate(requestHeader(), named(subject), routed));
        expect([status?.code, status?.message]).to.deep.equal([401, 'Unauthorized']);
        expect(identityOf(authenticate(requestHeader(), named(subject), [...token, ...routed]))).to.include({
          who: 'token',
          alreadyRouted: false,
        });
      }
    });

    it('is anonymous if it is also of a gateway, as kube-apiserver has it, and believed about the mark', () => {
      const both: ClientAuthorities = { ...authorities, requestHeaderCa: clientCa };
      for (const headers of [[], routed])
        expect(identityOf(authenticate(requestHeader(both), named({ O: 'dev' }), headers))).to.include({
          who: 'anonymous',
          alreadyRouted: headers.length > 0,
        });
    });

    it('is of no gateway whose name must be one of a list', () => {
      const allowed: ClientAuthorities = { ...authorities, allowedNames: ['gateway'] };
      const jane = ['X-Remote-User', 'jane'];
      const nameless = named({ O: 'dev' }, gateways);
      expect(statusOf(authenticate(requestHeader(allowed), nameless, jane))?.code).to.equal(401);
      expect(authenticate(requestHeader(), nameless, jane).kind).to.equal('identified');
    });
  });

  it('is 503 while the authorities are unknown, and 401 for one of another', () => {
    const stranger = certify({ commonName: 'jane' }, createTestAuthority('strangers'));
    const none: ClientAuthorities = { ...authorities, clientCa: [] };
    expect(statusOf(authenticate(requestHeader(none), stranger))).to.include({ code: 503 });
    expect(statusOf(authenticate(requestHeader(), stranger))).to.include({ code: 401 });
  });

  it('judges a certificate again when its validity, or that of its authority, begins or ends', () => {
    const certificate = certify({ commonName: 'jane' });
    let date = 0;
    const authenticateAt = createAuthenticate(requestHeader(), { ...createManualClock(), date: () => date });
    const codeAt = (at: number) => {
      date = at;
      const found = authenticateAt({ connection: { certificate }, rawHeaders: [] });
      return statusOf(found)?.code ?? 200;
    };
    const [leaf, ca] = [certificate.leaf, clientCa[0] as X509Certificate];
    const from = Math.max(leaf.validFromDate.getTime(), ca.validFromDate.getTime());
    const until = Math.min(leaf.validToDate.getTime(), ca.validToDate.getTime());
    // In both directions, because a correction of the date may go back.
    for (const at of [from - second, from, until, until + second, until, from, from - second, from])
      expect(codeAt(at), String(at - from)).to.equal(at < from || at > until ? 401 : 200);
  });

  it('judges a certificate again when the authorities change', () => {
    const certificate = certify({ commonName: 'jane' });
    let current = authorities;
    const judged = createAuthenticate(
      { kind: 'RequestHeader', authorities: () => current },
      { ...createManualClock(), date: () => Date.now() },
    );
    const code = () => statusOf(judged({ connection: { certificate }, rawHeaders: [] }))?.code;
    expect(code()).to.equal(undefined);
    current = { ...authorities, clientCa: requestHeaderCa };
    expect(code()).to.equal(401);
    current = authorities;
    expect(code()).to.equal(undefined);
  });

  it('makes the same identity for all requests of one certificate, and judges once', () => {
    const certificate = certify({ commonName: 'jane' });
    const judged = createAuthenticate(requestHeader(), { ...createManualClock(), date: () => Date.now() });
    const once = () => judged({ connection: { certificate }, rawHeaders: [] });
    expect(once()).to.equal(once());
  });
});
