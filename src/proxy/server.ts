import type { IncomingMessage } from 'node:http';
import { ServerResponse } from 'node:http';
import type { Server, ServerOptions } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { buildStatus } from '../domain/status-error.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { readClientCertificate } from './client-certificate.ts';
import type { ClientConnection } from './exchange.ts';
import type { RequestHandler } from './handler.ts';
import { headerValue } from './headers.ts';
import { http1Exchange } from './http1-exchange.ts';
import { createHttp2Front } from './http2-front.ts';
import type { FrontLimits } from './limits.ts';
import { objectToHead, objectToUpgrade } from './objections.ts';
import type { ProxyMetrics } from './ports.ts';
import { splice } from './splice.ts';
import { writeStatus } from './write-status.ts';

/** What the TLS front proves, and whom it believes; all PEM. */
export interface FrontTls {
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates; undefined does not ask clients for any. An empty list believes nobody. */
  readonly clientCa: readonly string[] | undefined;
}

/** The listener and its limits. */
export interface ProxyServerOptions {
  readonly handler: RequestHandler;
  readonly tls: FrontTls;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Pick<ProxyMetrics, 'limited'>;
  readonly limits: FrontLimits;
}

/** How long each part of an orderly end may take. */
export interface DrainTimes {
  /** Watches run on for this long and are ended evenly over it, so that clients do not all come back at once. */
  readonly watchGraceMs: number;
  /** Then whatever still runs is cut. */
  readonly deadlineMs: number;
}

/** One TLS port for HTTP/1.1 and HTTP/2. */
export interface ProxyServer {
  /** `shared`: other processes may listen on the same port, and the kernel spreads connections over them. */
  listen(port: number, host: string, shared?: boolean): Promise<AddressInfo>;
  /** Keys of TLS session tickets, to be used by other processes on the same port. */
  ticketKeys(): Buffer;
  useTicketKeys(keys: Buffer): void;
  /** New connections get the new certificate and authorities; those that stand are left alone. */
  replaceTls(tls: FrontTls): void;
  /** Client connections now. */
  connections(): { readonly http1: number; readonly http2: number };
  /** Stops accepting, tells clients to go, lets requests finish and watches end until the deadlines. */
  drain(times: DrainTimes): Promise<void>;
}

/** Serves HTTP/2 and HTTP/1.1 on one port by ALPN, within limits, and refuses what two servers could read in two ways. */
export function createProxyServer(options: ProxyServerOptions): ProxyServer {
  const { handler, tls, log, clock, metrics, limits } = options;
  const connections = new WeakMap<Duplex, ClientConnection>();
  const sockets = new Set<Socket>();
  /** Connections that are not yet encrypted, by the client's address and port: Node does not tie the two together. */
  const shaking = new Map<string, Socket>();
  let draining = false;
  const connectionOf = (socket: Duplex): ClientConnection => {
    const existing = connections.get(socket);
    if (existing !== undefined) return existing;
    const remoteAddress = (socket as Socket).remoteAddress ?? 'unknown';
    const certificate = tls.clientCa === undefined ? undefined : readClientCertificate(socket as TLSSocket);
    const created: ClientConnection = { remoteAddress, certificate, home: undefined, sticky: new Map() };
    connections.set(socket, created);
    return created;
  };
  const listenerOptions: ServerOptions & { readonly allowHalfOpen: boolean } = {
    ...contextOptions(tls),
    // As kube-apiserver: asked for, not needed, and judged with each request rather than in the handshake.
    requestCert: tls.clientCa !== undefined,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: Math.min(10_000, limits.readHeaderTimeoutMs),
    // An upgraded connection may be half closed; Node's HTTP server ends the others itself.
    allowHalfOpen: true,
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.readHeaderTimeoutMs,
    // Whole requests are bounded by the handler, which knows the long-running ones.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(2_000, limits.readHeaderTimeoutMs),
    keepAliveTimeout: limits.idleTimeoutMs,
    requireHostHeader: true,
    insecureHTTPParser: false,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 15_000,
  };
  const server: Server = createServer(listenerOptions);
  // Node stops reading fields at this count without a word, so it reads one more than is allowed.
  server.maxHeadersCount = limits.maxHeaderFields + 1;
  server.maxConnections = limits.maxConnections;
  server.on('drop', () => metrics.limited.inc({ limit: 'connections' }));
  // Node only tells of it: whoever connects and says nothing, as a load balancer's check does, would stay for good.
  server.on('tlsClientError', (error, socket) => {
    log.debug('TLS handshake failed', { error: error.message });
    socket.destroy();
  });
  server.on('clientError', (error: Error & { code?: string }, socket: Duplex) => {
    log.debug('malformed request', { error: error.message });
    const { limit, line } = explainClientError(error.code);
    if (error.code !== 'ECONNRESET') metrics.limited.inc({ limit });
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    (socket as Socket).destroySoon();
  });
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket);
    sockets.add(socket);
    shaking.set(name, socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (shaking.get(name) === socket) shaking.delete(name);
    });
  });
  const refuse = (request: IncomingMessage): { code: number; message: string } | undefined => {
    if (request.rawHeaders.length / 2 > limits.maxHeaderFields) {
      metrics.limited.inc({ limit: 'header_fields' });
      return { code: 431, message: `more than ${limits.maxHeaderFields} header fields` };
    }
    const message = objectToHead(request);
    if (message !== undefined) metrics.limited.inc({ limit: 'ambiguous' });
    return message === undefined ? undefined : { code: 400, message };
  };
  // What follows a refused head on its connection may be a part of it that was read in another way.
  const refused = new WeakSet<Socket>();
  const onRequest = (request: IncomingMessage, response: ServerResponse, continues: boolean) => {
    if (refused.has(request.socket)) return;
    const exchange = http1Exchange(request, response, connectionOf(request.socket), () => draining, continues);
    const objection = refuse(request);
    if (objection === undefined) return handler.handle(exchange);
    refused.add(request.socket);
    writeStatus(exchange, buildStatus(objection.code, objection.message), ['Connection', 'close']);
    response.once('finish', () => request.socket.destroySoon());
  };
  server.on('request', (request, response) => onRequest(request, response, false));
  // The client waits for a word before it sends its body; it gets it when the body is wanted. RFC 9110, 10.1.1.
  server.on('checkContinue', (request, response) => onRequest(request, response, true));
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    metrics.limited.inc({ limit: 'ambiguous' });
    socket.on('error', () => {});
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    socket.destroySoon();
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    // What a refused client has sent already is read and dropped, or its end would never be seen.
    response.once('finish', () => {
      socket.resume();
      (socket as Socket).destroySoon();
    });
    const exchange = http1Exchange(request, response, connectionOf(socket), () => true, false);
    const protocol = headerValue(request.rawHeaders, 'upgrade') ?? '';
    const objection = refuse(request);
    if (objection !== undefined) return writeStatus(exchange, buildStatus(objection.code, objection.message));
    const upgradeObjection = objectToUpgrade(protocol, exchange.hasBody);
    if (upgradeObjection !== undefined) return writeStatus(exchange, buildStatus(400, upgradeObjection));
    handler.handle(exchange, {
      protocol,
      accept: (rawHeaders, peer) => {
        response.detachSocket(socket as Socket);
        socket.once('close', () => response.emit('close'));
        splice(socket, head, rawHeaders, peer);
      },
    });
  });
  const http2 = createHttp2Front({ handler, limits, log, metrics, connectionOf });
  serveHttp2(server, (socket) => http2.accept(socket));
  server.prependListener('secureConnection', (socket: TLSSocket) => shaking.delete(nameOf(socket)));
  return {
    listen: (port, host, shared = false) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port, host, reusePort: shared }, () => {
          server.removeListener('error', reject);
          server.on('error', (error) => log.error('listener failed', { error: error.message }));
          resolve(server.address() as AddressInfo);
        });
      }),
    ticketKeys: () => server.getTicketKeys(),
    useTicketKeys: (keys) => {
      server.setTicketKeys(keys);
    },
    replaceTls: (fresh) => {
      // A new context would have keys of its own.
      const keys = server.getTicketKeys();
      server.setSecureContext(contextOptions(fresh));
      server.setTicketKeys(keys);
    },
    connections: () => ({ http1: sockets.size - http2.sessions(), http2: http2.sessions() }),
    drain: async ({ watchGraceMs, deadlineMs }) => {
      draining = true;
      const ended = new AbortController();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      }).then(() => ended.abort());
      http2.drain();
      server.closeIdleConnections();
      for (const socket of shaking.values()) socket.destroy();
      await handler.endLongRunning(watchGraceMs, ended.signal);
      await clock.sleep(Math.max(0, deadlineMs - watchGraceMs), ended.signal);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

const noTicket = 1 << 14;

function contextOptions({ cert, key, clientCa }: FrontTls) {
  // Node's default is a hash of the command line, which differs between the processes that share a port.
  const own = { cert, key, sessionIdContext: 'peerdiscovery proxy' };
  if (clientCa === undefined) return { ...own, minVersion: 'TLSv1.2' as const };
  return {
    ...own,
    minVersion: 'TLSv1.2' as const,
    // Without any, Node would believe the public authorities; this server's own certificate vouches for nobody.
    ca: clientCa.length === 0 ? [cert] : [...clientCa],
    // Go takes an intermediate authority for a root where it is listed.
    allowPartialTrustChain: true,
    // SSL_OP_NO_TICKET: a resumed session would carry a verdict over from other authorities and another time.
    secureOptions: noTicket,
  };
}

function explainClientError(code: string | undefined): { limit: string; line: string } {
  if (code === 'HPE_HEADER_OVERFLOW') return { limit: 'header_bytes', line: '431 Request Header Fields Too Large' };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { limit: 'header_timeout', line: '408 Request Timeout' };
  return { limit: 'ambiguous', line: '400 Bad Request' };
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
