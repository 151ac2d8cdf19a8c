import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { TestAuthority } from './test-certificates.ts';

/** A request that a peer has seen. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage['headers'];
  /** The common name in its client certificate. */
  readonly clientName: string | undefined;
}

/** A TLS server on loopback that stands for a kube-apiserver. */
export interface LoopbackPeer {
  readonly address: string;
  readonly seen: SeenRequest[];
  /** Sets its answers from now on. */
  answer: (request: IncomingMessage, response: ServerResponse) => void;
  /** Sets its answer to `/readyz` from now on. */
  onReadyz: (request: IncomingMessage, response: ServerResponse) => void;
  onUpgrade: (request: IncomingMessage, socket: Socket) => void;
  /** Breaks every connection and stops listening, as on SIGKILL. */
  kill(): Promise<void>;
}

/** Starts a peer that answers 200 with its name, and ok for `/readyz`, until a test changes that. */
export async function startLoopbackPeer(
  name: string,
  authority: TestAuthority,
  dnsName = 'kubernetes.default.svc',
): Promise<LoopbackPeer> {
  const { certPem, keyPem } = authority.issue({ commonName: 'kube-apiserver', dnsNames: [dnsName] });
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  const options: ServerOptions & { readonly allowHalfOpen: boolean } = {
    cert: certPem,
    key: keyPem,
    allowHalfOpen: true,
    // As in kube-apiserver.
    maxHeaderSize: 1024 * 1024,
    requestCert: true,
    rejectUnauthorized: false,
  };
  const server = createServer(options, (request, response) => {
    if (request.url === '/readyz') return peer.onReadyz(request, response);
    const { method = '', url = '', rawHeaders, headers } = request;
    const subject = (request.socket as TLSSocket).getPeerX509Certificate()?.subject;
    seen.push({ method, url, rawHeaders, headers, clientName: subject?.replace('CN=', '') });
    return peer.answer(request, response);
  });
  server.maxHeadersCount = 0;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket: Socket) => peer.onUpgrade(request, socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const peer: LoopbackPeer = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    answer: (_request, response) => response.end(name),
    onReadyz: (_request, response) => response.end('ok'),
    onUpgrade: (_request, socket) => socket.destroy(),
    kill: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return peer;
}
