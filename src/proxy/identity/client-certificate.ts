import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { mayIssue, mayProveClient } from './certificate-rules.ts';

/** The certificate that a client presented in its TLS handshake. */
export interface ClientCertificate {
  readonly leaf: X509Certificate;
  /** The certificates that came with it, in the client's order. None is trusted by itself. */
  readonly intermediates: readonly X509Certificate[];
  /** True if OpenSSL built a chain for client authentication to any authority that was configured at the handshake. */
  readonly chained: boolean;
  readonly sha256: string;
}

/** Reads the client's certificate, once per connection; undefined if it sent none. */
export function readClientCertificate(socket: TLSSocket): ClientCertificate | undefined {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return undefined;
  const intermediates: X509Certificate[] = [];
  for (let issuer = leaf.issuerCertificate; issuer !== undefined; issuer = issuer.issuerCertificate) {
    if (intermediates.length === maxDepth || intermediates.some(({ raw }) => issuer?.raw.equals(raw))) break;
    intermediates.push(issuer);
  }
  const sha256 = leaf.fingerprint256.replaceAll(':', '').toLowerCase();
  return { leaf, intermediates, chained: socket.authorized, sha256 };
}

const maxDepth = 8;

/**
 * True if the certificate chains to one of these CAs at this time, with valid signatures all the way.
 *
 * OpenSSL has verified the chain at the handshake, but against all CAs together and those of that moment. So each
 * request checks again: like kube-apiserver, the proxy no longer accepts a certificate that has expired since, or whose
 * CA was removed. Source: `x509.Authenticator` of k8s.io/apiserver.
 *
 * OpenSSL follows one issuer of each name and refuses if that was the wrong one, while Go tries all. So this code looks
 * for a chain that OpenSSL did not find, by rules that are no looser; see `mayProveClient`.
 */
export function isAnchored(
  { leaf, intermediates, chained }: ClientCertificate,
  anchors: readonly X509Certificate[],
  now: number,
): boolean {
  const tried = new Set<X509Certificate>();
  const mayStand = (certificate: X509Certificate) => chained || mayProveClient(certificate);
  const signed = (issuer: X509Certificate, certificate: X509Certificate, depth: number) =>
    (chained || mayIssue(issuer, depth)) && issued(issuer, certificate);
  const reach = (certificate: X509Certificate, depth: number): boolean => {
    if (!isCurrent(certificate, now) || !mayStand(certificate)) return false;
    if (anchors.some((anchor) => anchor.raw.equals(certificate.raw))) return true;
    if (anchors.some((anchor) => isCurrent(anchor, now) && signed(anchor, certificate, depth))) return true;
    if (depth === maxDepth) return false;
    return intermediates.some((issuer) => {
      // Each is tried once, because they may have signed one another.
      if (tried.has(issuer) || !issuer.ca || !signed(issuer, certificate, depth)) return false;
      tried.add(issuer);
      return reach(issuer, depth + 1);
    });
  };
  return reach(leaf, 0);
}

function isCurrent({ validFromDate, validToDate }: X509Certificate, now: number): boolean {
  return validFromDate.getTime() <= now && now <= validToDate.getTime();
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
