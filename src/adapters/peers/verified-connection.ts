import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { formatAddress } from '../../domain/address.ts';
import type { TryEach } from '../../runtime/trust-anchors.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';

/** Why nothing usable came from a peer. */
export type PeerErrorReason =
  | 'Unreachable'
  | 'Timeout'
  | 'Refused'
  | 'Unauthorized'
  | 'Malformed'
  | 'TooLarge'
  | 'HTTPStatus';

/** An exchange with a peer that failed, with its reason as a word. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  readonly reason: PeerErrorReason;
  constructor(reason: PeerErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Where to connect, and what the certificate found there has to prove. */
export interface VerifiedConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** DNS name that the certificate has to bear; also sent as SNI. */
  readonly serverName: string;
  /** Holds the CA, and nothing of the client's own identity. */
  readonly anonymous: TryEach<SecureContext>;
  /** Holds the CA and the client's certificate. */
  readonly identified: TryEach<SecureContext> | undefined;
  readonly timeoutMs: number;
}

/**
 * Opens a TLS connection whose server certificate chains to the CA and bears the server name as a DNS SAN, or fails.
 *
 * A token cannot leak: the caller gets the socket only after that. A client certificate is part of the handshake, and
 * Node checks the server's certificate only after the handshake, so with one there are two connections: the first is
 * anonymous and only checks the server, the second, to the same address and checked in the same way, presents the
 * certificate. What remains: somebody who can swap the server between the two sees the client's certificate, which is
 * public, and a signature that is good for that handshake only; never its key, and never a request.
 */
export async function openVerifiedConnection(options: VerifiedConnectionOptions): Promise<TLSSocket> {
  const { anonymous, identified } = options;
  const open = (by: TryEach<SecureContext>) =>
    by(formatAddress(options), (secureContext) => openConnection(options, secureContext));
  if (identified === undefined) return open(anonymous);
  const check = await open(anonymous);
  check.end();
  check.destroySoon();
  return open(identified);
}

function openConnection(options: VerifiedConnectionOptions, secureContext: SecureContext): Promise<TLSSocket> {
  const { host, port, serverName, timeoutMs } = options;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: serverName,
      secureContext,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      checkServerIdentity: (_host, certificate) => checkPeerName(serverName, certificate.raw),
    });
    const timer = setTimeout(() => {
      socket.destroy(new PeerError('Timeout', `no TLS connection within ${timeoutMs} ms`));
    }, timeoutMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      // Node sets it only where the server's certificate was the trouble.
      const refused = Boolean(socket.authorizationError);
      socket.destroy();
      reject(
        error instanceof PeerError
          ? error
          : refused
            ? new PeerError('Refused', `certificate does not verify: ${withoutNodeAdvice(error.message)}`, {
                cause: error,
              })
            : new PeerError('Unreachable', error.message || String(error), { cause: error }),
      );
    };
    const closed = () => fail(new Error('connection closed during the TLS handshake'));
    socket.once('error', fail);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      if (!socket.authorized) return fail(new PeerError('Refused', 'certificate does not verify'));
      clearTimeout(timer);
      socket.off('error', fail);
      socket.off('close', closed);
      // Whoever takes the socket over listens too; until then an error must not end the process.
      socket.on('error', () => {});
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 5_000);
      resolve(socket);
    });
  });
}

/** Only a SAN counts; Node alone would fall back to the subject's common name. */
export function checkPeerName(serverName: string, rawCertificate: Buffer | undefined): Error | undefined {
  if (rawCertificate === undefined) return new Error('no certificate');
  const certificate = new X509Certificate(rawCertificate);
  const found =
    isIP(serverName) === 0
      ? certificate.checkHost(serverName, { subject: 'never', wildcards: false })
      : certificate.checkIP(serverName);
  if (found !== undefined) return undefined;
  const names = certificate.subjectAltName ?? 'none';
  return new Error(`not for ${serverName} (names: ${names.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)})`);
}
