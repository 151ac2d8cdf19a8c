import type { TestCertificate } from './test-certificates.ts';
import { authorityExtensions, issueTestCertificate, serverExtensions } from './test-pki.ts';

/** A CA file, the certificates that a server presents, and whether Go's crypto/x509 trusts them. */
export interface TrustCase {
  readonly title: string;
  readonly caPem: string;
  readonly chainPem: string;
  readonly keyPem: string;
  readonly trusted: boolean;
}

/** CA files as in real clusters. Each verdict is Go 1.26's, not OpenSSL's. */
export function makeTrustCases(): TrustCase[] {
  const authority = (commonName: string, more: Partial<Parameters<typeof issueTestCertificate>[0]> = {}) =>
    issueTestCertificate({ commonName, extensions: authorityExtensions, ...more });
  const server = (issuer: TestCertificate, extensions = serverExtensions, withKeyIds = false) =>
    issueTestCertificate({ commonName: 'kube-apiserver', issuer, extensions, withKeyIds });
  const root = authority('root');
  const intermediate = authority('intermediate', { issuer: root });
  const lower = authority('lower', { issuer: intermediate });
  const other = authority('other');
  const [old, renewed] = [authority('kubernetes'), authority('kubernetes')];
  const third = authority('kubernetes');
  const expired = authority('root', { keyOf: root, expired: true });
  const crossSigned = authority('root', { keyOf: root, issuer: other });
  const wrongIntermediate = authority('intermediate', { issuer: root });
  const expiredIntermediate = authority('intermediate', { issuer: root, keyOf: intermediate, expired: true });
  const noAuthority = authority('root', { extensions: ['basicConstraints=CA:FALSE'] });
  const withKeyIds = authority('root', { withKeyIds: true });
  const limited = authority('root', {
    extensions: [...authorityExtensions, 'nameConstraints=critical,permitted;DNS:example.com'],
  });
  const byRoot = server(root);
  const byIntermediate = server(intermediate);
  const byOld = server(old);
  const byRenewed = server(renewed);
  const clientOnly = server(root, [
    ...serverExtensions.slice(0, 1),
    'extendedKeyUsage=clientAuth',
    ...serverExtensions.slice(2),
  ]);
  const underRenewed = authority('intermediate', { issuer: renewed });
  const byUnderRenewed = server(underRenewed);
  const byLower = server(lower);
  const garbage = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  const cases: [string, TestCertificate[] | string, TestCertificate[], boolean][] = [
    ['the root alone', [root], [byRoot], true],
    ['another root', [other], [byRoot], false],
    ['an intermediate alone, which the server sends too', [intermediate], [byIntermediate, intermediate], true],
    ['an intermediate alone, which the server does not send', [intermediate], [byIntermediate], true],
    ['the intermediate in the middle', [intermediate], [byLower, lower], true],
    ['an intermediate, and a server of its root', [intermediate], [byRoot, root], false],
    ['root and intermediate', [root, intermediate], [byIntermediate, intermediate], true],
    ['the root, and an intermediate that the server does not send', [root], [byIntermediate], false],
    ['two authorities of one name, and a server of the first', [old, renewed], [byOld], true],
    ['two authorities of one name, and a server of the second', [old, renewed], [byRenewed], true],
    ['three authorities of one name, and a server of the last', [third, old, renewed], [byRenewed], true],
    ['a second authority of one name, above an intermediate', [old, renewed], [byUnderRenewed, underRenewed], true],
    ['an authority of the same name that did not sign', [old], [byRenewed], false],
    ['two authorities of the same name that did not sign', [old, third], [byRenewed], false],
    ['an expired root before its renewal', [expired, root], [byRoot], true],
    ['an expired root after its renewal', [root, expired], [byRoot], true],
    ['an expired root alone', [expired], [byRoot], false],
    ['an intermediate beside its expired root', [expired, intermediate], [byIntermediate, intermediate], true],
    ['the root beside an expired intermediate', [root, expiredIntermediate], [byIntermediate, intermediate], true],
    ['the root beside an intermediate of another key', [root, wrongIntermediate], [byIntermediate, intermediate], true],
    ['a root whose cross-signed form the server sends', [other], [byRoot, crossSigned], true],
    ['the cross-signed form alone', [crossSigned], [byRoot], true],
    ['the cross-signed form and the root', [crossSigned, root], [byRoot, crossSigned], true],
    ['the server certificate itself', [byRoot], [byRoot], true],
    ['the certificate of another server', [byOld], [byRoot], false],
    ['a certificate that is no authority', [noAuthority], [server(noAuthority)], false],
    ['a server certificate for clients only', [root], [clientOnly], false],
    ['a root for other names', [limited], [server(limited)], false],
    ['a root with key identifiers', [root, withKeyIds], [server(withKeyIds, serverExtensions, true)], true],
    ['the same certificate twice', [root, root], [byRoot], true],
    ['text around the certificates', `hello\n${other.certPem}\n# the root\n${root.certPem}bye`, [byRoot], true],
    ['a block that cannot be read before the right one', `${garbage}${root.certPem}`, [byRoot], true],
    [
      'a block that has no end before the right one',
      `-----BEGIN CERTIFICATE-----\nMIIB\n${root.certPem}`,
      [byRoot],
      true,
    ],
    [
      'a certificate under the name of another kind',
      root.certPem.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'),
      [byRoot],
      false,
    ],
    ['an empty file', '', [byRoot], false],
    ['a file without a certificate', 'hello\n', [byRoot], false],
  ];
  return cases.map(([title, ca, chain, trusted]) => ({
    title,
    caPem: typeof ca === 'string' ? ca : ca.map(({ certPem }) => certPem).join(''),
    chainPem: chain.map(({ certPem }) => certPem).join(''),
    keyPem: chain[0]?.keyPem ?? '',
    trusted,
  }));
}
