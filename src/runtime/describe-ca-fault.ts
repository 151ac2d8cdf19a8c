import { pemCertificates, tryReadCertificate } from './trust-anchors.ts';

/** Says why a text is not a bundle of PEM certificates. Undefined if it has at least one, and all can be read. */
export function describeCaFault(pem: string): string | undefined {
  const found = pemCertificates(pem);
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (begun === 0) return 'it holds no PEM certificate (-----BEGIN CERTIFICATE-----)';
  if (found.length < begun) return 'a PEM certificate in it has no end (-----END CERTIFICATE-----)';
  const unreadable = found.findIndex((text) => tryReadCertificate(text) === undefined);
  return unreadable < 0 ? undefined : `certificate ${unreadable + 1} of ${found.length} in it cannot be read`;
}
