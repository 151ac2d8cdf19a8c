import { headerValue, type RawHeaders } from '../../http/fields.ts';

/** Only gateways send several tokens on one connection. */
const maxAccepted = 64;

/** The parts of an answer that tell whether its server has authenticated the request. */
export interface AuthenticationEvidence {
  readonly method: string;
  readonly status: number;
  readonly rawHeaders: RawHeaders;
}

/** Which tokens of one client connection a server has accepted. */
export class AcceptedCredentials {
  readonly #accepted = new Set<string>();

  get size(): number {
    return this.#accepted.size;
  }

  has(token: string): boolean {
    return this.#accepted.has(token);
  }

  /** Learns from an answer whether the server accepted the token. */
  note(token: string, answer: AuthenticationEvidence): void {
    if (provesAuthentication(answer)) {
      if (this.#accepted.size >= maxAccepted) this.#accepted.clear();
      this.#accepted.add(token);
    } else if (answer.status === 401) this.#accepted.delete(token);
  }
}

/** Answers that kube-apiserver gives only after it has authenticated the request. */
const laterStatuses: ReadonlySet<number> = new Set([101, 200, 201, 202, 304, 403, 404, 405, 406, 409, 410, 415, 422]);

/**
 * True if the server gives such an answer only after it has accepted the token.
 *
 * Before it authenticates, kube-apiserver refuses a malformed `timeout` (400), and requests beyond its limits or while
 * it shuts down (429, 5xx). With CORS configured, it also answers OPTIONS before that. Flow control comes after
 * authentication, so its header field proves any answer, even an aggregated server's 401. Source:
 * `DefaultBuildHandlerChain` of k8s.io/apiserver.
 */
export function provesAuthentication({ method, status, rawHeaders }: AuthenticationEvidence): boolean {
  if (headerValue(rawHeaders, 'x-kubernetes-pf-flowschema-uid') !== undefined) return true;
  return method !== 'OPTIONS' && laterStatuses.has(status);
}
