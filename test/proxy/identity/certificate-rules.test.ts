import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import { mayIssue, mayProveClient } from '../../../src/proxy/identity/certificate-rules.ts';
import type { TestCertificate } from '../../support/test-certificates.ts';
import { authorityExtensions, issueTestCertificate } from '../../support/test-pki.ts';

const leafExtensions = ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth'];

/** A key that openssl signs with, without a certificate. */
function keyOf(type: 'rsa' | 'ed25519', modulusLength = 2048): TestCertificate {
  const { privateKey } =
    type === 'rsa' ? generateKeyPairSync('rsa', { modulusLength }) : generateKeyPairSync('ed25519');
  return { certPem: '', keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

function certify(extensions: readonly string[], key?: TestCertificate): X509Certificate {
  const request = { commonName: 'jane', extensions, ...(key !== undefined && { keyOf: key }) };
  return new X509Certificate(issueTestCertificate(request).certPem);
}

/** The same certificate, of other bytes. */
function withBytes({ keyUsage, publicKey }: X509Certificate, raw: Buffer): X509Certificate {
  return { raw, keyUsage, publicKey } as X509Certificate;
}

describe('mayProveClient', function () {
  this.timeout(20_000);
  for (const { what, extensions, may } of [
    { what: 'clientAuth', extensions: leafExtensions, may: true },
    { what: 'no extended key usage', extensions: ['basicConstraints=CA:FALSE'], may: true },
    { what: 'any extended key usage', extensions: ['extendedKeyUsage=anyExtendedKeyUsage'], may: true },
    { what: 'clientAuth among others', extensions: ['extendedKeyUsage=serverAuth,clientAuth'], may: true },
    { what: 'serverAuth alone', extensions: ['extendedKeyUsage=serverAuth'], may: false },
    { what: 'critical extensions that are understood', extensions: ['keyUsage=critical,digitalSignature'], may: true },
    { what: 'an unknown extension', extensions: [...leafExtensions, '1.2.3.4=ASN1:UTF8String:x'], may: true },
    {
      what: 'an unknown critical extension',
      extensions: [...leafExtensions, '1.2.3.4=critical,ASN1:UTF8String:x'],
      may: false,
    },
    {
      what: 'name constraints',
      extensions: ['basicConstraints=CA:TRUE', 'nameConstraints=permitted;DNS:example.com'],
      may: false,
    },
  ])
    it(`is ${may} for a certificate with ${what}`, () => {
      expect(mayProveClient(certify(extensions))).to.equal(may);
    });

  it('refuses RSA keys below 2048 bits, and takes longer ones and Ed25519', () => {
    expect(mayProveClient(certify(leafExtensions, keyOf('rsa', 1024)))).to.equal(false);
    expect(mayProveClient(certify(leafExtensions, keyOf('rsa', 2048)))).to.equal(true);
    expect(mayProveClient(certify(leafExtensions, keyOf('ed25519')))).to.equal(true);
  });

  it('refuses signatures by other algorithms than those with SHA-2, and Ed25519', () => {
    const certificate = certify(leafExtensions);
    // ecdsa-with-SHA256 becomes ecdsa-with-SHA1. RFC 3279, section 2.2.3.
    const raw = Buffer.from(
      certificate.raw.toString('hex').replaceAll('06082a8648ce3d040302', '06082a8648ce3d040102'),
      'hex',
    );
    expect(mayProveClient(withBytes(certificate, certificate.raw))).to.equal(true);
    expect(mayProveClient(withBytes(certificate, raw))).to.equal(false);
  });

  it('refuses a certificate with two extensions of one kind', () => {
    const certificate = certify([...leafExtensions, '2.5.29.36=ASN1:UTF8String:x']);
    const raw = Buffer.from(certificate.raw.toString('hex').replace('0603551d24', '0603551d25'), 'hex');
    expect(mayProveClient(withBytes(certificate, certificate.raw))).to.equal(true);
    expect(mayProveClient(withBytes(certificate, raw))).to.equal(false);
  });

  it('refuses a certificate that is cut off anywhere, or has invalid lengths', () => {
    const certificate = certify(leafExtensions);
    const { raw } = certificate;
    for (let length = 0; length < raw.length; length++)
      expect(mayProveClient(withBytes(certificate, raw.subarray(0, length))), String(length)).to.equal(false);
    for (const head of ['3084', '3085000000', '308200', '30ff'])
      expect(mayProveClient(withBytes(certificate, Buffer.from(head, 'hex'))), head).to.equal(false);
  });
});

describe('mayIssue', function () {
  this.timeout(20_000);
  for (const { what, extensions, may } of [
    { what: 'a CA', extensions: authorityExtensions, may: true },
    {
      what: 'a CA that may sign certificates',
      extensions: [...authorityExtensions, 'keyUsage=keyCertSign'],
      may: true,
    },
    { what: 'a CA that may sign lists only', extensions: [...authorityExtensions, 'keyUsage=cRLSign'], may: false },
    { what: 'a CA for clients', extensions: [...authorityExtensions, 'extendedKeyUsage=clientAuth'], may: true },
    { what: 'a CA for servers', extensions: [...authorityExtensions, 'extendedKeyUsage=serverAuth'], may: false },
    { what: 'no CA', extensions: ['basicConstraints=critical,CA:FALSE'], may: false },
    { what: 'a certificate that does not say', extensions: ['extendedKeyUsage=clientAuth'], may: false },
  ])
    it(`is ${may} for ${what}`, () => {
      expect(mayIssue(certify(extensions), 0)).to.equal(may);
    });

  it('counts the CAs below', () => {
    const authority = (length: number) => certify([`basicConstraints=critical,CA:TRUE,pathlen:${length}`]);
    for (const { length, below, may } of [
      { length: 0, below: 0, may: true },
      { length: 0, below: 1, may: false },
      { length: 2, below: 2, may: true },
      { length: 2, below: 3, may: false },
      // More than one octet: a chain is never that long.
      { length: 200, below: 0, may: true },
      { length: 200, below: 1, may: false },
    ])
      expect(mayIssue(authority(length), below), `${below} of ${length}`).to.equal(may);
    expect(mayIssue(certify(authorityExtensions), 100)).to.equal(true);
  });

  it('refuses what is no certificate', () => {
    const certificate = certify(authorityExtensions);
    expect(mayIssue(withBytes(certificate, certificate.raw), 0)).to.equal(true);
    expect(mayIssue(withBytes(certificate, certificate.raw.subarray(0, 40)), 0)).to.equal(false);
  });
});
