import type { RequestIdentity } from './request-identity.ts';

/** Header fields as Node gives and takes them raw: name, value, name, value. */
export type RawHeaders = readonly string[];

/** What is sent on, or why the request is refused. */
export type OutgoingHeaders =
  | { readonly kind: 'ok'; readonly rawHeaders: string[] }
  | { readonly kind: 'bad'; readonly message: string };

/** What of the request is needed besides its header fields. */
export interface HeaderContext {
  readonly remoteAddress: string;
  /** True for a request that goes to a server that is not its home: that server must not send it further. */
  readonly peerProxied: boolean;
  readonly identity: RequestIdentity;
}

const token = /^[!#$%&'*+.^`|~0-9A-Za-z_-]+$/;
/** Fields that are about one connection. RFC 9110, section 7.6.1; `trailer` too, as request trailers are not sent on. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'expect',
]);

/**
 * Makes a request's header fields fit to be sent to an apiserver: nothing that forges an identity, nothing of this hop.
 *
 * Removed, in any case and spelling: `X-Remote-*` and `x-kubernetes-peer-proxied` (they are authority over connections
 * that carry a front-proxy certificate), hop-by-hop fields and those named in `Connection`. `x-kubernetes-peer-proxied`
 * is then added if, and only if, the request leaves its home, and the identity that this proxy has verified is stamped.
 * Repeated fields stay repeated.
 */
export function prepareRequestHeaders(rawHeaders: RawHeaders, context: HeaderContext): OutgoingHeaders {
  const { identity } = context;
  const named = namedInConnection(rawHeaders);
  const result: string[] = [];
  const forwardedFor: string[] = [];
  let cookie = '';
  let hosts = 0;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    const lower = name.toLowerCase();
    if (!token.test(name)) return { kind: 'bad', message: 'a header name is not a token' };
    if (/[\0\r\n]/.test(value)) return { kind: 'bad', message: `the value of header ${name} has a forbidden byte` };
    if (lower === 'host' && ++hosts > 1) return { kind: 'bad', message: 'more than one Host header' };
    if (hopByHop.has(lower) || isForged(lower) || named?.has(lower)) continue;
    if (identity.forged?.(lower) === true) continue;
    if (identity.replacesToken && lower === 'authorization') continue;
    if (identity.replacesToken && lower === 'sec-websocket-protocol') {
      const kept = withoutTokens(value);
      if (kept !== '') result.push(name, kept);
      continue;
    }
    if (lower === 'x-forwarded-for') forwardedFor.push(value);
    // HTTP/2 may split cookies; RFC 9113, section 8.2.3.
    else if (lower === 'cookie') cookie = cookie === '' ? value : `${cookie}; ${value}`;
    else result.push(name, value);
  }
  if (cookie !== '') result.push('Cookie', cookie);
  forwardedFor.push(context.remoteAddress);
  result.push('X-Forwarded-For', forwardedFor.join(', '));
  result.push(...identity.stamp);
  if (context.peerProxied || identity.alreadyRouted) result.push('x-kubernetes-peer-proxied', 'true');
  return { kind: 'ok', rawHeaders: result };
}

/** A peer's answer without what belongs to the connection that it came on. Everything else stays as often as it was. */
export function prepareResponseHeaders(rawHeaders: RawHeaders): string[] {
  const named = namedInConnection(rawHeaders);
  const result: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const lower = name.toLowerCase();
    if ((hopByHop.has(lower) && lower !== 'trailer') || named?.has(lower)) continue;
    result.push(name, rawHeaders[at + 1] ?? '');
  }
  return result;
}

/** The first value of a header field, by its lower-case name. */
export function headerValue(rawHeaders: RawHeaders, name: string): string | undefined {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const candidate = rawHeaders[at];
    if (candidate?.length === name.length && candidate.toLowerCase() === name) return rawHeaders[at + 1];
  }
  return undefined;
}

/** All values of a header field as one list, or undefined if there is none. */
export function headerList(rawHeaders: RawHeaders, name: string): string | undefined {
  let list: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const candidate = rawHeaders[at];
    if (candidate?.length !== name.length || candidate.toLowerCase() !== name) continue;
    list = list === undefined ? rawHeaders[at + 1] : `${list}, ${rawHeaders[at + 1]}`;
  }
  return list;
}

/** Some servers read `_` as `-`, so that spelling forges an identity as well. */
function isForged(lower: string): boolean {
  if (lower.charCodeAt(0) !== 0x78) return false;
  const name = lower.indexOf('_') < 0 ? lower : lower.replaceAll('_', '-');
  return name.startsWith('x-remote-') || name === 'x-kubernetes-peer-proxied';
}

/** WebSocket clients may bring their token as a protocol; another credential speaks for this request. */
function withoutTokens(protocols: string): string {
  return protocols
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => !protocol.startsWith('base64url.bearer.authorization.k8s.io.'))
    .join(', ');
}

/** The framing and the name of the server are not the client's to remove. */
function namedInConnection(rawHeaders: RawHeaders): ReadonlySet<string> | undefined {
  const list = headerList(rawHeaders, 'connection');
  if (list === undefined) return undefined;
  const named = new Set(list.split(',').map((name) => name.trim().toLowerCase()));
  for (const kept of ['host', 'content-length']) named.delete(kept);
  return named;
}
