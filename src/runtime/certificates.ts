import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { ipv6Groups } from './ipv6-groups.ts';
import type { CertificatePair } from './issue-certificate.ts';

/** Reads every certificate of a PEM bundle. Throws if there is none or if one cannot be read. */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no certificate in it');
  return blocks.map((block) => new X509Certificate(block));
}

/** Reads the certificate of a pair. Throws if one of the two cannot be read or they do not match. */
export function readPair({ cert, key }: CertificatePair): X509Certificate {
  const certificate = new X509Certificate(cert);
  if (!certificate.checkPrivateKey(createPrivateKey(key)))
    throw new Error('key and certificate do not belong together');
  return certificate;
}

/** True if the certificate has exactly these DNS names and IP addresses. */
export function bearsNames(certificate: X509Certificate, names: readonly string[]): boolean {
  const borne = new Set((certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^[^:]*:/, '')));
  // OpenSSL writes IPv6 in capitals and with all zeros.
  const wanted = names.map((name) => (isIP(name) === 6 ? ipv6Groups(name).join(':').toUpperCase() : name));
  return borne.size === wanted.length && wanted.every((name) => borne.has(name));
}
