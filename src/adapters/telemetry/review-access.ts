import { createHash } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';
import type { ApiClient } from '../kubernetes/api-client.ts';

/** Whether somebody may read a path. `unavailable`: the API server could not be asked. */
export type AccessVerdict = 'allowed' | 'unauthenticated' | 'forbidden' | 'unavailable';

/** What somebody shows to be let in. */
export interface Credential {
  readonly token: string;
  /** It has to be made for this endpoint (`tokenAudience`), and is of no use at an API server. */
  readonly delegated: boolean;
}

/** Judges by the credential of a request. */
export type ReviewAccess = (credential: Credential | undefined, path: string) => Promise<AccessVerdict>;

/** Where a token for this endpoint comes in if the request comes through an API server's proxy. */
export const delegatedTokenHeader = 'x-peerdiscovery-token';
/** The audience of such a token: who gets hold of it can do nothing but look. */
export const tokenAudience = 'peerdiscovery';

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

const rememberedMs = 10_000;
const maxRemembered = 1_000;

/**
 * Asks the API server who a bearer token is and whether they may `get` the path, as every Kubernetes component does for
 * its metrics (TokenReview, then SubjectAccessReview).
 *
 * A verdict is remembered for 10 seconds, per token and path and by the token's hash only; that the API server could not
 * be asked is not remembered, and nobody is let in meanwhile.
 */
export function createReviewAccess(client: Pick<ApiClient, 'create'>, clock: Clock): ReviewAccess {
  const remembered = new Map<string, { readonly verdict: Promise<AccessVerdict>; readonly until: number }>();

  async function ask({ token, delegated }: Credential, path: string): Promise<AccessVerdict> {
    const { status } = await client.create<TokenReview>('/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(delegated && { audiences: [tokenAudience] }) },
    });
    if (status?.authenticated !== true || status.user === undefined) return 'unauthenticated';
    // An authenticator that knows nothing of audiences leaves the list out.
    if (delegated && status.audiences?.includes(tokenAudience) !== true) return 'unauthenticated';
    const { username, uid, groups, extra } = status.user;
    const review = await client.create<AccessReview>('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path, verb: 'get' } },
    });
    return review.status?.allowed === true ? 'allowed' : 'forbidden';
  }

  return (credential, path) => {
    if (credential === undefined) return Promise.resolve('unauthenticated');
    const { token, delegated } = credential;
    const key = `${createHash('sha256').update(token).digest('hex')} ${delegated} ${path}`;
    const known = remembered.get(key);
    if (known !== undefined && known.until > clock.now()) return known.verdict;
    const verdict = ask(credential, path).catch((): AccessVerdict => {
      remembered.delete(key);
      return 'unavailable';
    });
    remembered.delete(key);
    remembered.set(key, { verdict, until: clock.now() + rememberedMs });
    const oldest = remembered.keys().next();
    if (remembered.size > maxRemembered && !oldest.done) remembered.delete(oldest.value);
    return verdict;
  };
}
