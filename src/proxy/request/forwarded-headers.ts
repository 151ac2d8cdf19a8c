import { WrittenFields } from '../../http/client/written-fields.ts';
import { headerList, isNamed, isSameHeaders, isWorthKeeping, type RawHeaders } from '../../http/fields.ts';
import { type LastMade, madeBefore } from '../../http/last-made.ts';
import type { RequestIdentity } from '../identity/request-identity.ts';

/** What of the request is needed besides its header fields. */
export interface HeaderContext {
  readonly remoteAddress: string;
  /** True for a request that goes to a server that is not its home: that server must not send it further. */
  readonly peerProxied: boolean;
  readonly identity: RequestIdentity;
}

/**
 * Fields that are about one connection. RFC 9110, section 7.6.1; `trailer` too, as request trailers are not sent on.
 */
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

/** Most names are told from these by their length, which is much cheaper than their spelling. */
const hopByHopLengths: readonly boolean[] = lengthsOf(hopByHop);

/**
 * Makes a request's header fields fit to be sent to an apiserver: nothing that forges an identity, nothing of this hop.
 *
 * Removed, in any case and spelling: `X-Remote-*` and `x-kubernetes-peer-proxied` (they are authority over connections
 * that carry a front-proxy certificate), hop-by-hop fields and those named in `Connection`, save for what says who
 * somebody is. `x-kubernetes-peer-proxied` is then added if, and only if, the request leaves its home, and the identity
 * that this proxy has verified is stamped. Repeated fields stay repeated. What cannot be a field at all is left for
 * whoever writes the head to refuse.
 */
export function prepareRequestHeaders(rawHeaders: RawHeaders, context: HeaderContext): string[] {
  const { identity } = context;
  const { forged, replacesToken } = identity;
  const named = namedInConnection(rawHeaders);
  const result: string[] = [];
  let forwardedFor = '';
  let cookie = '';
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (isHopByHop(name) || isForged(name)) continue;
    if (named?.has(name.toLowerCase()) === true || forged?.(name.toLowerCase()) === true) continue;
    if (replacesToken && isNamed(name, 'authorization')) continue;
    if (replacesToken && isNamed(name, 'sec-websocket-protocol')) {
      const kept = withoutTokens(value);
      if (kept !== '') result.push(name, kept);
    } else if (isNamed(name, 'x-forwarded-for')) forwardedFor += `${value}, `;
    // HTTP/2 may split cookies; RFC 9113, section 8.2.3.
    else if (isNamed(name, 'cookie')) cookie = cookie === '' ? value : `${cookie}; ${value}`;
    else result.push(name, value);
  }
  if (cookie !== '') result.push('Cookie', cookie);
  result.push('X-Forwarded-For', forwardedFor + context.remoteAddress, ...identity.stamp);
  if (context.peerProxied || identity.alreadyRouted) result.push('x-kubernetes-peer-proxied', 'true');
  return result;
}

/** What header fields are made of, besides the client's address. */
interface FieldsSource {
  readonly rawHeaders: RawHeaders;
  readonly identity: RequestIdentity;
  readonly peerProxied: boolean;
}

/** Header fields of a request as they are sent on, and what was written of them. */
interface SentFields {
  readonly rawHeaders: readonly string[];
  readonly written: WrittenFields;
}

/** The header fields that a connection has sent last. */
export type PreparedFields = LastMade<FieldsSource, SentFields>;

/** What of an exchange header fields are made of, and the connection that remembers them. */
interface AskingExchange extends Omit<FieldsSource, 'peerProxied'> {
  readonly connection: { readonly remoteAddress: string; prepared?: PreparedFields | undefined };
}

/** The same as `prepareRequestHeaders`, remembered for a connection whose next request has the same fields. */
export function prepareAgain(
  { rawHeaders, identity, connection }: AskingExchange,
  { peerProxied }: Pick<HeaderContext, 'peerProxied'>,
): SentFields {
  const from = { rawHeaders, identity, peerProxied };
  const before = madeBefore(connection.prepared, from, isSameSource);
  if (before !== undefined) return before;
  const { remoteAddress } = connection;
  const made = {
    rawHeaders: prepareRequestHeaders(rawHeaders, { remoteAddress, peerProxied, identity }),
    written: new WrittenFields(),
  };
  connection.prepared = isWorthKeeping(rawHeaders) ? { from, made } : undefined;
  return made;
}

function isSameSource(one: FieldsSource, other: FieldsSource): boolean {
  return (
    one.identity === other.identity &&
    one.peerProxied === other.peerProxied &&
    isSameHeaders(one.rawHeaders, other.rawHeaders)
  );
}

/** A peer's answer without what belongs to the connection that it came on. Everything else stays as often as it was. */
export function prepareResponseHeaders(rawHeaders: readonly string[]): readonly string[] {
  const named = namedInConnection(rawHeaders);
  let result: string[] | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const removed = (isHopByHop(name) && !isNamed(name, 'trailer')) || named?.has(name.toLowerCase()) === true;
    if (removed) result ??= rawHeaders.slice(0, at);
    else result?.push(name, rawHeaders[at + 1] ?? '');
  }
  return result ?? rawHeaders;
}

function isHopByHop(name: string): boolean {
  return hopByHopLengths[name.length] === true && hopByHop.has(name.toLowerCase());
}

function lengthsOf(names: ReadonlySet<string>): boolean[] {
  const lengths: boolean[] = [];
  for (let length = 0; length < 64; length++) lengths.push([...names].some((name) => name.length === length));
  return lengths;
}

/** Some servers read `_` as `-`, so that spelling forges an identity as well. */
function isForged(spelled: string): boolean {
  const first = spelled.charCodeAt(0);
  if (first !== 0x78 && first !== 0x58) return false;
  const name = spelled.toLowerCase().replaceAll('_', '-');
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

/**
 * True for fields that a client's `Connection` must not remove: framing, the server's name, and whatever says who
 * somebody is. A gateway may add such a field and pass its client's `Connection` on.
 */
function isKept(name: string): boolean {
  return kept.has(name) || keptPrefixes.some((prefix) => name.startsWith(prefix));
}

const kept: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'authorization',
  'cookie',
  'forwarded',
  'from',
  'via',
  'x-real-ip',
  'audit-id',
  'user-agent',
  'origin',
]);

const keptPrefixes: readonly string[] = ['impersonate-', 'x-remote-', 'x-forwarded-', 'sec-websocket-'];

function namedInConnection(rawHeaders: RawHeaders): ReadonlySet<string> | undefined {
  const list = headerList(rawHeaders, 'connection');
  // What nearly all of them say, and names no field that would stay otherwise.
  if (list === undefined || list === 'keep-alive' || list === 'close') return undefined;
  return new Set(
    list
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => !isKept(name)),
  );
}
