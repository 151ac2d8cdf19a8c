import { WrittenFields } from '../../http/client/written-fields.ts';
import { headerList, isNamed, isSameHeaders, isWorthKeeping, type RawHeaders } from '../../http/fields.ts';
import { type LastMade, madeBefore } from '../../http/last-made.ts';
import { socketTokenPrefix } from '../identity/bearer-token.ts';
import type { RequestIdentity } from '../identity/request-identity.ts';

/** The facts that are needed besides the header fields. */
export interface HeaderContext {
  readonly remoteAddress: string;
  /** True for a request to a server that is not its home: that server must not send it further. */
  readonly peerProxied: boolean;
  readonly identity: RequestIdentity;
}

/** Connection-specific fields. RFC 9110, section 7.6.1; `trailer` too, because request trailers are not sent on. */
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

/** Most names differ from these in length, which is much cheaper to compare than their spelling. */
const hopByHopLengths: readonly boolean[] = lengthsOf(hopByHop);

/**
 * Prepares a request's header fields for a kube-apiserver: no forged identity, and nothing of this hop.
 *
 * It removes, in any case and spelling, `X-Remote-*` and `x-kubernetes-peer-proxied` (which have authority on
 * connections with a front-proxy certificate), hop-by-hop fields, and those named in `Connection` except identity
 * fields. It adds `x-kubernetes-peer-proxied` if, and only if, the request leaves its home, and stamps the verified
 * identity. Repeated fields stay repeated. Invalid fields are left for the code that writes the head to refuse.
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

/** The inputs of header fields, besides the client's address. */
interface FieldsSource {
  readonly rawHeaders: RawHeaders;
  readonly identity: RequestIdentity;
  readonly peerProxied: boolean;
}

/** The prepared header fields of a request, and their encoded forms. */
interface SentFields {
  readonly rawHeaders: readonly string[];
  readonly written: WrittenFields;
}

/** The header fields that a connection has sent last. */
export type PreparedFields = LastMade<FieldsSource, SentFields>;

/** The parts of an exchange that header fields depend on, and the connection that remembers them. */
interface AskingExchange extends Omit<FieldsSource, 'peerProxied'> {
  readonly connection: { readonly remoteAddress: string; prepared?: PreparedFields | undefined };
}

/** Like `prepareRequestHeaders`, but remembered for a connection whose next request has the same fields. */
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

/**
 * The header fields of a peer's answer without connection-specific ones. All others are repeated as often as they came.
 */
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

/** WebSocket clients may send their token as a protocol. Another credential replaces it in this request. */
function withoutTokens(protocols: string): string {
  return protocols
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => !protocol.startsWith(socketTokenPrefix))
    .join(', ');
}

/**
 * True for fields that a client's `Connection` must not remove: framing, the server's name, and identity fields. A
 * gateway may add such a field and pass its client's `Connection` on.
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
  // The usual values. They name no field that would otherwise stay.
  if (list === undefined || list === 'keep-alive' || list === 'close') return undefined;
  return new Set(
    list
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => !isKept(name)),
  );
}
