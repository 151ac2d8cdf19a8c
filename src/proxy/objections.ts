import type { IncomingMessage } from 'node:http';
import { headerList, headerValue } from './headers.ts';

/**
 * Why an HTTP/1.x head is refused though Node's strict parser let it through, or undefined.
 *
 * Two servers could read it in two ways: exactly one Host, origin-form target, no Transfer-Encoding on HTTP/1.0, and
 * none beside Content-Length. RFC 9112, sections 3.2 and 6.
 */
export function objectToHead(request: IncomingMessage): string | undefined {
  const { rawHeaders, method = '', url = '' } = request;
  const encoding = headerList(rawHeaders, 'transfer-encoding');
  if (encoding !== undefined && request.httpVersion !== '1.1') return 'Transfer-Encoding needs HTTP/1.1';
  // Node's parser refuses others too, but only after it has handed the head over.
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') return 'Transfer-Encoding must be chunked, once';
  if (encoding !== undefined && headerValue(rawHeaders, 'content-length') !== undefined)
    return 'Content-Length and Transfer-Encoding together';
  if (request.httpVersion !== '1.1' && request.httpVersion !== '1.0') return 'unknown version of HTTP';
  return objectToTarget(method, url, rawHeaders);
}

/** Why a request of any version of HTTP is refused, or undefined. */
export function objectToTarget(method: string, target: string, rawHeaders: readonly string[]): string | undefined {
  if (method === 'CONNECT' || method === 'TRACE') return `${method} is not served`;
  if (!target.startsWith('/')) return 'the request target is not in origin form';
  // A fragment is no part of a target, and one server may cut it off where another does not.
  if (/[^\x21-\x7e]|[#\\]/.test(target)) return 'the request target has a character that must be percent-encoded';
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]?.toLowerCase() === 'host') hosts++;
  return hosts === 1 ? undefined : 'exactly one Host is needed';
}

/** Why a request to switch protocols is refused, or undefined. */
export function objectToUpgrade(protocol: string, hasBody: boolean): string | undefined {
  if (hasBody) return 'a request to upgrade must not have a body';
  return /^(websocket|spdy\/3\.1)$/i.test(protocol) ? undefined : 'only websocket and SPDY/3.1 can be upgraded to';
}
