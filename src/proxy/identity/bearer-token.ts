import { hash } from 'node:crypto';
import { headerValue, type RawHeaders } from '../../http/fields.ts';
import { type LastMade, madeBefore, maxRememberedBytes } from '../../http/last-made.ts';

/** A WebSocket client may bring its token as a protocol. Source: `websocket` of k8s.io/apiserver/pkg/authentication. */
export const socketTokenPrefix = 'base64url.bearer.authorization.k8s.io.';

/** A token, and its digest once it has been requested. */
interface KnownToken {
  readonly token: string | undefined;
  /** See `tokenDigest`. */
  digest: string | undefined;
}

/** The last token on a connection, by the field that it came from. */
export type TokenMemo = LastMade<string, KnownToken>;

/** The source of the token, and the connection that remembers it. */
interface TokenSource {
  readonly rawHeaders: RawHeaders;
  readonly connection: { token?: TokenMemo | undefined };
}

/**
 * The token of a request in any spelling. Like kube-apiserver, it ignores the case of the scheme and everything after
 * the token. Undefined for every other credential, because kube-apiserver treats such requests as anonymous.
 *
 * kube-apiserver tries the token in `Authorization` and then the one in the WebSocket protocols. If the two differ, the
 * proxy cannot know which one is valid, so the request counts as having no token.
 */
export function bearerToken({ rawHeaders, connection }: TokenSource): string | undefined {
  const field = headerValue(rawHeaders, 'authorization');
  const protocols = headerValue(rawHeaders, 'sec-websocket-protocol');
  const token = field === undefined ? undefined : remembered(field, connection);
  if (protocols === undefined) return token;
  const other = socketToken(protocols);
  if (other === undefined || other === token) return token;
  return token === undefined ? other : undefined;
}

/** True if a request has a token that kube-apiserver would check. It may have two that differ. */
export function hasToken(rawHeaders: RawHeaders): boolean {
  const field = headerValue(rawHeaders, 'authorization');
  if (field !== undefined && parseBearer(field) !== undefined) return true;
  const protocols = headerValue(rawHeaders, 'sec-websocket-protocol');
  return protocols !== undefined && socketToken(protocols) !== undefined;
}

/** A token's key in caches: a digest, so that no credential stays in memory and long ones cost no more. */
export function tokenDigest(source: TokenSource): string | undefined {
  const token = bearerToken(source);
  const known = source.connection.token?.made;
  if (token === undefined) return undefined;
  if (known?.token !== token) return digestOf(token);
  known.digest ??= digestOf(token);
  return known.digest;
}

function digestOf(token: string): string {
  return hash('sha256', token, 'base64url');
}

/** Most requests of a connection have the same token, so its hash is computed once. */
function remembered(field: string, connection: TokenSource['connection']): string | undefined {
  const known = madeBefore(connection.token, field);
  if (known !== undefined) return known.token;
  const made = { token: parseBearer(field), digest: undefined };
  connection.token = field.length <= maxRememberedBytes ? { from: field, made } : undefined;
  return made.token;
}

/** Source: `AuthenticateRequest` in k8s.io/apiserver/pkg/authentication/request/bearertoken. */
function parseBearer(field: string): string | undefined {
  const [scheme, token] = field.trim().split(' ', 2);
  return scheme?.toLowerCase() === 'bearer' && token !== undefined && token !== '' ? token : undefined;
}

function socketToken(protocols: string): string | undefined {
  for (const protocol of protocols.split(',')) {
    const name = protocol.trim();
    if (!name.startsWith(socketTokenPrefix)) continue;
    return Buffer.from(name.slice(socketTokenPrefix.length), 'base64url').toString() || undefined;
  }
  return undefined;
}
