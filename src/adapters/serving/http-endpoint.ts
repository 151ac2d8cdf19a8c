import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createSecureServer } from 'node:tls';
import { formatAddress } from '../../domain/address.ts';
import { headerList } from '../../http/fields.ts';
import { loadRequestParsers } from '../../http/llhttp/request-parser.ts';
import type { HttpConnection, HttpExchange } from '../../http/server/exchange.ts';
import { createFront } from '../../http/server/front.ts';
import { socketName } from '../../http/server/socket-name.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { CertificatePair } from '../../runtime/issue-certificate.ts';
import { silentLog } from '../../runtime/log.ts';
import { type AccessVerdict, type Credential, delegatedTokenHeader, type ReviewAccess } from './review-access.ts';

/** One line of a health report. */
export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  /** For people; shown if the check fails. */
  readonly message: string;
  /** Shown, and failing on its own path, but not part of the whole. */
  readonly informational?: boolean;
}

/** A request, without its body. */
export interface EndpointRequest {
  readonly method: string;
  readonly path: string;
  readonly parameters: URLSearchParams;
}

/** A whole answer; the type is plain text unless its headers say otherwise. */
export interface EndpointAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

export type EndpointRoute = (request: EndpointRequest) => EndpointAnswer | Promise<EndpointAnswer>;

export interface EndpointOptions {
  /** `host:port`, `[ipv6]:port`, or `:port` for all interfaces. Port 0 takes a free one. */
  readonly bindAddress: string;
  /**
   * The checks of `/readyz`. Without them there is no `/readyz`, nor `/healthz` and `/livez`, which say that the
   * process answers.
   */
  readonly checks?: () => readonly ReadinessCheck[];
  /** The text of `/metrics`. Without it there is no such path. */
  readonly metrics?: () => Promise<string>;
  /** Serves HTTPS with this certificate. It is read again every minute, so it may be replaced. */
  readonly certificate?: () => CertificatePair;
  /** The users that may read anything here; everybody by default. */
  readonly reviewAccess?: ReviewAccess;
  /** More paths. */
  readonly extra?: Readonly<Record<string, EndpointRoute>>;
}

/** A listening endpoint. */
export interface Endpoint {
  /** `host:port` as bound. */
  readonly address: string;
  /** Stops listening and ends open connections. A second call does nothing. */
  close(): Promise<void>;
}

/** A client's connection; its owner is set once the client was let in. */
interface Visitor extends HttpConnection {
  owner?: string;
  /** Number of requests that are being answered. */
  running: number;
}

const maxConnections = 256;
const answerTimeoutMs = 30_000;
const handshakeTimeoutMs = 5_000;
/** A scrape a minute keeps its connection. */
const limits = {
  maxHeaderBytes: 16 * 1024,
  maxHeaderFields: 100,
  maxLongHeaderBytes: 0,
  maxStreamsPerConnection: 1,
  readHeaderTimeoutMs: 5_000,
  idleTimeoutMs: 90_000,
} as const;

/**
 * Serves health and metrics like kube-apiserver's endpoints, until `signal` aborts or `close` is called.
 *
 * `/readyz` answers 200 `ok`, or 500 with a line per check (`[+]name ok`, `[-]name failed: message`). `?verbose` lists
 * the checks in both cases, `?exclude=name` skips one, and `/readyz/name` asks for one. Source:
 * https://kubernetes.io/docs/reference/using-api/health-checks/. Health is plain HTTP for everybody, because kubelets
 * ask that way. Metrics should have a certificate and a review of access.
 *
 * Strangers can reach it, so it is the proxy's own HTTP server, without HTTP/2: a client has one request at a time, an
 * answer that nobody reads ends, and the oldest connection without an open request gives up its place.
 */
export async function serveEndpoint(options: EndpointOptions, signal: AbortSignal): Promise<Endpoint> {
  signal.throwIfAborted();
  const ended = new AbortController();
  const front = createFront<Visitor>({
    parsers: loadRequestParsers(),
    limits,
    clock: systemClock,
    log: silentLog,
    signal: ended.signal,
    onExchange: (exchange) => void serve(options, exchange),
    onRefusal: (exchange, { status, message }) => send(exchange, { status, body: `${message}\n` }),
    onLimit: () => {},
    writeRefusal: ({ message }) => ({ contentType: plainText, body: Buffer.from(`${message}\n`) }),
    isUpgrade: () => false,
    sendsAway: () => false,
    memoryOf: () => 0,
  });
  const visitors = new Map<string, { readonly socket: Socket; readonly visitor: Visitor }>();
  const accept = (socket: Socket) => {
    const known = visitors.get(socketName(socket));
    // A client may close its side and still wait for its answer.
    socket.allowHalfOpen = true;
    if (known === undefined) socket.destroy();
    else front.accept(socket, known.visitor, 'http/1.1');
  };
  const { certificate } = options;
  const listener = createServer({ noDelay: true });
  const secure = certificate && serveSecurely(certificate, accept, ended.signal);
  listener.on('connection', (socket: Socket) => {
    if (visitors.size >= maxConnections) giveUpOldest([...visitors.values()]);
    const name = socketName(socket);
    visitors.set(name, { socket, visitor: { remoteAddress: socket.remoteAddress ?? '', running: 0 } });
    socket.on('error', () => {});
    socket.once('close', () => {
      if (visitors.get(name)?.socket === socket) visitors.delete(name);
    });
    if (secure === undefined) accept(socket);
    else secure.emit('connection', socket);
  });
  const { host, port } = parseBindAddress(options.bindAddress);
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ port, ...(host === '' ? {} : { host }) }, () => {
      listener.off('error', reject);
      resolve();
    });
  });
  const stopped = new Promise<void>((resolve) => listener.once('close', () => resolve()));
  const close = () => {
    signal.removeEventListener('abort', stop);
    ended.abort();
    listener.close();
    for (const { socket } of visitors.values()) socket.destroy();
    return stopped;
  };
  const stop = () => void close();
  signal.addEventListener('abort', stop, { once: true });
  const bound = listener.address() as AddressInfo;
  return { address: formatAddress({ host: bound.address, port: bound.port }), close };
}

/**
 * Ends the oldest connection without an open request, so that strangers who only open connections cannot keep a
 * kubelet's probe out.
 */
function giveUpOldest(visitors: readonly { readonly socket: Socket; readonly visitor: Visitor }[]): void {
  (visitors.find(({ visitor }) => visitor.running === 0) ?? visitors[0])?.socket.destroy();
}

/**
 * A TLS server that gets its connections from another. It loads a renewed certificate within a minute. If it cannot be
 * read, the last good one stays in use.
 */
function serveSecurely(
  certificate: () => CertificatePair,
  accept: (socket: Socket) => void,
  signal: AbortSignal,
): Server {
  const context = () => ({ ...certificate(), minVersion: 'TLSv1.2' as const });
  const tls = { ...context(), handshakeTimeout: handshakeTimeoutMs, ALPNProtocols: ['http/1.1'] };
  const server = createSecureServer(tls, accept);
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  const renewal = setInterval(() => {
    try {
      server.setSecureContext(context());
    } catch {
      // A metric and an alert cover the expiry of the one in use.
    }
  }, 60_000);
  renewal.unref();
  signal.addEventListener('abort', () => clearInterval(renewal), { once: true });
  return server;
}

async function serve(options: EndpointOptions, exchange: HttpExchange<Visitor>): Promise<void> {
  const { connection } = exchange;
  connection.running++;
  const late = setTimeout(() => exchange.destroy(), answerTimeoutMs);
  exchange.onClose(() => {
    clearTimeout(late);
    connection.running--;
  });
  let found: EndpointAnswer;
  try {
    const answered = answer(options, exchange);
    // A synchronous answer is sent at once, so it does not use up the turn of unknown clients.
    found = answered instanceof Promise ? await answered : answered;
  } catch {
    found = { status: 500, body: 'internal error\n' };
  }
  send(exchange, found);
}

function answer(options: EndpointOptions, exchange: HttpExchange<Visitor>): EndpointAnswer | Promise<EndpointAnswer> {
  const { method, target, rawHeaders, connection } = exchange;
  const { pathname: path, searchParams: parameters } = new URL(
    `http://endpoint${target.startsWith('/') ? target : '/'}`,
  );
  const request = { method, path, parameters };
  const { reviewAccess } = options;
  if (reviewAccess === undefined) return route(options, request);
  return reviewAccess(readCredential(rawHeaders), path, connection.remoteAddress).then((verdict) => {
    if (verdict !== 'allowed') return refusal(verdict, path);
    connection.owner = 'allowed';
    return route(options, request);
  });
}

function route(options: EndpointOptions, request: EndpointRequest): EndpointAnswer | Promise<EndpointAnswer> {
  const { method, path, parameters } = request;
  const extra = Object.hasOwn(options.extra ?? {}, path) ? options.extra?.[path] : undefined;
  if (extra !== undefined) return extra(request);
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, headers: { Allow: 'GET, HEAD' }, body: 'method not allowed\n' };
  const [, root = '', name, ...rest] = path.split('/');
  if (root === 'metrics' && name === undefined && options.metrics !== undefined) {
    const headers = { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' };
    return options.metrics().then((body) => ({ status: 200, headers, body }));
  }
  const notFound = { status: 404, body: '404 page not found\n' };
  if (options.checks === undefined || !['healthz', 'livez', 'readyz'].includes(root) || rest.length > 0)
    return notFound;
  const ping = { name: 'ping', ok: true, message: '' };
  const checks = root === 'readyz' ? [ping, ...options.checks()] : [ping];
  if (name === undefined || name === '') return report(root, checks, parameters);
  const single = checks.find((check) => check.name === name);
  if (single === undefined) return notFound;
  if (single.ok) return { status: 200, body: 'ok' };
  return { status: 500, body: `internal server error: ${oneLine(single.message)}\n` };
}

/** An API server's proxy removes `Authorization`, so a token may also come in a header of our own. */
function readCredential(rawHeaders: readonly string[]): Credential | undefined {
  const own = headerList(rawHeaders, delegatedTokenHeader);
  if (own !== undefined) return { token: own, delegated: true };
  const token = /^Bearer +(\S+)$/i.exec(headerList(rawHeaders, 'authorization') ?? '')?.[1];
  return token === undefined ? undefined : { token, delegated: false };
}

function refusal(verdict: Exclude<AccessVerdict, 'allowed'>, path: string): EndpointAnswer {
  if (verdict === 'unauthenticated') {
    const headers = { 'WWW-Authenticate': 'Bearer realm="peerdiscovery"' };
    return { status: 401, headers, body: 'Unauthorized: give a bearer token that the cluster knows\n' };
  }
  if (verdict === 'forbidden')
    return { status: 403, body: `Forbidden: bind the ClusterRole ${roleFor(path)} to this user\n` };
  const headers = { 'Retry-After': '5' };
  return { status: 503, headers, body: 'cannot ask the API server whether you may read this\n' };
}

function roleFor(path: string): string {
  return path === '/status' ? 'peerdiscovery-status-reader' : 'peerdiscovery-metrics-reader';
}

function report(root: string, checks: readonly ReadinessCheck[], parameters: URLSearchParams): EndpointAnswer {
  const excluded = new Set(parameters.getAll('exclude'));
  const failing = checks.some(({ name, ok, informational }) => !ok && informational !== true && !excluded.has(name));
  if (!failing && !parameters.has('verbose')) return { status: 200, body: 'ok' };
  const lines = checks.map(({ name, ok, message, informational }) => {
    if (excluded.has(name)) return `[+]${name} excluded: ok`;
    if (!ok && informational === true) return `[!]${name} failed, but does not count: ${oneLine(message)}`;
    return ok ? `[+]${name} ok` : `[-]${name} failed: ${oneLine(message)}`;
  });
  const body = `${lines.join('\n')}\n${root} check ${failing ? 'failed' : 'passed'}\n`;
  return { status: failing ? 500 : 200, body };
}

const plainText = 'text/plain; charset=utf-8';

function send(exchange: HttpExchange<Visitor>, { status, headers = {}, body }: EndpointAnswer): void {
  const bytes = Buffer.from(body);
  const fields = {
    'Content-Type': plainText,
    'Content-Length': String(bytes.length),
    'Cache-Control': 'no-cache, private',
    'X-Content-Type-Options': 'nosniff',
    Date: new Date(systemClock.date()).toUTCString(),
    ...headers,
  };
  exchange.respond(status, Object.entries(fields).flat());
  exchange.end(exchange.method === 'HEAD' ? undefined : bytes);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function parseBindAddress(bindAddress: string): { readonly host: string; readonly port: number } {
  const [, inBrackets, plain, digits] = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]]*)):([0-9]{1,5})$/i.exec(bindAddress) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65535) throw new Error(`not a bind address: ${JSON.stringify(bindAddress)}`);
  return { host: inBrackets ?? plain ?? '', port };
}
