import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClientConnection, Exchange } from './exchange.ts';
import type { RawHeaders } from './headers.ts';
import { headerValue } from './headers.ts';
import { passThrough } from './request-identity.ts';

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

function pairs(rawHeaders: RawHeaders): Record<string, string> {
  const result: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) result[rawHeaders[at] ?? ''] = rawHeaders[at + 1] ?? '';
  return result;
}
