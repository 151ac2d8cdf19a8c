import { pemCertificates, tryReadCertificate } from './trust-anchors.ts';

/**
 * Why a text is no bundle of PEM certificates, undefined if every one of them can be read and there is at least one.
 */
export function describeCaFault(pem: string): string | undefined {
  const found = pemCertificates(pem);
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (begun === 0) return 'it holds no PEM certificate (-----BEGIN CERTIFICATE-----)';
  if (found.length < begun) return 'a PEM certificate in it has no end (-----END CERTIFICATE-----)';
  const unreadable = found.findIndex((text) => tryReadCertificate(text) === undefined);
  return unreadable < 0 ? undefined : `certificate ${unreadable + 1} of ${found.length} in it cannot be read`;
}
