import type { StatusError } from '../../domain/status-error.ts';
import { buildStatus } from '../../domain/status-error.ts';
import type { RawHeaders } from '../../http/fields.ts';
import { headerValue } from '../../http/fields.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { AuthenticationMode, ClientAuthorities, RequestHeaderNames } from '../ports.ts';
import { hasToken } from './bearer-token.ts';
import type { ClientCertificate } from './client-certificate.ts';
import { isAnchored } from './client-certificate.ts';
import type { RequestIdentity } from './request-identity.ts';
import { passThrough } from './request-identity.ts';
import type { UserInfo } from './user-info.ts';
import { createUserMatcher, userHeaders, userOfCertificate, userOfHeaders } from './user-info.ts';

/** The user of a request, or why it is refused. */
export type Authentication =
  | { readonly kind: 'identified'; readonly identity: RequestIdentity }
  | { readonly kind: 'refused'; readonly status: StatusError };

/** The parts of a request that identify its user. */
export interface Claim {
  readonly rawHeaders: RawHeaders;
  readonly connection: { readonly certificate: ClientCertificate | undefined };
}

/** Finds the user of a request. */
export type Authenticate = (claim: Claim) => Authentication;

const impersonationNames: Readonly<RequestHeaderNames> = {
  user: ['Impersonate-User'],
  uid: ['Impersonate-Uid'],
  group: ['Impersonate-Group'],
  extraPrefix: ['Impersonate-Extra-'],
};

/**
 * Authenticates in kube-apiserver's order: an authenticated proxy's word, client certificate, token, anonymous.
 *
 * A certificate outranks a token, which is then not sent. A certificate that does not verify is an error unless a token
 * comes with it. kube-apiserver judges tokens. Source: `Config.New` in pkg/kubeapiserver/authenticator, and `union` and
 * `x509` of k8s.io/apiserver.
 */
export function createAuthenticate(mode: AuthenticationMode, clock: Clock): Authenticate {
  switch (mode.kind) {
    case 'TokenPassthrough':
      return ({ rawHeaders }) => withoutCertificate(rawHeaders);
    case 'RequestHeader':
      return authenticateCertificates(mode.authorities, createStamper(), clock);
    case 'Impersonation':
      return authenticateCertificates(mode.authorities, impersonate(mode.token), clock);
  }
}

const anonymous = { kind: 'identified', identity: { ...passThrough, who: 'anonymous' } } as const;
const byToken = { kind: 'identified', identity: { ...passThrough, who: 'token' } } as const;

function withoutCertificate(rawHeaders: RawHeaders): typeof anonymous | typeof byToken {
  return hasToken(rawHeaders) ? byToken : anonymous;
}

/** `convey` says how kube-apiserver learns the user of a verified certificate. */
function authenticateCertificates(
  knownAuthorities: () => ClientAuthorities,
  convey: Convey,
  clock: Clock,
): Authenticate {
  const judge = createJudge();
  return ({ connection, rawHeaders }) => {
    const { certificate } = connection;
    if (certificate === undefined) return withoutCertificate(rawHeaders);
    const authorities = knownAuthorities();
    const found = userOf(judge(certificate, authorities, clock.date()), rawHeaders, authorities);
    if (found.kind === 'user') return convey(found, rawHeaders, authorities);
    const own = withoutCertificate(rawHeaders);
    if (found.kind === 'none' || own === byToken)
      return { ...own, identity: { ...own.identity, alreadyRouted: found.routed } };
    return authorities.clientCa.length === 0
      ? refuse(503, 'this proxy does not know the CA of client certificates yet', 1)
      : refuse(401, 'Unauthorized');
  };
}

/** The user that a certificate names. */
type Found =
  | { readonly kind: 'user'; readonly user: UserInfo; readonly by: 'certificate' | 'proxy'; readonly routed: boolean }
  | { readonly kind: 'none'; readonly routed: boolean }
  | { readonly kind: 'error'; readonly routed: boolean };

/** The verdict on a certificate, as long as the CAs and its validity stay the same. */
interface Verdict {
  readonly authorities: ClientAuthorities;
  readonly from: number;
  readonly until: number;
  readonly isProxy: boolean;
  /** The verdict without the request's headers. */
  readonly own: Found;
}

/**
 * Verifies signatures once per connection and set of CAs, and again when a certificate starts to be valid or expires.
 */
function createJudge(): (certificate: ClientCertificate, authorities: ClientAuthorities, now: number) => Verdict {
  const verdicts = new WeakMap<ClientCertificate, Verdict>();
  return (certificate, authorities, now) => {
    const known = verdicts.get(certificate);
    if (known?.authorities === authorities && known.from <= now && now < known.until) return known;
    const { leaf, intermediates, sha256 } = certificate;
    const { clientCa, requestHeaderCa, allowedNames } = authorities;
    const user = userOfCertificate(leaf, sha256);
    const commonName = user === undefined || 'error' in user ? '' : user.name;
    const isProxy =
      isAnchored(certificate, requestHeaderCa, now) && (allowedNames.length === 0 || allowedNames.includes(commonName));
    let own: Found = { kind: 'error', routed: false };
    if (isAnchored(certificate, clientCa, now)) {
      // For a certificate without a name, kube-apiserver next asks whether it is a proxy's, and treats a no as an
      // error.
      if (user === undefined) own = { kind: isProxy ? 'none' : 'error', routed: false };
      else if (!('error' in user)) own = { kind: 'user', user, by: 'certificate', routed: false };
    }
    const changes = [leaf, ...intermediates, ...clientCa, ...requestHeaderCa].flatMap(
      // A certificate is valid to the end of its last second.
      ({ validFromDate, validToDate }) => [validFromDate.getTime(), validToDate.getTime() + 1],
    );
    const from = Math.max(0, ...changes.filter((at) => at <= now));
    const verdict = { authorities, from, until: Math.min(...changes.filter((at) => at > now)), isProxy, own };
    verdicts.set(certificate, verdict);
    return verdict;
  };
}

function userOf({ isProxy, own }: Verdict, rawHeaders: RawHeaders, { headerNames }: ClientAuthorities): Found {
  if (!isProxy) return own;
  const routed = headerValue(rawHeaders, 'x-kubernetes-peer-proxied') !== undefined;
  const user = userOfHeaders(rawHeaders, headerNames);
  return user === undefined ? { ...own, routed } : { kind: 'user', user, by: 'proxy', routed };
}

type Convey = (
  found: Extract<Found, { kind: 'user' }>,
  rawHeaders: RawHeaders,
  authorities: ClientAuthorities,
) => Authentication;

/** Builds the stamp once per verdict, since most requests of a connection share it. */
function createStamper(): Convey {
  const made = new WeakMap<Found, Authentication>();
  return (found, _rawHeaders, authorities) => {
    const known = made.get(found);
    if (known !== undefined) return known;
    const stamped = stampHeaders(found, authorities);
    made.set(found, stamped);
    return stamped;
  };
}

function stampHeaders(
  { user, by, routed }: Extract<Found, { kind: 'user' }>,
  { headerNames }: ClientAuthorities,
): Authentication {
  const stamp = userHeaders(user, headerNames);
  if (stamp === undefined) return refuse(403, unfaithful);
  return {
    kind: 'identified',
    identity: {
      who: `${by}:${user.name}`,
      connectAs: 'frontProxy',
      stamp,
      replacesToken: true,
      alreadyRouted: routed,
      forged: createUserMatcher(headerNames),
    },
  };
}

/**
 * It always states groups, at least the one that every user has. Without any, a user named like a ServiceAccount would
 * get that ServiceAccount's groups. Source: `WithImpersonation` of k8s.io/apiserver.
 */
function impersonate(token: () => string | undefined): Convey {
  return ({ user, by, routed }, rawHeaders) => {
    if (namesImpersonation(rawHeaders))
      return refuse(
        403,
        'this proxy uses impersonation for client certificates, so such a user cannot impersonate others: ' +
          'use a token, or connect to a kube-apiserver directly',
      );
    const bearer = token();
    if (bearer === undefined) return refuse(503, 'this proxy has no credential to impersonate with', 1);
    const everybody = user.name === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated';
    const stated = user.groups.some((group) => group === 'system:authenticated' || group === 'system:unauthenticated');
    const groups = stated ? user.groups : [...user.groups, everybody];
    const stamp = userHeaders({ ...user, groups }, impersonationNames);
    if (stamp === undefined) return refuse(403, unfaithful);
    return {
      kind: 'identified',
      identity: {
        who: `${by}:${user.name}`,
        connectAs: 'anonymous',
        stamp: ['Authorization', `Bearer ${bearer}`, ...stamp],
        replacesToken: true,
        alreadyRouted: routed,
        forged: (lower) => lower.startsWith('impersonate-'),
      },
    };
  };
}

const unfaithful =
  'the user of this client certificate has a name, group or UID that HTTP cannot carry unchanged: ' +
  'use a token, or connect to a kube-apiserver directly';

function namesImpersonation(rawHeaders: RawHeaders): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase().startsWith('impersonate-')) return true;
  return false;
}

function refuse(code: number, message: string, retryAfterSeconds?: number): Authentication {
  return { kind: 'refused', status: buildStatus(code, message, retryAfterSeconds) };
}
