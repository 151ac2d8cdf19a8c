import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { ClientConnection, Exchange } from './exchange.ts';
import type { RawHeaders } from './headers.ts';
import { headerValue } from './headers.ts';
import { passThrough } from './request-identity.ts';

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
  let answered = 0;
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
    status: () => answered,
    respond: (status, outgoing) => {
      if (stream.destroyed || stream.closed || stream.headersSent) return;
      answered = status;
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
