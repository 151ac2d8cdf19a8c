import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { formatAddress } from '../../domain/address.ts';
import type { CertificatePair } from '../../runtime/issue-certificate.ts';
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

export type EndpointRoute = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

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

/**
 * Serves health and metrics like kube-apiserver's endpoints, until `signal` aborts or `close` is called.
 *
 * `/readyz` answers 200 `ok`, or 500 with a line per check (`[+]name ok`, `[-]name failed: message`). `?verbose` lists
 * the checks in both cases, `?exclude=name` skips one, and `/readyz/name` asks for one. Source:
 * https://kubernetes.io/docs/reference/using-api/health-checks/. Health is plain HTTP for everybody, because kubelets
 * ask that way. Metrics should have a certificate and a review of access.
 */
export async function serveEndpoint(options: EndpointOptions, signal: AbortSignal): Promise<Endpoint> {
  signal.throwIfAborted();
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    answer(options, request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'internal error\n');
    });
  };
  const timeouts = { requestTimeout: 10_000, headersTimeout: 5_000 };
  const { certificate } = options;
  const server =
    certificate === undefined
      ? createServer(timeouts, listener)
      : serveSecurely(
          createSecureServer({ ...timeouts, ...certificate(), minVersion: 'TLSv1.2' }, listener),
          certificate,
        );
  giveUpOldest(server);
  const { host, port } = parseBindAddress(options.bindAddress);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const stopped = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const close = () => {
    signal.removeEventListener('abort', stop);
    server.close();
    server.closeAllConnections();
    return stopped;
  };
  const stop = () => void close();
  signal.addEventListener('abort', stop, { once: true });
  const bound = server.address() as AddressInfo;
  return { address: formatAddress({ host: bound.address, port: bound.port }), close };
}

/** Number of connections that one endpoint keeps. */
const maxConnections = 256;

/**
 * If all places are taken, a new connection ends the oldest one without an open request. So strangers who only open
 * connections cannot keep a kubelet's probe out.
 */
function giveUpOldest(server: Server): void {
  // By the client's address, which a TCP connection and its TLS socket share.
  const open = new Map<string, Socket>();
  const answering = new Set<string>();
  server.on('connection', (socket: Socket) => {
    if (open.size >= maxConnections) {
      const oldest = [...open.keys()].find((one) => !answering.has(one)) ?? [...open.keys()][0];
      if (oldest !== undefined) open.get(oldest)?.destroy();
    }
    const client = clientOf(socket);
    open.set(client, socket);
    socket.once('close', () => {
      if (open.get(client) === socket) open.delete(client);
    });
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const client = clientOf(socket);
    answering.add(client);
    response.once('close', () => answering.delete(client));
  });
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Loads a renewed certificate within a minute. If it cannot be read, the last good one stays in use. */
function serveSecurely(server: SecureServer, certificate: () => CertificatePair): SecureServer {
  const renewal = setInterval(() => {
    try {
      server.setSecureContext({ ...certificate(), minVersion: 'TLSv1.2' });
    } catch {
      // A metric and an alert cover the expiry of the one in use.
    }
  }, 60_000);
  renewal.unref();
  server.once('close', () => clearInterval(renewal));
  return server;
}

async function answer(options: EndpointOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(`http://endpoint${request.url?.startsWith('/') === true ? request.url : '/'}`);
  if (options.reviewAccess !== undefined) {
    const verdict = await options.reviewAccess(readCredential(request), url.pathname);
    if (verdict !== 'allowed') return refuse(response, verdict, url.pathname);
  }
  const route = Object.hasOwn(options.extra ?? {}, url.pathname) ? options.extra?.[url.pathname] : undefined;
  if (route !== undefined) return route(request, response);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return sendText(response, 405, 'method not allowed\n');
  }
  const [, root = '', name, ...rest] = url.pathname.split('/');
  if (root === 'metrics' && name === undefined && options.metrics !== undefined) {
    return sendText(response, 200, await options.metrics(), 'text/plain; version=0.0.4; charset=utf-8');
  }
  if (options.checks === undefined || !['healthz', 'livez', 'readyz'].includes(root) || rest.length > 0) {
    return sendText(response, 404, '404 page not found\n');
  }
  const ping = { name: 'ping', ok: true, message: '' };
  const checks = root === 'readyz' ? [ping, ...options.checks()] : [ping];
  if (name === undefined || name === '') return sendReport(response, root, checks, url.searchParams);
  const single = checks.find((check) => check.name === name);
  if (single === undefined) return sendText(response, 404, '404 page not found\n');
  if (single.ok) return sendText(response, 200, 'ok');
  return sendText(response, 500, `internal server error: ${oneLine(single.message)}\n`);
}

/** An API server's proxy removes `Authorization`, so a token may also come in a header of our own. */
function readCredential({ headers }: IncomingMessage): Credential | undefined {
  const own = headers[delegatedTokenHeader];
  if (typeof own === 'string') return { token: own, delegated: true };
  const token = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  return token === undefined ? undefined : { token, delegated: false };
}

function refuse(response: ServerResponse, verdict: Exclude<AccessVerdict, 'allowed'>, path: string): void {
  if (verdict === 'unauthenticated') {
    response.setHeader('WWW-Authenticate', 'Bearer realm="peerdiscovery"');
    sendText(response, 401, 'Unauthorized: give a bearer token that the cluster knows\n');
  } else if (verdict === 'forbidden')
    sendText(response, 403, `Forbidden: bind the ClusterRole ${roleFor(path)} to this user\n`);
  else {
    response.setHeader('Retry-After', '5');
    sendText(response, 503, 'cannot ask the API server whether you may read this\n');
  }
}

function roleFor(path: string): string {
  return path === '/status' ? 'peerdiscovery-status-reader' : 'peerdiscovery-metrics-reader';
}

function sendReport(
  response: ServerResponse,
  root: string,
  checks: readonly ReadinessCheck[],
  parameters: URLSearchParams,
): void {
  const excluded = new Set(parameters.getAll('exclude'));
  const failing = checks.some(({ name, ok, informational }) => !ok && informational !== true && !excluded.has(name));
  if (!failing && !parameters.has('verbose')) {
    sendText(response, 200, 'ok');
    return;
  }
  const lines = checks.map(({ name, ok, message, informational }) => {
    if (excluded.has(name)) return `[+]${name} excluded: ok`;
    if (!ok && informational === true) return `[!]${name} failed, but does not count: ${oneLine(message)}`;
    return ok ? `[+]${name} ok` : `[-]${name} failed: ${oneLine(message)}`;
  });
  sendText(response, failing ? 500 : 200, `${lines.join('\n')}\n${root} check ${failing ? 'failed' : 'passed'}\n`);
}

function sendText(response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-cache, private',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
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
