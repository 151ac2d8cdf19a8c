import { X509Certificate } from 'node:crypto';

/** Every certificate of a PEM bundle; throws if there is none, or one that cannot be read. */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no certificate in it');
  return blocks.map((block) => new X509Certificate(block));
}
