import { type AddressInfo, createServer as createListener, type Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { createServer } from 'node:tls';
import { buildStatus, type StatusError } from '../../domain/status-error.ts';
import type { RequestParsers } from '../../http/llhttp/request-parser.ts';
import { createFront } from '../../http/server/front.ts';
import { pieceCost } from '../../http/server/held-bytes.ts';
import type { HttpRefusal } from '../../http/server/refusal.ts';
import { socketName } from '../../http/server/socket-name.ts';
import { sweepWhileAny } from '../../http/server/sweep.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type KeptBytes, memoryCost } from '../admission/kept-bytes.ts';
import { readClientCertificate } from '../identity/client-certificate.ts';
import type { FrontLimits } from '../limits.ts';
import type { FrontTls, ProxyMetrics } from '../ports.ts';
import { ClientRequest } from '../request/client-request.ts';
import type { ClientConnection } from '../request/exchange.ts';
import { encodeStatus } from '../request/write-status.ts';
import type { RequestHandler } from './handler.ts';
import { HandshakeQueue } from './handshake-queue.ts';
import { isUpgradePassedOn } from './upgrade-rules.ts';

/** The listener and its limits. */
export interface ProxyServerOptions {
  readonly handler: RequestHandler;
  readonly requestParsers: RequestParsers;
  readonly tls: FrontTls;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Pick<ProxyMetrics, 'limited'>;
  readonly limits: FrontLimits;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly keptBytes: KeptBytes;
}

/** How long each part of a graceful shutdown may take. */
export interface DrainTimes {
  /** Watches run on for this long and are ended evenly over it, so that clients do not all come back at once. */
  readonly watchGraceMs: number;
  /** Then everything that still runs is cut. */
  readonly deadlineMs: number;
}

/** One TLS port for HTTP/1.1 and HTTP/2. */
export interface ProxyServer {
  /** If `shared`, other processes may listen on the same port, and the kernel spreads connections over them. */
  listen(port: number, host: string, options?: { readonly shared: boolean }): Promise<AddressInfo>;
  /** Keys of TLS session tickets for other processes on the same port. */
  ticketKeys(): Buffer;
  useTicketKeys(keys: Buffer): void;
  /** New connections get the new certificate and authorities. Open ones keep theirs. */
  replaceTls(tls: FrontTls): void;
  /** Number of client connections now. */
  connections(): { readonly http1: number; readonly http2: number };
  /** Stops accepting, tells clients to go, lets requests finish and watches end until the deadlines. */
  drain(times: DrainTimes): Promise<void>;
}

/** Serves HTTP/2 and HTTP/1.1 on one port by ALPN, within limits, and refuses requests with two possible readings. */
export function createProxyServer(options: ProxyServerOptions): ProxyServer {
  const { handler, requestParsers, tls, log, clock, metrics, limits, random, keptBytes } = options;
  const sendsAway = () => limits.goawayChance > 0 && random() < limits.goawayChance;
  const sockets = new Set<Socket>();
  /** Unencrypted connections by the client's address and port, because Node does not link the two. */
  const shaking = new Map<string, Socket>();
  const ended = new AbortController();
  const handshakeTimeoutMs = Math.min(10_000, limits.readHeaderTimeoutMs);
  const tlsOptions: TlsOptions = {
    ...contextOptions(tls),
    // Like kube-apiserver: certificates are requested but not required, and each request judges them, not the
    // handshake.
    requestCert: tls.clientCa !== undefined,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  };
  /** It does not listen: it gets each connection when it is its turn. */
  const server = createServer(tlsOptions);
  const handshakes = new HandshakeQueue<Socket>(
    handshakeTimeoutMs,
    (socket) => server.emit('connection', socket),
    () => clock.now(),
  );
  const waiting = new Set<typeof handshakes>();
  const sweepHandshakes = sweepWhileAny(waiting, limits, clock, ended.signal, log);
  const listener = createListener({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
  listener.maxConnections = limits.maxConnections;
  listener.on('drop', () => metrics.limited.inc({ limit: 'connections' }));
  // Node only reports this. A client that connects and stays silent, like a load balancer's check, would stay for ever.
  server.on('tlsClientError', (error, socket) => {
    log.debug('TLS handshake failed', { error: error.message });
    socket.destroy();
  });
  listener.on('connection', (socket: Socket) => {
    const name = socketName(socket);
    sockets.add(socket);
    shaking.set(name, socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (shaking.get(name) === socket) shaking.delete(name);
      if (sockets.size === 0) waiting.delete(handshakes);
    });
    handshakes.add(socket);
    waiting.add(handshakes);
    sweepHandshakes();
  });
  const front = createFront<ClientConnection>({
    parsers: requestParsers,
    limits,
    clock,
    log,
    signal: ended.signal,
    onExchange: (exchange, upgrade) => handler.handle(new ClientRequest(exchange), upgrade),
    onRefusal: (exchange, refusal) => handler.refuse(new ClientRequest(exchange), statusOf(refusal)),
    onLimit: (limit) => metrics.limited.inc({ limit }),
    // In JSON, because the client's accepted types are unknown.
    writeRefusal: (refusal) => encodeStatus(statusOf(refusal), ''),
    isUpgrade: isUpgradePassedOn,
    sendsAway,
    memoryOf: memoryCost,
  });
  keptBytes.watch(() => front.keepers());
  server.on('secureConnection', (socket) => {
    shaking.delete(socketName(socket));
    // Only an upgraded connection may stay half open; the HTTP servers end every other one. This is set after the
    // handshake, because a connection that ends before is useless.
    socket.allowHalfOpen = true;
    const client: ClientConnection = {
      remoteAddress: socket.remoteAddress ?? 'unknown',
      certificate: tls.clientCa === undefined ? undefined : readClientCertificate(socket),
      home: undefined,
      sticky: new Map(),
      date: () => clock.date(),
      keptBytes,
    };
    socket.on('data', (chunk: Buffer) => keptBytes.note(chunk.length + pieceCost));
    front.accept(socket, client, socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1');
  });
  return {
    listen: (port, host, { shared } = { shared: false }) =>
      new Promise((resolve, reject) => {
        listener.once('error', reject);
        listener.listen({ port, host, reusePort: shared }, () => {
          listener.removeListener('error', reject);
          listener.on('error', (error) => log.error('listener failed', { error: error.message }));
          resolve(listener.address() as AddressInfo);
        });
      }),
    ticketKeys: () => server.getTicketKeys(),
    useTicketKeys: (keys) => {
      server.setTicketKeys(keys);
    },
    replaceTls: (fresh) => {
      // A new context would have its own keys.
      const keys = server.getTicketKeys();
      server.setSecureContext(contextOptions(fresh));
      server.setTicketKeys(keys);
    },
    connections: () => ({ http1: sockets.size - front.http2Connections(), http2: front.http2Connections() }),
    drain: async ({ watchGraceMs, deadlineMs }) => {
      const closed = new Promise<void>((resolve) => {
        listener.close(() => resolve());
      }).then(() => ended.abort());
      front.drain();
      for (const socket of shaking.values()) socket.destroy();
      await handler.endLongRunning(watchGraceMs, ended.signal);
      await clock.sleep(Math.max(0, deadlineMs - watchGraceMs), ended.signal);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function statusOf({ status, message, retryAfterSeconds }: HttpRefusal): StatusError {
  return buildStatus(status, message, retryAfterSeconds);
}

const noTicket = 1 << 14;

function contextOptions({ cert, key, clientCa }: FrontTls) {
  // Node's default is a hash of the command line, which differs between the processes that share a port.
  const own = { cert, key, sessionIdContext: 'peerdiscovery proxy' };
  if (clientCa === undefined) return { ...own, minVersion: 'TLSv1.2' as const };
  return {
    ...own,
    minVersion: 'TLSv1.2' as const,
    // Without any, Node would trust the public CAs; this server's own certificate authenticates no client.
    ca: clientCa.length === 0 ? [cert] : [...clientCa],
    // If a CA file lists an intermediate, Go treats it as a root.
    allowPartialTrustChain: true,
    // SSL_OP_NO_TICKET: a resumed session would keep a verdict from other CAs and another time.
    secureOptions: noTicket,
  };
}
