import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** A certificate and its key, both PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

const yearMs = 365 * 24 * 60 * 60 * 1_000;
const skewMs = 60 * 60 * 1_000;

/**
 * A new ECDSA P-256 certificate for one DNS name, valid for a year and signed by itself; the key never leaves the process.
 *
 * Nobody can verify it. It is what Kubernetes components and controller-runtime serve metrics with when no certificate
 * is given: the connection is private, the scraper is not, and has to authenticate. The structure is that of RFC 5280.
 */
export function createSelfSignedCertificate(dnsName: string, now: number): CertificatePair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
  const name = sequence(der(0x31, sequence(objectId(0x55, 0x04, 0x03), der(0x0c, Buffer.from(dnsName)))));
  const validity = sequence(time(now - skewMs), time(now + yearMs));
  const alternativeName = sequence(objectId(0x55, 0x1d, 0x11), der(0x04, sequence(der(0x82, Buffer.from(dnsName)))));
  const serverAuth = objectId(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01);
  const extendedUsage = sequence(objectId(0x55, 0x1d, 0x25), der(0x04, sequence(serverAuth)));
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    // Positive, and never with a leading zero that DER would forbid.
    der(0x02, Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    ecdsaWithSha256,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(alternativeName, extendedUsage)),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = sequence(toBeSigned, ecdsaWithSha256, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function objectId(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

/** UTCTime, which is what RFC 5280 asks for until 2049. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
