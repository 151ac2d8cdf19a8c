import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { TryEach } from '../../runtime/trust-anchors.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';

/** Protocols of a connection. */
export type HttpProtocol = 'http/1.1' | 'h2';

/** TLS sessions to resume, and the key of this connection's session among them. */
export interface KeptSessions {
  readonly byKey: Map<string, Buffer>;
  readonly key: string;
}

/** Where to connect, and what the certificate there must prove. */
export interface VerifiedOptions {
  readonly host: string;
  readonly port: number;
  /** The name that the certificate must contain. */
  readonly serverName: string;
  readonly protocol: HttpProtocol;
  readonly timeoutMs: number;
  readonly keepAliveMs: number;
  /** Undefined for a connection that must neither resume a session nor store one. */
  readonly sessions?: KeptSessions | undefined;
  /** Fields in addition to these. */
  readonly socket?: Pick<ConnectionOptions, 'minVersion'> & {
    readonly allowHalfOpen?: boolean;
    readonly highWaterMark?: number;
  };
}

/** TLS contexts: they verify the server, and present this side's certificate. */
export interface Contexts {
  /** Verifies the server and presents no certificate. */
  readonly anonymous: TryEach<SecureContext>;
  /** Verifies the server and presents a certificate; only for a server that `anonymous` has verified. */
  readonly identified: TryEach<SecureContext> | undefined;
}

/**
 * Why there is no connection.
 *
 * - `timeout`: the server took too long.
 * - `certificate`: the server's certificate does not verify.
 * - `protocol`: the server is verified, but does not speak the protocol.
 * - `connection`: any other reason.
 */
export type OpenFaultReason = 'timeout' | 'certificate' | 'protocol' | 'connection';

/** A connection that failed to open. */
export class OpenFault extends Error {
  override readonly name = 'OpenFault';
  readonly reason: OpenFaultReason;
  constructor(reason: OpenFaultReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/**
 * Opens a TLS connection whose server certificate chains to the CA and contains the server name, or rejects.
 *
 * A credential cannot leak: the caller gets the socket only after the verification. But a client certificate is part of
 * the handshake, and Node checks the server's certificate only after the handshake. So with a client certificate there
 * are two connections. The first is anonymous and only checks the server. The second, to the same address and with the
 * same check, presents the certificate. One risk remains: an attacker who swaps the server between the two sees the
 * client's certificate, which is public, and a signature that is valid only for that handshake. The attacker never sees
 * the key or a request.
 *
 * `server` names the server for `contexts`. The socket has no listener when the caller gets it.
 *
 * @throws OpenFault
 */
export async function openVerified(
  server: string,
  { anonymous, identified }: Contexts,
  options: VerifiedOptions,
): Promise<TLSSocket> {
  if (identified === undefined) return anonymous(server, (context) => open(context, options));
  const check = await anonymous(server, (context) => open(context, { ...options, sessions: undefined }));
  check.on('error', () => {});
  check.end();
  check.destroySoon();
  return identified(server, (context) => open(context, options));
}

function open(secureContext: SecureContext, options: VerifiedOptions): Promise<TLSSocket> {
  const { host, port, serverName, protocol, timeoutMs, keepAliveMs, sessions } = options;
  return new Promise((resolve, reject) => {
    const session = sessions?.byKey.get(sessions.key);
    const socket = connect({
      ...options.socket,
      host,
      port,
      secureContext,
      rejectUnauthorized: true,
      ALPNProtocols: protocol === 'h2' ? ['h2', 'http/1.1'] : ['http/1.1'],
      ...(isIP(serverName) === 0 && { servername: serverName }),
      checkServerIdentity: (_host, certificate) => checkServerName(serverName, certificate.raw),
      ...(session !== undefined && { session }),
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    const timer = setTimeout(() => {
      socket.destroy(new OpenFault('timeout', `no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      sessions?.byKey.delete(sessions.key);
      // Node sets it only if the server's certificate was the problem.
      const reason = socket.authorizationError ? 'certificate' : 'connection';
      socket.on('error', () => {});
      socket.destroy();
      if (error instanceof OpenFault) reject(error);
      else reject(new OpenFault(reason, withoutNodeAdvice(error.message || String(error)), error));
    };
    const closed = () => fail(new Error('connection closed during the TLS handshake'));
    socket.once('error', fail);
    socket.once('close', closed);
    if (sessions !== undefined) socket.on('session', (fresh) => sessions.byKey.set(sessions.key, fresh));
    socket.once('secureConnect', () => {
      // `rejectUnauthorized` ensures this. Credentials are at stake, and a second check costs nothing.
      if (!socket.authorized) return fail(new OpenFault('certificate', 'certificate not verified'));
      const spoken = socket.alpnProtocol;
      // An HTTP/1.1 server need not know ALPN; HTTP/2 over TLS requires it. RFC 9113, section 3.2.
      if (spoken !== protocol && !(spoken === false && protocol === 'http/1.1'))
        return fail(new OpenFault('protocol', `does not speak ${protocol}`));
      clearTimeout(timer);
      socket.off('error', fail);
      socket.off('close', closed);
      resolve(socket);
    });
  });
}

/**
 * Undefined if the certificate, in DER, is for this DNS name or IP address. Only a SAN counts; Node alone would fall
 * back to the subject's common name.
 */
export function checkServerName(serverName: string, rawCertificate: Buffer | undefined): Error | undefined {
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
