import { createHash } from 'node:crypto';

const base32Alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/**
 * The name of the identity Lease that a kube-apiserver (1.27 and later) on this host writes.
 *
 * `apiserver-` and the lower-case unpadded base32 of the first 16 bytes of SHA-256 over hostname and `kube-apiserver`,
 * each after its length as a big-endian uint16. Source: `pkg/server/config.go` of k8s.io/apiserver.
 */
export function identityLeaseName(hostname: string): string {
  const digest = createHash('sha256')
    .update(lengthPrefixed(hostname))
    .update(lengthPrefixed('kube-apiserver'))
    .digest();
  return `apiserver-${base32(digest.subarray(0, 16))}`;
}

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length & 0xffff);
  return Buffer.concat([length, bytes]);
}

function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += base32Alphabet.charAt((value >>> bits) & 31);
    }
  }
  return bits > 0 ? text + base32Alphabet.charAt((value << (5 - bits)) & 31) : text;
}
