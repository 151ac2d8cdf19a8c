import type { IncomingMessage } from 'node:http';
import { ServerResponse } from 'node:http';
import type { ServerHttp2Session } from 'node:http2';
import { performServerHandshake } from 'node:http2';
import type { Server, ServerOptions } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { buildStatus } from '../domain/status-error.ts';
import type { Log } from '../runtime/log.ts';
import type { ClientConnection } from './exchange.ts';
import { http1Exchange, http2Exchange } from './exchange.ts';
import type { RequestHandler } from './handler.ts';
import { headerValue } from './headers.ts';
import { writeStatus } from './write-status.ts';

/** A certificate with its key, as PEM. */
export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
}

/** The listener and its limits. */
export interface ProxyServerOptions {
  readonly handler: RequestHandler;
  readonly certificate: ServingCertificate;
  readonly log: Log;
  readonly maxHeadBytes?: number;
  readonly maxHeaders?: number;
  readonly maxStreamsPerConnection?: number;
  readonly maxConnections?: number;
  readonly headersTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
}

/** One TLS port for HTTP/1.1 and HTTP/2. */
export interface ProxyServer {
  listen(port: number, host: string): Promise<AddressInfo>;
  /** New connections get the new certificate; those that stand are left alone. */
  replaceCertificate(certificate: ServingCertificate): void;
  /** Stops accepting, tells clients to go, ends watches, lets the rest finish until the deadline. */
  drain(deadlineMs: number): Promise<void>;
}

/**
 * Serves HTTP/2 and HTTP/1.1 on one port by ALPN, and refuses what two servers could read in two ways.
 *
 * Beyond Node's strict parser: exactly one Host, origin-form target, no Transfer-Encoding on HTTP/1.0, and none beside
 * Content-Length. RFC 9112, sections 3.2 and 6.
 */
export function createProxyServer(options: ProxyServerOptions): ProxyServer {
  const { handler, certificate, log, maxHeadBytes = 64 * 1024, maxHeaders = 200 } = options;
  const { maxStreamsPerConnection = 250, headersTimeoutMs = 20_000, idleTimeoutMs = 120_000 } = options;
  const connections = new WeakMap<Duplex, ClientConnection>();
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  let draining = false;
  const connectionOf = (socket: Duplex): ClientConnection => {
    const existing = connections.get(socket);
    if (existing !== undefined) return existing;
    const remoteAddress = (socket as Socket).remoteAddress ?? 'unknown';
    const created: ClientConnection = { remoteAddress, home: undefined, sticky: new Map() };
    connections.set(socket, created);
    return created;
  };
  const listenerOptions: ServerOptions & { readonly allowHalfOpen: boolean } = {
    ...certificate,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: 10_000,
    // An upgraded connection may be half closed; Node's HTTP server ends the others itself.
    allowHalfOpen: true,
    maxHeaderSize: maxHeadBytes,
    headersTimeout: headersTimeoutMs,
    // Whole requests may take as long as their body does; only the head is bounded.
    requestTimeout: 0,
    keepAliveTimeout: idleTimeoutMs,
    requireHostHeader: true,
    insecureHTTPParser: false,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 15_000,
  };
  const server: Server = createServer(listenerOptions);
  server.maxHeadersCount = maxHeaders;
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  server.on('tlsClientError', (error) => log.debug('TLS handshake failed', { error: error.message }));
  server.on('clientError', (error: Error & { code?: string }, socket: Duplex) => {
    log.debug('malformed request', { error: error.message });
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const code = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${code}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('request', (request, response) => {
    const exchange = http1Exchange(request, response, connectionOf(request.socket), () => draining);
    const objection = objectTo(request, maxHeaders);
    if (objection === undefined) return handler.handle(exchange);
    writeStatus(exchange, buildStatus(400, objection), ['Connection', 'close']);
    response.once('finish', () => request.socket.destroySoon());
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.once('finish', () => socket.end());
    const exchange = http1Exchange(request, response, connectionOf(socket), () => true);
    const protocol = headerValue(request.rawHeaders, 'upgrade') ?? '';
    const objection = objectTo(request, maxHeaders) ?? objectToUpgrade(protocol, exchange.hasBody);
    if (objection !== undefined) return writeStatus(exchange, buildStatus(400, objection));
    handler.handle(exchange, {
      protocol,
      accept: (rawHeaders, peer) => {
        response.detachSocket(socket as Socket);
        socket.once('close', () => response.emit('close'));
        splice(socket, head, rawHeaders, peer);
      },
    });
  });
  serveHttp2(server, (socket) => {
    const session = performServerHandshake(socket, {
      maxHeaderListPairs: maxHeaders + 4,
      maxSessionMemory: 64,
      settings: {
        maxConcurrentStreams: maxStreamsPerConnection,
        maxHeaderListSize: maxHeadBytes,
        initialWindowSize: 256 * 1024,
        enablePush: false,
      },
    });
    sessions.add(session);
    if (draining) session.close();
    const connection = connectionOf(socket);
    session.once('close', () => sessions.delete(session));
    session.on('error', (error) => log.debug('HTTP/2 session failed', { error: error.message }));
    session.setTimeout(idleTimeoutMs * 5, () => session.close());
    session.on('stream', (stream, _headers, _flags, rawHeaders) => {
      const raw = Array.isArray(rawHeaders) ? (rawHeaders as string[]) : [];
      const exchange = http2Exchange(stream, raw, stream.endAfterHeaders, connection);
      const objection = objectToTarget(exchange.method, exchange.target) ?? objectToHost(exchange.rawHeaders);
      if (objection === undefined) handler.handle(exchange);
      else writeStatus(exchange, buildStatus(400, objection));
    });
  });
  return {
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () => {
          server.removeListener('error', reject);
          server.on('error', (error) => log.error('listener failed', { error: error.message }));
          resolve(server.address() as AddressInfo);
        });
      }),
    replaceCertificate: (fresh) => server.setSecureContext({ ...fresh, minVersion: 'TLSv1.2' }),
    drain: async (deadlineMs) => {
      draining = true;
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const session of sessions) session.close();
      handler.endLongRunning();
      server.closeIdleConnections();
      const deadline = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, deadlineMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

/** Hands `h2` connections over, and leaves the rest to the HTTP/1.1 server that `server` is. */
function serveHttp2(server: Server, accept: (socket: TLSSocket) => void): void {
  const http1 = server.listeners('secureConnection');
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') return accept(socket);
    for (const listener of http1) listener.call(server, socket);
  });
}

function objectTo(request: IncomingMessage, maxHeaders: number): string | undefined {
  const { rawHeaders, method = '', url = '' } = request;
  if (rawHeaders.length / 2 > maxHeaders - 1) return 'too many header fields';
  const encoding = headerValue(rawHeaders, 'transfer-encoding');
  if (encoding !== undefined && request.httpVersion !== '1.1') return 'Transfer-Encoding needs HTTP/1.1';
  if (encoding !== undefined && headerValue(rawHeaders, 'content-length') !== undefined)
    return 'Content-Length and Transfer-Encoding together';
  if (request.httpVersion !== '1.1' && request.httpVersion !== '1.0') return 'unknown version of HTTP';
  return objectToTarget(method, url) ?? objectToHost(rawHeaders);
}

function objectToTarget(method: string, target: string): string | undefined {
  if (method === 'CONNECT' || method === 'TRACE') return `${method} is not served`;
  return target.startsWith('/') ? undefined : 'the request target is not in origin form';
}

function objectToHost(rawHeaders: readonly string[]): string | undefined {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]?.toLowerCase() === 'host') hosts++;
  return hosts === 1 ? undefined : 'exactly one Host is needed';
}

function objectToUpgrade(protocol: string, hasBody: boolean): string | undefined {
  if (hasBody) return 'a request to upgrade must not have a body';
  return /^(websocket|spdy\/3\.1)$/i.test(protocol) ? undefined : 'only websocket and SPDY/3.1 can be upgraded to';
}

/** Joins both sides; the end of one side is passed on without closing the other direction. */
function splice(client: Duplex, head: Buffer, rawHeaders: readonly string[], peer: Duplex): void {
  const lines = ['HTTP/1.1 101 Switching Protocols'];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  client.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (head.length > 0) peer.write(head);
  const cut = () => {
    client.destroy();
    peer.destroy();
  };
  for (const side of [client, peer]) side.on('error', cut);
  client.once('close', () => peer.destroy());
  peer.once('close', () => {
    if (!client.writableEnded) client.end();
  });
  client.pipe(peer);
  peer.pipe(client);
}
