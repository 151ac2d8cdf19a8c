import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { formatAddress } from '../../domain/address.ts';

/** One line of a health report. */
export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  /** For people; shown where the check fails. */
  readonly message: string;
  /** Shown, and failing on its own path, but not counted for the whole. */
  readonly informational?: boolean;
}

export type EndpointRoute = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface EndpointOptions {
  /** `host:port`, `[ipv6]:port`, or `:port` for all interfaces; port 0 takes a free one. */
  readonly bindAddress: string;
  /** What `/readyz` depends on. `/healthz` and `/livez` only say that the process answers. */
  readonly checks: () => readonly ReadinessCheck[];
  /** The text of `/metrics`. */
  readonly metrics: () => Promise<string>;
  /** More paths. */
  readonly extra?: Readonly<Record<string, EndpointRoute>>;
}

/** A listening endpoint. */
export interface Endpoint {
  /** `host:port` as bound. */
  readonly address: string;
  /** Stops listening and ends open connections; a second call does nothing. */
  close(): Promise<void>;
}

/**
 * Serves health and metrics in the form of kube-apiserver's endpoints, until `signal` aborts or `close` is called.
 *
 * `/readyz` answers 200 `ok`, or 500 with a line per check (`[+]name ok`, `[-]name failed: message`); `?verbose` lists
 * the checks in either case, `?exclude=name` leaves one out, `/readyz/name` asks for one. Source:
 * https://kubernetes.io/docs/reference/using-api/health-checks/. Plain HTTP and no authentication: it carries no
 * secrets.
 */
export async function serveEndpoint(options: EndpointOptions, signal: AbortSignal): Promise<Endpoint> {
  signal.throwIfAborted();
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    answer(options, request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'internal error\n');
    });
  });
  server.maxConnections = 256;
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

async function answer(options: EndpointOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(`http://endpoint${request.url?.startsWith('/') === true ? request.url : '/'}`);
  const route = Object.hasOwn(options.extra ?? {}, url.pathname) ? options.extra?.[url.pathname] : undefined;
  if (route !== undefined) return route(request, response);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return sendText(response, 405, 'method not allowed\n');
  }
  const [, root = '', name, ...rest] = url.pathname.split('/');
  if (root === 'metrics' && name === undefined) {
    return sendText(response, 200, await options.metrics(), 'text/plain; version=0.0.4; charset=utf-8');
  }
  if (!['healthz', 'livez', 'readyz'].includes(root) || rest.length > 0) {
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
    if (!ok && informational === true) return `[!]${name} does not hold, but is not counted: ${oneLine(message)}`;
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
