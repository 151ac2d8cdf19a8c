import type { SecureContext, TLSSocket } from 'node:tls';
import { formatAddress } from '../../domain/address.ts';
import { OpenFault, openVerified } from '../../http/client/open-verified.ts';
import type { TryEach } from '../../runtime/trust-anchors.ts';

/** Why a peer gave nothing usable. */
export type PeerErrorReason =
  | 'Unreachable'
  | 'Timeout'
  | 'Refused'
  | 'Unauthorized'
  | 'Malformed'
  | 'TooLarge'
  | 'HTTPStatus';

/** A failed exchange with a peer, with its reason as a word. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  readonly reason: PeerErrorReason;
  constructor(reason: PeerErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Where to connect, and what the certificate there must prove. */
export interface VerifiedConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** DNS name that the certificate must contain; also sent as SNI. */
  readonly serverName: string;
  /** Holds the CA, but no client identity. */
  readonly anonymous: TryEach<SecureContext>;
  /** Holds the CA and the client's certificate. */
  readonly identified: TryEach<SecureContext> | undefined;
  readonly timeoutMs: number;
}

/**
 * Opens a connection for HTTP/1.1; see `openVerified` for what it has proved.
 *
 * @throws PeerError
 */
export async function openVerifiedConnection(options: VerifiedConnectionOptions): Promise<TLSSocket> {
  const { host, port, serverName, timeoutMs } = options;
  try {
    const socket = await openVerified(formatAddress(options), options, {
      host,
      port,
      serverName,
      protocol: 'http/1.1',
      timeoutMs,
      keepAliveMs: 5_000,
      socket: { minVersion: 'TLSv1.2' },
    });
    // The new owner of the socket listens too; until then, an error must not end the process.
    socket.on('error', () => {});
    return socket;
  } catch (error) {
    throw error instanceof OpenFault ? toPeerError(error, timeoutMs) : error;
  }
}

function toPeerError(fault: OpenFault, timeoutMs: number): PeerError {
  const options = { cause: fault.cause };
  switch (fault.reason) {
    case 'timeout':
      return new PeerError('Timeout', `no TLS connection within ${timeoutMs} ms`, options);
    case 'certificate':
      return new PeerError('Refused', `certificate does not verify: ${fault.message}`, options);
    default:
      return new PeerError('Unreachable', fault.message, options);
  }
}
