import type { X509Certificate } from 'node:crypto';
import type { RawHeaders } from '../../http/fields.ts';
import type { RequestHeaderNames } from '../ports.ts';

/** A Kubernetes user; `user.Info` of k8s.io/apiserver. */
export interface UserInfo {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: readonly (readonly [key: string, values: readonly string[]])[];
}

const uidAttribute = '1.3.6.1.4.1.57683.2';

/**
 * The user of a client certificate as kube-apiserver reads it, or undefined if it names none.
 *
 * The common name is the user (the last one, as Go reads it), organisations are groups, and the certificate's hash is
 * the credential's id. Source: `CommonNameUserConversion` of k8s.io/apiserver, and its `parseUIDFromCert`.
 */
export function userOfCertificate(leaf: X509Certificate, sha256: string): UserInfo | undefined | { error: string } {
  // Node's types cover only what browsers need. Repeated attributes are arrays, and unknown ones are named by OID.
  const subject = leaf.toLegacyObject().subject as unknown as Readonly<Record<string, string | string[] | undefined>>;
  const values = (attribute: string) => [subject[attribute] ?? []].flat();
  const name = values('CN').at(-1) ?? '';
  if (name === '') return undefined;
  const uids = values(uidAttribute);
  if (uids.length > 1 || uids[0] === '')
    return { error: 'its subject must have exactly one UID, which is not empty, or none' };
  return {
    name,
    uid: uids[0] ?? '',
    groups: values('O'),
    extra: [['authentication.kubernetes.io/credential-id', [`X509SHA256=${sha256}`]]],
  };
}

/** The user that an authenticated proxy states; undefined if it states none. Source: `requestheader.go`. */
export function userOfHeaders(rawHeaders: RawHeaders, names: RequestHeaderNames): UserInfo | undefined {
  const all = (wanted: readonly string[]) =>
    wanted.flatMap((field) =>
      pairsOf(rawHeaders).flatMap(([name, value]) => (name === field.toLowerCase() && value !== '' ? [value] : [])),
    );
  const name = all(names.user)[0];
  if (name === undefined) return undefined;
  const extra = new Map<string, string[]>();
  for (const prefix of names.extraPrefix)
    for (const [field, value] of pairsOf(rawHeaders)) {
      if (!field.startsWith(prefix.toLowerCase())) continue;
      const key = unescapeKey(field.slice(prefix.length));
      extra.set(key, [...(extra.get(key) ?? []), utf8(value)]);
    }
  return {
    name: utf8(name),
    uid: utf8(all(names.uid)[0] ?? ''),
    groups: all(names.group).map(utf8),
    extra: [...extra],
  };
}

/**
 * The fields that state a user; undefined if a value would not arrive unchanged.
 *
 * HTTP trims the ends of values and forbids control characters, so such a name would become another user's. Keys of
 * extra are percent-encoded if they are not a header name. Source: `SetAuthProxyHeaders` of k8s.io/client-go.
 */
export function userHeaders(user: UserInfo, names: RequestHeaderNames): string[] | undefined {
  const result: string[] = [];
  let faithful = true;
  const add = (name: string | undefined, value: string) => {
    if (name === undefined || value === '') return;
    if (!isFaithful(value)) faithful = false;
    else result.push(name, Buffer.from(value, 'utf8').toString('latin1'));
  };
  add(names.user[0], user.name);
  add(names.uid[0], user.uid);
  for (const group of user.groups) add(names.group[0], group);
  for (const [key, values] of user.extra)
    for (const value of values) add(`${names.extraPrefix[0]}${escapeKey(key)}`, value);
  return faithful && user.name !== '' ? result : undefined;
}

/** Returns whether a name, in lower case, is one of those fields. It reads `_` as `-`, as some servers do. */
export function createUserMatcher({ user, uid, group, extraPrefix }: RequestHeaderNames): (lower: string) => boolean {
  const plain = (name: string) => name.toLowerCase().replaceAll('_', '-');
  const names = new Set([...user, ...uid, ...group].map(plain));
  const prefixes = extraPrefix.map(plain);
  return (lower) => {
    const name = lower.includes('_') ? lower.replaceAll('_', '-') : lower;
    return names.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
  };
}

function pairsOf(rawHeaders: RawHeaders): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    pairs.push([(rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? '']);
  return pairs;
}

function isFaithful(value: string): boolean {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return value.isWellFormed() && !value.startsWith(' ') && !value.endsWith(' ');
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

function escapeKey(key: string): string {
  return Array.from(Buffer.from(key, 'utf8'), (byte) => {
    const character = String.fromCharCode(byte);
    return /[0-9A-Za-z!#$&'*+.^_`|~-]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}

function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
