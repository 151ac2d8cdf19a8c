import { createPrivateKey, generateKeyPairSync, hash, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { ipv6Groups } from './ipv6-groups.ts';

/** A certificate and its key, both as PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

/** The contents of a new certificate. */
export interface CertificateRequest {
  readonly commonName: string;
  /** A CA that signs servers' certificates but no other CA's, or a server. */
  readonly usage: 'CA' | 'Server';
  /** DNS names and IP addresses of a server. */
  readonly names?: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /**
   * The issuer that signs it; its key must be an elliptic-curve key. Without an issuer, the certificate signs itself.
   */
  readonly issuer?: CertificatePair;
}

const yearMs = 365 * 24 * 60 * 60 * 1_000;
/** Allows for clocks that differ. */
export const clockSkewMs = 60 * 60 * 1_000;

/** Makes a new ECDSA P-256 key and its certificate according to RFC 5280. */
export function issueCertificate(request: CertificateRequest): CertificatePair {
  const { commonName, usage, names = [], notBefore, notAfter, issuer } = request;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  if (signer.asymmetricKeyType !== 'ec') throw new Error(`the CA's key is ${signer.asymmetricKeyType}, not ec`);
  const ecdsaWithSha256 = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
  const subject = sequence(der(0x31, sequence(objectId(0x55, 0x04, 0x03), der(0x0c, Buffer.from(commonName)))));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const issuerCert = issuer === undefined ? undefined : new X509Certificate(issuer.cert);
  const issuerSpki = issuerCert?.publicKey.export({ type: 'spki', format: 'der' }) ?? spki;
  const extensions =
    usage === 'CA'
      ? [
          extension(0x13, sequence(der(0x01, Buffer.from([0xff])), der(0x02, Buffer.from([0]))), true),
          keyUsage(1, 0x06),
        ]
      : [keyUsage(7, 0x80), extension(0x25, sequence(objectId(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01)))];
  if (names.length > 0) extensions.push(extension(0x11, sequence(...names.map(generalName))));
  extensions.push(
    extension(0x0e, der(0x04, keyId(spki))),
    extension(
      0x23,
      sequence(der(0x80, issuerCert === undefined ? keyId(issuerSpki) : keyIdOf(issuerCert, issuerSpki))),
    ),
  );
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    // Positive, and without the leading zero that DER forbids.
    der(0x02, Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    ecdsaWithSha256,
    issuerCert === undefined ? subject : subjectOf(issuerCert),
    sequence(time(notBefore), time(notAfter)),
    subject,
    spki,
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', toBeSigned, signer);
  const certificate = sequence(toBeSigned, ecdsaWithSha256, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * Makes a self-signed certificate for one DNS name, valid for a year. The key never leaves the process.
 *
 * No client can verify it. Kubernetes components and controller-runtime serve metrics the same way if no certificate is
 * given: the connection is encrypted, and the scraper must authenticate.
 */
export function createSelfSignedCertificate(dnsName: string, now: number): CertificatePair {
  const validity = { notBefore: now - clockSkewMs, notAfter: now + yearMs };
  return issueCertificate({ commonName: dnsName, usage: 'Server', names: [dnsName], ...validity });
}

/** An extension under the arc id-ce. */
function extension(id: number, value: Buffer, critical = false): Buffer {
  const mark = critical ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(objectId(0x55, 0x1d, id), ...mark, der(0x04, value));
}

function keyUsage(unusedBits: number, bits: number): Buffer {
  return extension(0x0f, der(0x03, Buffer.from([unusedBits, bits])), true);
}

function generalName(name: string): Buffer {
  const version = isIP(name);
  if (version === 0) return der(0x82, Buffer.from(name));
  const bytes =
    version === 4
      ? Buffer.from(name.split('.').map(Number))
      : Buffer.from(
          ipv6Groups(name)
            .map((group) => group.padStart(4, '0'))
            .join(''),
          'hex',
        );
  return der(0x87, bytes);
}

/** RFC 7093, method 1: the first 160 bits of the key's SHA-256. */
function keyId(spki: Buffer): Buffer {
  return hash('sha256', spki, 'buffer').subarray(0, 20);
}

/** The certificate's own key id, or else the one that this file would compute. */
function keyIdOf(certificate: X509Certificate, spki: Buffer): Buffer {
  // SEQUENCE { OID id-ce 14, OCTET STRING { OCTET STRING keyId } }. Its first seven bytes are practically unique.
  const at = certificate.raw.indexOf(Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x0e, 0x04]));
  if (at < 0) return keyId(spki);
  return readElement(certificate.raw, readElement(certificate.raw, at + 5).start).content;
}

/** The subject's name with its exact bytes, because issuer and subject are compared byte for byte. */
function subjectOf({ raw }: X509Certificate): Buffer {
  // Certificate { tbsCertificate { [0] version, serial, signature, issuer, validity, subject, … } … }
  let { start } = readElement(raw, readElement(raw, 0).start);
  for (let skipped = 0; skipped < 5; skipped++) start = readElement(raw, start).end;
  return raw.subarray(start, readElement(raw, start).end);
}

function readElement(bytes: Buffer, at: number): { start: number; end: number; content: Buffer } {
  const first = bytes[at + 1] ?? 0;
  const octets = first < 0x80 ? 0 : first & 0x7f;
  const length = octets === 0 ? first : bytes.readUIntBE(at + 2, octets);
  const start = at + 2 + octets;
  return { start, end: start + length, content: bytes.subarray(start, start + length) };
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function objectId(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

/** UTCTime until 2049 and GeneralizedTime after that, as RFC 5280 requires. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14);
  return digits < '2050' ? der(0x17, Buffer.from(`${digits.slice(2)}Z`)) : der(0x18, Buffer.from(`${digits}Z`));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
