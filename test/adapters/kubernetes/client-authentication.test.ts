import { expect } from 'chai';
import { parseClientAuthentication } from '../../../src/adapters/kubernetes/client-authentication.ts';
import { createTestAuthority } from '../../support/test-certificates.ts';

describe('parseClientAuthentication', () => {
  const users = createTestAuthority('users').caPem;
  const proxies = createTestAuthority('proxies').caPem;

  it('reads the ConfigMap that kube-apiserver publishes', () => {
    const read = parseClientAuthentication({
      'client-ca-file': users + proxies,
      'requestheader-client-ca-file': proxies,
      'requestheader-allowed-names': '["front-proxy-client"]',
      'requestheader-username-headers': '["X-Acme-User","X-Remote-User"]',
      'requestheader-group-headers': '["X-Remote-Group"]',
      'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
    });
    expect(read.clientCa.map(({ subject }) => subject)).to.deep.equal(['CN=users', 'CN=proxies']);
    expect(read.requestHeaderCa.map(({ subject }) => subject)).to.deep.equal(['CN=proxies']);
    expect(read.allowedNames).to.deep.equal(['front-proxy-client']);
    expect(read.headerNames).to.deep.equal({
      user: ['X-Acme-User', 'X-Remote-User'],
      uid: ['X-Remote-Uid'],
      group: ['X-Remote-Group'],
      extraPrefix: ['X-Remote-Extra-'],
    });
  });

  for (const [title, data, why] of [
    ['no client CA', { 'requestheader-client-ca-file': proxies }, /client-ca-file is missing/],
    ['a CA that is none', { 'client-ca-file': 'x' }, /client-ca-file: there is no certificate/],
    ['names that are no list', { 'client-ca-file': users, 'requestheader-allowed-names': '"a"' }, /not a list/],
    ['names that are no JSON', { 'client-ca-file': users, 'requestheader-allowed-names': 'a,b' }, /not JSON/],
  ] as const)
    it(`refuses ${title}, and names the key`, () => {
      expect(() => parseClientAuthentication(data as Record<string, string>)).to.throw(why);
    });
});
