import { isIP } from 'node:net';
import { type ConnectionOptions, type SecureContext, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { parseAddress } from '../../domain/address.ts';
import { ConnectFault } from '../../http/client/dispatch.ts';
import type { PeerTarget } from '../../proxy/ports.ts';
import type { TryEach } from '../../runtime/trust-anchors.ts';
import { withoutNodeAdvice } from '../../runtime/without-node-advice.ts';
import type { AddressPolicy } from './address-policy.ts';
import type { PeerTlsMaterial } from './peer-tls.ts';
import { checkPeerName } from './verified-connection.ts';

/** Protocols that a connection can be made for. */
export type PeerProtocol = 'http/1.1' | 'h2';

/** Opens TLS connections, and gives them out only once the server's certificate was verified. */
export interface PeerConnector {
  /** Rejects with a ConnectFault. */
  connect(target: PeerTarget, material: PeerTlsMaterial, protocol: PeerProtocol): Promise<TLSSocket>;
}

/**
 * Connects to peers; a connection that this gives out chains to the CA and bears the server name.
 *
 * A client certificate is part of the handshake, and Node checks the server's certificate only after it. So a
 * connection with one is made only right after an anonymous one has verified the server, and is verified again.
 */
export function createPeerConnector(addressPolicy: AddressPolicy, timeoutMs: number): PeerConnector {
  return {
    connect: async (target, material, protocol) => {
      const verdict = target.pinned ? { ok: true as const } : addressPolicy.check(target.address);
      if (!verdict.ok) throw new ConnectFault('address', `${target.address}: ${verdict.reason}`);
      const { anonymous, identified, sessions } = material;
      const options = { target, timeoutMs, protocol };
      const open = (by: TryEach<SecureContext>, kept: typeof sessions | undefined) =>
        by(target.address, (secureContext) => openVerified({ ...options, secureContext, sessions: kept }));
      if (identified === undefined) return open(anonymous, sessions);
      const check = await open(anonymous, undefined);
      check.on('error', () => {});
      check.end();
      check.destroySoon();
      return open(identified, sessions);
    },
  };
}

interface OpenOptions {
  readonly target: PeerTarget;
  readonly secureContext: SecureContext;
  readonly timeoutMs: number;
  readonly protocol: PeerProtocol;
  /** Undefined for a connection that must not resume, and leaves nothing to resume. */
  readonly sessions: Map<string, Buffer> | undefined;
}

function openVerified(options: OpenOptions): Promise<TLSSocket> {
  const { target, secureContext, timeoutMs, protocol, sessions } = options;
  const { address, serverName } = target;
  const parsed = parseAddress(address);
  if (parsed === undefined) return Promise.reject(new ConnectFault('address', `${address}: not host:port`));
  const sessionKey = `${protocol} ${address} ${serverName}`;
  return new Promise((resolve, reject) => {
    const session = sessions?.get(sessionKey);
    const connectOptions: ConnectionOptions & { readonly allowHalfOpen: boolean; readonly highWaterMark: number } = {
      host: parsed.host,
      port: parsed.port,
      // An upgraded connection may be half closed; the others are ended by their owner.
      allowHalfOpen: protocol === 'http/1.1',
      highWaterMark: 256 * 1024,
      secureContext,
      rejectUnauthorized: true,
      ALPNProtocols: protocol === 'h2' ? ['h2', 'http/1.1'] : ['http/1.1'],
      ...(isIP(serverName) === 0 && { servername: serverName }),
      checkServerIdentity: (_host, certificate) => checkPeerName(serverName, certificate.raw),
      ...(session !== undefined && { session }),
    };
    const socket = tlsConnect(connectOptions);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 15_000);
    const timer = setTimeout(() => {
      socket.destroy(new ConnectFault('connect', `${address}: no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    const fail = (error: Error & { code?: string }) => {
      clearTimeout(timer);
      sessions?.delete(sessionKey);
      // Node sets it only where the server's certificate was the trouble.
      const kind = socket.authorizationError ? 'certificate' : 'connect';
      socket.on('error', () => {});
      socket.destroy();
      reject(
        error instanceof ConnectFault
          ? error
          : new ConnectFault(kind, `${address}: ${withoutNodeAdvice(error.message)}`, error),
      );
    };
    const closed = () => fail(new Error('connection closed during the TLS handshake'));
    socket.once('error', fail);
    socket.once('close', closed);
    if (sessions !== undefined) socket.on('session', (fresh) => sessions.set(sessionKey, fresh));
    socket.once('secureConnect', () => {
      // `rejectUnauthorized` has seen to it; a second look costs nothing where credentials are at stake.
      if (!socket.authorized) return fail(new ConnectFault('certificate', `${address}: certificate not verified`));
      const spoken = socket.alpnProtocol;
      // An HTTP/1.1 server need not know ALPN; HTTP/2 over TLS does. RFC 9113, section 3.2.
      if (spoken !== protocol && !(spoken === false && protocol === 'http/1.1')) {
        const fault = new ConnectFault('connect', `${address}: does not speak ${protocol}`);
        fault.speaksHttp1 = protocol === 'h2';
        return fail(fault);
      }
      clearTimeout(timer);
      socket.off('error', fail);
      socket.off('close', closed);
      resolve(socket);
    });
  });
}
