import type { X509Certificate } from 'node:crypto';

/**
 * True if the certificate may be in a chain for client authentication below a CA. The caller checks its signature. It
 * follows Go's rules (`crypto/x509`) and refuses extensions that cannot be judged here, such as name constraints.
 */
export function mayProveClient(certificate: X509Certificate): boolean {
  const fields = tryReadFields(certificate.raw);
  return fields !== undefined && strongSignatures.has(fields.signature) && allowsClient(certificate, fields);
}

/**
 * True if the certificate may sign others of such a chain.
 *
 * @param authoritiesBelow Number of CAs between it and the client's certificate.
 */
export function mayIssue(certificate: X509Certificate, authoritiesBelow: number): boolean {
  const fields = tryReadFields(certificate.raw);
  if (fields === undefined || !allowsClient(certificate, fields)) return false;
  // Go accepts a CA of version 1, which has no extensions, if the CA file lists it.
  if (fields.version === 1) return true;
  const constraints = readConstraints(fields.extensions.get(basicConstraints)?.value);
  const usage = fields.extensions.get(keyUsage)?.value;
  return (
    constraints.isAuthority &&
    authoritiesBelow <= constraints.maxBelow &&
    (usage === undefined || ((usage[3] ?? 0) & certSign) !== 0)
  );
}

/** Object identifiers as DER writes them, in hex. */
const basicConstraints = '551d13';
const keyUsage = '551d0f';
const extendedKeyUsage = '551d25';
const subjectAltName = '551d11';
const nameConstraints = '551d1e';
const understood: ReadonlySet<string> = new Set([basicConstraints, keyUsage, extendedKeyUsage, subjectAltName]);
/** RSA with SHA-2, ECDSA with SHA-2, and Ed25519. */
const strongSignatures: ReadonlySet<string> = new Set([
  ...['0b', '0c', '0d'].map((hash) => `2a864886f70d0101${hash}`),
  ...['02', '03', '04'].map((hash) => `2a8648ce3d0403${hash}`),
  '2b6570',
]);
const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyUsage = '2.5.29.37.0';
/** In the first octet of the bits. */
const certSign = 0x04;

function allowsClient({ keyUsage: purposes, publicKey }: X509Certificate, { extensions }: Fields): boolean {
  if (extensions.has(nameConstraints)) return false;
  for (const [id, { critical }] of extensions) if (critical && !understood.has(id)) return false;
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKey;
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) < 2048) return false;
  // This is Node's name for extended key usages.
  return purposes === undefined || purposes.includes(clientAuth) || purposes.includes(anyUsage);
}

interface Fields {
  readonly version: number;
  /** Object identifier of the signature's algorithm. */
  readonly signature: string;
  readonly extensions: ReadonlyMap<string, { readonly critical: boolean; readonly value: Buffer }>;
}

/** One DER value. */
interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** Undefined if an extension occurs twice, or if the certificate violates RFC 5280, section 4.1. */
function tryReadFields(raw: Buffer): Fields | undefined {
  try {
    const [toBeSigned, algorithm] = readElements(first(readElements(raw)).content);
    const parts = readElements(required(toBeSigned).content);
    const version = parts[0]?.tag === 0xa0 ? 1 + (first(readElements(parts[0].content)).content[0] ?? 0) : 1;
    const extensions = new Map<string, { critical: boolean; value: Buffer }>();
    for (const part of parts) {
      if (part.tag !== 0xa3) continue;
      for (const { content } of readElements(first(readElements(part.content)).content)) {
        const [id, ...rest] = readElements(content);
        const name = required(id).content.toString('hex');
        if (extensions.has(name)) return undefined;
        const critical = rest.length > 1 && rest[0]?.content[0] !== 0;
        extensions.set(name, { critical, value: required(rest.at(-1)).content });
      }
    }
    return { version, signature: first(readElements(required(algorithm).content)).content.toString('hex'), extensions };
  } catch {
    return undefined;
  }
}

/** RFC 5280, 4.2.1.9. */
function readConstraints(value: Buffer | undefined): { readonly isAuthority: boolean; readonly maxBelow: number } {
  const [isAuthority, length] = value === undefined ? [] : readElements(first(readElements(value)).content);
  if (isAuthority?.tag !== 0x01 || isAuthority.content[0] === 0) return { isAuthority: false, maxBelow: 0 };
  if (length === undefined) return { isAuthority: true, maxBelow: Number.POSITIVE_INFINITY };
  return { isAuthority: true, maxBelow: length.content.length === 1 ? (length.content[0] ?? 0) : 0 };
}

function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0;
    const short = bytes[at + 1] ?? 0;
    const octets = short < 0x80 ? 0 : short & 0x7f;
    if (octets > 3) throw new Error('an invalid length');
    const length = octets === 0 ? short : bytes.readUIntBE(at + 2, octets);
    const from = at + 2 + octets;
    if (from + length > bytes.length) throw new Error('a truncated value');
    elements.push({ tag, content: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return elements;
}

function first(elements: readonly Element[]): Element {
  return required(elements[0]);
}

function required(element: Element | undefined): Element {
  if (element === undefined) throw new Error('a value is missing');
  return element;
}
