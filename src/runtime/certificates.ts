import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type CertificatePair, ipv6Groups } from './issue-certificate.ts';

/** Every certificate of a PEM bundle; throws if there is none, or one that cannot be read. */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no certificate in it');
  return blocks.map((block) => new X509Certificate(block));
}

/** The certificate of a pair; throws if one of the two cannot be read, or they do not belong together. */
export function readPair({ cert, key }: CertificatePair): X509Certificate {
  const certificate = new X509Certificate(cert);
  if (!certificate.checkPrivateKey(createPrivateKey(key)))
    throw new Error('key and certificate do not belong together');
  return certificate;
}

/** True if it bears exactly these DNS names and IP addresses. */
export function bearsNames(certificate: X509Certificate, names: readonly string[]): boolean {
  const borne = new Set((certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^[^:]*:/, '')));
  // OpenSSL writes IPv6 in capitals, and zeros out.
  const wanted = names.map((name) => (isIP(name) === 6 ? ipv6Groups(name).join(':').toUpperCase() : name));
  return borne.size === wanted.length && wanted.every((name) => borne.has(name));
}
