import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { bearsNames, readPair } from '../../src/runtime/certificates.ts';
import { type CertificatePair, issueCertificate } from '../../src/runtime/issue-certificate.ts';

const hourMs = 3_600_000;
const now = Date.now();
const validity = { notBefore: now - hourMs, notAfter: now + hourMs };
const names = ['a.example', 'b.example', '192.0.2.7', '2001:db8::1', '::ffff:192.0.2.8'];

describe('an issued certificate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-issue-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  const authority = issueCertificate({ commonName: 'ca', usage: 'CA', ...validity });
  const server = issueCertificate({ commonName: 'a.example', usage: 'Server', names, issuer: authority, ...validity });

  function openssl(ca: string, leaf: string, ...flags: readonly string[]): string {
    writeFileSync(join(folder, 'ca.pem'), ca);
    writeFileSync(join(folder, 'leaf.pem'), leaf);
    const files = ['-CAfile', 'ca.pem', 'leaf.pem'];
    return execFileSync('openssl', ['verify', '-x509_strict', ...flags, ...files], { cwd: folder, encoding: 'utf8' });
  }

  it("passes OpenSSL's strict verification by its CA, for every name, as a server", () => {
    for (const name of names) {
      const flag = name.includes('example') ? '-verify_hostname' : '-verify_ip';
      expect(openssl(authority.cert, server.cert, '-purpose', 'sslserver', flag, name)).to.contain('OK');
    }
    expect(() => openssl(authority.cert, server.cert, '-verify_hostname', 'c.example')).to.throw('hostname mismatch');
    expect(() => openssl(authority.cert, server.cert, '-purpose', 'sslclient')).to.throw();
  });

  it('contains its names and no other', () => {
    const certificate = readPair(server);
    expect(bearsNames(certificate, [...names].reverse())).to.equal(true);
    expect(bearsNames(certificate, names.slice(1))).to.equal(false);
    expect(bearsNames(certificate, [...names.slice(1), 'c.example'])).to.equal(false);
  });

  it('does not verify by another CA of the same name', () => {
    const other = issueCertificate({ commonName: 'ca', usage: 'CA', ...validity });
    expect(() => openssl(other.cert, server.cert)).to.throw();
  });

  it('cannot sign another CA: OpenSSL refuses the chain', () => {
    const below = issueCertificate({ commonName: 'below', usage: 'CA', issuer: authority, ...validity });
    const leaf = issueCertificate({ commonName: 'x', usage: 'Server', names: ['x'], issuer: below, ...validity });
    writeFileSync(join(folder, 'below.pem'), below.cert);
    expect(() => openssl(authority.cert, leaf.cert, '-untrusted', 'below.pem')).to.throw('path length');
  });

  it("is signed by a CA that OpenSSL made, under that CA's own name and key id", () => {
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-days', '2'],
      ...['-addext', 'keyUsage=critical,keyCertSign'],
      ...['-subj', '/O=Ex ample/CN=theirs', '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'theirs.pem')],
    ]);
    const read = (name: string) => execFileSync('cat', [join(folder, name)], { encoding: 'utf8' });
    const theirs: CertificatePair = { cert: read('theirs.pem'), key: read('key.pem') };
    const leaf = issueCertificate({ commonName: 'y', usage: 'Server', names: ['y'], issuer: theirs, ...validity });
    expect(openssl(theirs.cert, leaf.cert, '-verify_hostname', 'y')).to.contain('OK');
  });

  it('may end after 2049, where the notation of time changes', () => {
    const notAfter = Date.UTC(2051, 1, 3, 4, 5, 6);
    const long = issueCertificate({ commonName: 'ca', usage: 'CA', notBefore: now, notAfter });
    expect(new X509Certificate(long.cert).validToDate.getTime()).to.equal(notAfter);
  });
});
