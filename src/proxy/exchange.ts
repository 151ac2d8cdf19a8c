import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { ClientCertificate } from './client-certificate.ts';
import type { RawHeaders } from './headers.ts';
import { headerValue } from './headers.ts';
import type { RequestIdentity } from './request-identity.ts';
import { passThrough } from './request-identity.ts';

/** What is remembered of one client connection, so that its reads do not go back in time between servers. */
export interface ClientConnection {
  readonly remoteAddress: string;
  /** What the client showed in the handshake, where it was asked for. */
  readonly certificate: ClientCertificate | undefined;
  /** Address of the home server that was chosen for it. */
  home: string | undefined;
  /** Group, version and resource to the address of the peer that serves it here. */
  readonly sticky: Map<string, string>;
}

/** One request and its answer, the same for HTTP/1.1 and HTTP/2. */
export interface Exchange {
  readonly method: string;
  /** Request target in origin form. */
  readonly target: string;
  /** Without pseudo headers; `:authority` appears as `Host`. */
  readonly rawHeaders: RawHeaders;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  readonly connection: ClientConnection;
  /** Every request that is sent on behalf of this one bears it: stamp, and sort of connection. Set by the handler. */
  identity: RequestIdentity;
  readonly hasBody: boolean;
  /** True once the last byte of the body has come. */
  bodyComplete(): boolean;
  /** Null without a body. Reading starts with iteration, and stopping early does not end the exchange. */
  body(): AsyncIterable<Uint8Array> | null;
  /** True once an answer has begun. */
  responded(): boolean;
  respond(status: number, rawHeaders: RawHeaders): void;
  /** False means: wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array, rawTrailers?: RawHeaders): void;
  /** Cuts an answer off so that the client cannot take it for whole. */
  destroy(): void;
  onDrain(listener: () => void): void;
  /** Called once, when the answer is complete or the client has left. */
  onClose(listener: (complete: boolean) => void): void;
}

/** Presents an HTTP/1.x request as an Exchange. */
export function http1Exchange(
  request: IncomingMessage,
  response: ServerResponse,
  connection: ClientConnection,
  isDraining: () => boolean,
  waitsForContinue: boolean,
): Exchange {
  const { rawHeaders } = request;
  response.sendDate = false;
  let written = false;
  let ended = false;
  let waiting = waitsForContinue;
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? '0') > 0;
  const method = request.method ?? 'GET';
  const protocol = request.httpVersionMinor === 0 ? 'HTTP/1.0' : 'HTTP/1.1';
  return {
    method,
    target: request.url ?? '/',
    rawHeaders,
    protocol,
    connection,
    identity: passThrough,
    hasBody,
    bodyComplete: () => !hasBody || request.complete,
    body: () => {
      if (!hasBody) return null;
      // Called for when a server is there to take it. RFC 9110, section 10.1.1.
      if (waiting && !response.headersSent) response.writeContinue();
      waiting = false;
      return request.iterator({ destroyOnReturn: false });
    },
    responded: () => response.headersSent,
    respond: (status, headers) => {
      if (response.headersSent) return;
      // A flat array passes through with repeated fields intact.
      const chunked = method !== 'HEAD' && status !== 204 && status !== 304 && protocol !== 'HTTP/1.0';
      // Trailers need chunks; Node throws at an announcement without them.
      const flat =
        chunked && headerValue(headers, 'content-length') === undefined ? [...headers] : without(headers, 'trailer');
      // A body that was not read would be taken for the next request.
      if (isDraining() || (hasBody && !request.complete)) flat.push('Connection', 'close');
      try {
        response.writeHead(status, flat);
      } catch {
        // Whatever else Node will not write: a server's answer must not end this process.
        response.destroy();
        return;
      }
      // The head of a watch must not wait for its first event, but that of a short answer goes out with its body.
      process.nextTick(() => {
        if (!written && !response.destroyed) response.flushHeaders();
      });
    },
    write: (chunk) => {
      if (ended) return true;
      written = true;
      return response.write(chunk);
    },
    end: (chunk, rawTrailers) => {
      if (ended) return;
      ended = true;
      written = true;
      if (rawTrailers !== undefined && rawTrailers.length > 0) addTrailers(response, rawTrailers);
      if (chunk === undefined) response.end();
      else response.end(chunk);
    },
    destroy: () => {
      response.destroy();
    },
    onDrain: (listener) => {
      response.on('drain', listener);
    },
    onClose: (listener) => {
      response.once('close', () => listener(response.writableFinished));
    },
  };
}

/** Presents an HTTP/2 stream as an Exchange. */
export function http2Exchange(
  stream: ServerHttp2Stream,
  rawHeaders: RawHeaders,
  endOfStream: boolean,
  connection: ClientConnection,
): Exchange {
  const headers: string[] = [];
  let method = 'GET';
  let target = '';
  let authority: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (name === ':method') method = value;
    else if (name === ':path') target = value;
    else if (name === ':authority') authority = value;
    else if (!name.startsWith(':')) headers.push(name, value);
  }
  // Both may be there if they agree; two Host fields are refused later. RFC 9113, section 8.3.1.
  if (authority !== undefined && headerValue(headers, 'host') !== authority) headers.unshift('Host', authority);
  stream.on('error', () => {});
  let trailers: readonly string[] | undefined;
  let announced = false;
  let waiting = headerValue(headers, 'expect')?.toLowerCase() === '100-continue';
  return {
    method,
    target,
    rawHeaders: headers,
    protocol: 'HTTP/2',
    connection,
    identity: passThrough,
    hasBody: !endOfStream,
    bodyComplete: () => endOfStream || stream.readableEnded,
    body: () => {
      if (endOfStream) return null;
      if (waiting && !stream.destroyed && !stream.headersSent)
        stream.additionalHeaders({ ':status': constants.HTTP_STATUS_CONTINUE });
      waiting = false;
      return stream.iterator({ destroyOnReturn: false });
    },
    responded: () => stream.headersSent,
    respond: (status, outgoing) => {
      if (stream.destroyed || stream.closed || stream.headersSent) return;
      announced = headerValue(outgoing, 'trailer') !== undefined && method !== 'HEAD';
      if (announced)
        stream.once('wantTrailers', () => {
          try {
            stream.sendTrailers(http2Fields(trailers ?? []));
          } catch {
            stream.close(constants.NGHTTP2_INTERNAL_ERROR);
          }
        });
      try {
        stream.respond({ ':status': status, ...http2Fields(outgoing) }, { waitForTrailers: announced });
      } catch {
        // Whatever Node will not write: a server's answer must not end this process.
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      }
    },
    write: (chunk) => stream.destroyed || stream.writableEnded || stream.write(chunk),
    end: (chunk, rawTrailers) => {
      if (stream.destroyed || stream.writableEnded) return;
      trailers = rawTrailers;
      if (chunk === undefined) stream.end();
      else stream.end(chunk);
      // A client that still sends its body is told to stop. RFC 9113, section 8.1.
      if (!endOfStream && !stream.readableEnded) stream.resume();
    },
    destroy: () => {
      if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    },
    onDrain: (listener) => {
      stream.on('drain', listener);
    },
    onClose: (listener) => {
      stream.once('close', () => listener(stream.writableFinished && stream.rstCode === 0));
    },
  };
}

/** Fields that Node's HTTP/2 refuses to send twice; the first counts. Source: `kSingleValueFields` of Node. */
const singleValued: ReadonlySet<string> = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]);

function without(rawHeaders: RawHeaders, unwanted: string): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() !== unwanted) kept.push(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
  return kept;
}

function addTrailers(response: ServerResponse, rawTrailers: RawHeaders): void {
  try {
    response.addTrailers(pairs(rawTrailers));
  } catch {
    // They are left out rather than the answer.
  }
}

function http2Fields(rawHeaders: RawHeaders): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    const value = rawHeaders[at + 1] ?? '';
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (singleValued.has(name)) continue;
    else if (Array.isArray(before)) before.push(value);
    else headers[name] = [String(before), value];
  }
  return headers;
}

function pairs(rawHeaders: RawHeaders): Record<string, string> {
  const result: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) result[rawHeaders[at] ?? ''] = rawHeaders[at + 1] ?? '';
  return result;
}
