import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import { buildStatus } from '../../src/domain/status-error.ts';
import { headerList, headerValue } from '../../src/http/fields.ts';
import { loadRequestParsers } from '../../src/http/llhttp/request-parser.ts';
import { createFront } from '../../src/http/server/front.ts';
import type { HttpRefusal } from '../../src/http/server/refusal.ts';
import { memoryCost } from '../../src/proxy/admission/kept-bytes.ts';
import type { RequestHandler } from '../../src/proxy/front/handler.ts';
import { isUpgradePassedOn } from '../../src/proxy/front/upgrade-rules.ts';
import { defaultLimits } from '../../src/proxy/limits.ts';
import { ClientRequest } from '../../src/proxy/request/client-request.ts';
import type { ClientConnection, Exchange } from '../../src/proxy/request/exchange.ts';
import { encodeStatus, writeStatus } from '../../src/proxy/request/write-status.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createManualClock } from './manual-clock.ts';

/** A request that a front read completely and passed on. */
export interface HandledRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  /** Latin1; undefined if there is none. */
  readonly body: string | undefined;
  /** The protocol that the client wants to switch to. */
  readonly upgrade: string | undefined;
}

/** The result of one connection. */
export interface Http1Run {
  readonly handled: readonly HandledRequest[];
  /** All bytes that were sent back, as latin1. */
  readonly received: string;
  /** True if the front ended the connection. */
  readonly ended: boolean;
}

const limits = { ...defaultLimits, maxHeaderBytes: 8_192, maxHeaderFields: 50 };

/** Runs everything that is ready. */
async function settle(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function converse(
  serve: (socket: Duplex) => void,
  pieces: readonly Buffer[],
): Promise<Omit<Http1Run, 'handled'>> {
  const [server, client] = duplexPair();
  const received: Buffer[] = [];
  let ended = false;
  const onEnd = () => {
    ended = true;
    if (!client.writableEnded) client.end();
  };
  client.on('data', (chunk: Buffer) => received.push(chunk));
  client.on('error', () => {});
  client.on('end', onEnd);
  client.on('close', () => (ended = true));
  server.on('close', () => (ended = true));
  serve(server);
  for (const piece of pieces) {
    if (client.writableEnded || client.destroyed) break;
    client.write(piece);
    await settle(pieces.length > 8 ? 1 : 6);
  }
  await settle(20);
  const run = { received: Buffer.concat(received).toString('latin1'), ended };
  client.destroy();
  server.destroy();
  await settle(2);
  return run;
}

/** A front of our own over any stream. */
export function createFrontUnderTest(handler: Pick<RequestHandler, 'handle'>, clock = createManualClock()) {
  const ended = new AbortController();
  const statusOf = ({ status, message, retryAfterSeconds }: HttpRefusal) =>
    buildStatus(status, message, retryAfterSeconds);
  const front = createFront<ClientConnection>({
    onExchange: (exchange, upgrade) => handler.handle(new ClientRequest(exchange), upgrade),
    onRefusal: (exchange, refusal) => writeStatus(new ClientRequest(exchange), statusOf(refusal)),
    onLimit: () => {},
    writeRefusal: (refusal) => encodeStatus(statusOf(refusal), ''),
    isUpgrade: isUpgradePassedOn,
    memoryOf: memoryCost,
    parsers: loadRequestParsers(),
    limits,
    log: silentLog,
    clock,
    sendsAway: () => false,
    signal: ended.signal,
  });
  return {
    accept: (socket: Duplex, client: ClientConnection) => front.accept(socket, client, 'http/1.1'),
    drain: () => front.drain(),
    keepers: () => front.keepers(),
    stop: () => ended.abort(),
  };
}

/** Sends the pieces to the shipped front. It answers 200 with `ok` to each complete request. */
export async function runFront(pieces: readonly Buffer[]): Promise<Http1Run> {
  const handled: HandledRequest[] = [];
  const answer = async (exchange: Exchange, upgrade: string | undefined) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of exchange.body() ?? []) chunks.push(chunk);
    const { method, target, rawHeaders, hasBody } = exchange;
    const body = hasBody ? Buffer.concat(chunks).toString('latin1') : undefined;
    handled.push({ method, target, rawHeaders, body, upgrade });
    exchange.respond(200, ['Content-Length', '2']);
    exchange.end(method === 'HEAD' ? undefined : Buffer.from('ok'));
  };
  const front = createFrontUnderTest({
    handle: (exchange, upgrade) => void answer(exchange, upgrade?.protocol).catch(() => {}),
  });
  const client = { remoteAddress: '::1', certificate: undefined, home: undefined, sticky: new Map() };
  try {
    const { received, ended } = await converse((socket) => front.accept(socket, client), pieces);
    // The only part that differs each time.
    return { handled, received: received.replaceAll(/Audit-Id: [0-9a-f-]{36}/g, 'Audit-Id: some'), ended };
  } finally {
    front.stop();
  }
}

/**
 * The same with Node's server and the checks that it needs around it. It was the front before this project had its own
 * framing, and serves as the reference.
 */
export async function runNodeServer(pieces: readonly Buffer[]): Promise<Http1Run> {
  // Node starts a request before the previous one is complete.
  const begun: (HandledRequest | undefined)[] = [];
  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    requireHostHeader: true,
    insecureHTTPParser: false,
    headersTimeout: 0,
    requestTimeout: 0,
    keepAliveTimeout: 0,
  });
  server.maxHeadersCount = limits.maxHeaderFields + 1;
  const refused = new WeakSet<object>();
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    if (refused.has(request.socket)) return;
    const status = objectToHead(request);
    if (status !== undefined) {
      refused.add(request.socket);
      response.writeHead(status, { 'Content-Length': '0', Connection: 'close' }).end();
      return;
    }
    const chunks: Buffer[] = [];
    const at = begun.push(undefined) - 1;
    for await (const chunk of request) chunks.push(chunk as Buffer);
    begun[at] = describe(request, Buffer.concat(chunks).toString('latin1'), undefined);
    response.writeHead(200, { 'Content-Length': '2' }).end(request.method === 'HEAD' ? undefined : 'ok');
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse) =>
    void answer(request, response).catch(() => {});
  server.on('request', onRequest);
  server.on('checkContinue', (request, response) => {
    if (objectToHead(request) === undefined) response.writeContinue();
    onRequest(request, response);
  });
  const say = (socket: Duplex, line: string) =>
    socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  server.on('connect', (_request, socket) => say(socket, '400 Bad Request'));
  server.on('upgrade', (request, socket) => {
    const protocol = headerValue(request.rawHeaders, 'upgrade') ?? '';
    const status = objectToHead(request);
    if (status !== undefined || hasBody(request)) return say(socket, `${status ?? 400} Bad Request`);
    // Node cannot ignore an upgrade. The front serves such a request like any other, and then closes the connection.
    begun.push(describe(request, '', /^(websocket|spdy\/3\.1)$/i.test(protocol) ? protocol : undefined));
    return socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok');
  });
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    if (!socket.writable) return socket.destroy();
    return say(socket, error.code === 'HPE_HEADER_OVERFLOW' ? '431 Too Large' : '400 Bad Request');
  });
  try {
    const run = await converse((socket) => server.emit('connection', socket), pieces);
    return { handled: begun.filter((request) => request !== undefined), ...run };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? '0') > 0;

function describe(request: IncomingMessage, body: string, upgrade: string | undefined): HandledRequest {
  const { method = '', url = '', rawHeaders } = request;
  return { method, target: url, rawHeaders, body: hasBody(request) ? body : undefined, upgrade };
}

/** Requests that Node accepts and this proxy never did. */
function objectToHead(request: IncomingMessage): number | undefined {
  const { rawHeaders, method = '', url = '', httpVersion } = request;
  if (rawHeaders.length / 2 > limits.maxHeaderFields) return 431;
  const encoding = headerList(rawHeaders, 'transfer-encoding');
  const length = headerValue(rawHeaders, 'content-length');
  if (encoding !== undefined && (httpVersion !== '1.1' || encoding.toLowerCase() !== 'chunked' || length !== undefined))
    return 400;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 400;
  if (method === 'CONNECT' || method === 'TRACE') return 400;
  if (!url.startsWith('/') || /[^\x21-\x7e]|[#\\]/.test(url)) return 400;
  const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host');
  return hosts.length === 1 ? undefined : 400;
}
