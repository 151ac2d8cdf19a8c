import { createHash } from 'node:crypto';
import { networkOf } from '../../domain/address.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ApiClient } from '../kubernetes/api-client.ts';

/** Whether a client may read a path. `unavailable` means that the API server could not be asked. */
export type AccessVerdict = 'allowed' | 'unauthenticated' | 'forbidden' | 'unavailable';

/** The credential of a request. */
export interface Credential {
  readonly token: string;
  /** True if it must be made for this endpoint (`tokenAudience`), so that it is of no use at an API server. */
  readonly delegated: boolean;
}

/** Judges a request by its credential; `from` is the client's IP address. */
export type ReviewAccess = (credential: Credential | undefined, path: string, from?: string) => Promise<AccessVerdict>;

/** The header for a token when the request comes through an API server's proxy. */
export const delegatedTokenHeader = 'x-peerdiscovery-token';
/** The audience of such a token. With it, a thief can only read. */
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
/** Tokens that the API server has accepted stay known for this long, so that strangers do not delay their reviews. */
const knownForMs = 3_600_000;
/** Maximum reviews of unknown tokens in any one second. */
const strangersPerSecond = 10;
/** The same for one client network, so that one stranger leaves some to others. */
const strangersPerNetwork = 3;

/**
 * Asks the API server who a bearer token belongs to and whether that user may `get` the path, as every Kubernetes
 * component does for its metrics (TokenReview, then SubjectAccessReview).
 *
 * It remembers a verdict for 10 seconds, per token and path, and keeps only the token's hash. It does not remember that
 * the API server could not be asked; meanwhile nobody is let in. All unknown tokens together get at most ten reviews a
 * second, and those of one client network at most three, so that clients without a credential cannot make this process
 * flood the API server. Beyond that the verdict is `unavailable`. A token that the API server accepts gives its place
 * back.
 */
export function createReviewAccess(client: Pick<ApiClient, 'create'>, clock: Clock): ReviewAccess {
  const remembered = new Map<string, { readonly verdict: Promise<AccessVerdict>; readonly until: number }>();
  const knownUntil = new Map<string, number>();
  const places = new StrangersPlaces();

  function noteVerdict(tokenHash: string, verdict: AccessVerdict): void {
    knownUntil.delete(tokenHash);
    if (verdict !== 'allowed' && verdict !== 'forbidden') return;
    knownUntil.set(tokenHash, clock.now() + knownForMs);
    dropOldest(knownUntil);
  }

  async function ask({ token, delegated }: Credential, path: string): Promise<AccessVerdict> {
    const { status } = await client.create<TokenReview>('/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(delegated && { audiences: [tokenAudience] }) },
    });
    if (status?.authenticated !== true || status.user === undefined) return 'unauthenticated';
    // An authenticator that does not know audiences omits the list.
    if (delegated && status.audiences?.includes(tokenAudience) !== true) return 'unauthenticated';
    const { username, uid, groups, extra } = status.user;
    const review = await client.create<AccessReview>('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path, verb: 'get' } },
    });
    return review.status?.allowed === true ? 'allowed' : 'forbidden';
  }

  return (credential, path, from = '') => {
    if (credential === undefined) return Promise.resolve('unauthenticated');
    const { token, delegated } = credential;
    const tokenHash = createHash('sha256').update(token).digest('hex');
    const key = `${tokenHash} ${delegated} ${path}`;
    const known = remembered.get(key);
    if (known !== undefined && known.until > clock.now()) return known.verdict;
    const isKnown = (knownUntil.get(tokenHash) ?? 0) > clock.now();
    const place = isKnown ? undefined : places.take(networkOf(from), clock.now());
    if (!isKnown && place === undefined) return Promise.resolve('unavailable');
    const verdict = ask(credential, path).then(
      (found) => {
        noteVerdict(tokenHash, found);
        if (place !== undefined && found !== 'unauthenticated') places.giveBack(place);
        return found;
      },
      (): AccessVerdict => {
        remembered.delete(key);
        return 'unavailable';
      },
    );
    remembered.delete(key);
    remembered.set(key, { verdict, until: clock.now() + rememberedMs });
    dropOldest(remembered);
    return verdict;
  };
}

/** A review of an unknown token. */
interface Place {
  readonly second: number;
  readonly network: string;
}

/** Counts the reviews of unknown tokens in each second, of all networks and of each. */
class StrangersPlaces {
  #second = 0;
  #taken = 0;
  readonly #ofNetwork = new Map<string, number>();

  /** Undefined if none is free in this second. */
  take(network: string, now: number): Place | undefined {
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#taken = 0;
      this.#ofNetwork.clear();
    }
    const before = this.#ofNetwork.get(network) ?? 0;
    if (this.#taken === strangersPerSecond || before === strangersPerNetwork) return undefined;
    this.#taken++;
    this.#ofNetwork.set(network, before + 1);
    return { second, network };
  }

  /** Frees the place of a token that the API server has accepted. */
  giveBack({ second, network }: Place): void {
    if (second !== this.#second) return;
    this.#taken--;
    this.#ofNetwork.set(network, (this.#ofNetwork.get(network) ?? 1) - 1);
  }
}

/** A map that grows by one entry at a time is a queue. */
function dropOldest(map: Map<string, unknown>): void {
  const oldest = map.keys().next();
  if (map.size > maxRemembered && !oldest.done) map.delete(oldest.value);
}
