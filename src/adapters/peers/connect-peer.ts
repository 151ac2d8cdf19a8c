import type { TLSSocket } from 'node:tls';
import { parseAddress } from '../../domain/address.ts';
import { ConnectFault } from '../../http/client/dispatch.ts';
import { type HttpProtocol, OpenFault, openVerified } from '../../http/client/open-verified.ts';
import type { PeerTarget } from '../../proxy/ports.ts';
import type { AddressPolicy } from './address-policy.ts';
import type { PeerTlsMaterial } from './peer-tls.ts';

/** Opens TLS connections, and hands them out only after verifying the server's certificate. */
export interface PeerConnector {
  /** Rejects with a ConnectFault. */
  connect(target: PeerTarget, material: PeerTlsMaterial, protocol: HttpProtocol): Promise<TLSSocket>;
}

/** Connects to peers whose address the policy allows; see `openVerified` for what a connection has proved. */
export function createPeerConnector(addressPolicy: AddressPolicy, timeoutMs: number): PeerConnector {
  return {
    connect: async (target, material, protocol) => {
      const { address, serverName, pinned } = target;
      const verdict = pinned ? { ok: true as const } : addressPolicy.check(address);
      if (!verdict.ok) throw new ConnectFault('address', `${address}: ${verdict.reason}`);
      const parsed = parseAddress(address);
      if (parsed === undefined) throw new ConnectFault('address', `${address}: not host:port`);
      const { host, port } = parsed;
      try {
        return await openVerified(address, material, {
          host,
          port,
          serverName,
          protocol,
          timeoutMs,
          keepAliveMs: 15_000,
          sessions: { byKey: material.sessions, key: `${protocol} ${address} ${serverName}` },
          // An upgraded connection may be half closed. The owners of all others end them.
          socket: { allowHalfOpen: protocol === 'http/1.1', highWaterMark: 256 * 1024 },
        });
      } catch (error) {
        throw error instanceof OpenFault ? toConnectFault(address, protocol, error) : error;
      }
    },
  };
}

function toConnectFault(address: string, protocol: HttpProtocol, { reason, message, cause }: OpenFault): ConnectFault {
  const kind = reason === 'certificate' ? 'certificate' : 'connect';
  const fault = new ConnectFault(kind, `${address}: ${message}`, cause);
  fault.speaksHttp1 = reason === 'protocol' && protocol === 'h2';
  return fault;
}
