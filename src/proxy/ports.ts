import type { X509Certificate } from 'node:crypto';
import type { RoutingBundle } from '../domain/routing-table.ts';
import type { AnswerHandler, Call, HttpRequest } from '../http/client/dispatch.ts';

/** Where routing tables come from: a watch or a file. */
export interface RoutingTableSource {
  /**
   * Hands over every complete bundle until `signal` aborts, then resolves.
   *
   * `onTrouble` reports that the source may be behind, and why; `undefined` means that it is not. Until it has been
   * called with `undefined`, the handed-over table does not count as complete.
   */
  start(
    onBundle: (bundle: RoutingBundle) => void,
    onTrouble: (message: string | undefined) => void,
    signal: AbortSignal,
  ): Promise<void>;
}

/** Names of the fields that state a user. The first of each is written; all of them are read and removed. */
export interface RequestHeaderNames {
  readonly user: readonly string[];
  readonly uid: readonly string[];
  readonly group: readonly string[];
  readonly extraPrefix: readonly string[];
}

/** The CAs and names that authenticate clients; replaced as a whole when a file or the ConfigMap changes. */
export interface ClientAuthorities {
  /** Certificates of users chain to one of these; empty until they are known. */
  readonly clientCa: readonly X509Certificate[];
  /** Certificates of other proxies chain to one of these; may be empty. */
  readonly requestHeaderCa: readonly X509Certificate[];
  /** Common names of those proxies. Empty allows any, as in kube-apiserver. */
  readonly allowedNames: readonly string[];
  readonly headerNames: RequestHeaderNames;
}

/** One kube-apiserver to connect to. */
export interface PeerTarget {
  readonly id: string;
  /** `host:port`; IPv6 hosts in brackets. */
  readonly address: string;
  /** Name that its certificate must contain. */
  readonly serverName: string;
  /** True for the server that the administrator named by flag; no address range is refused then. */
  readonly pinned: boolean;
}

/**
 * The proof that a connection gives a peer about this proxy.
 *
 * - `anonymous`: none. The request's own bearer token, if any, identifies its user.
 * - `frontProxy`: the front-proxy client certificate, which gives `X-Remote-*` authority. Such connections, their pools
 *   and their TLS sessions are never shared with anonymous ones, and lead only to servers that an anonymous handshake
 *   has verified.
 */
export type ConnectAs = 'anonymous' | 'frontProxy';

/** A request to a kube-apiserver. */
export interface PeerRequest extends HttpRequest {
  /** Watches and the like: they share no connection with short requests, and have no timeouts. */
  readonly longRunning: boolean;
  /**
   * True if it may share a connection with other users' requests, because a server has accepted its credential before.
   * kube-apiserver ends the HTTP/2 connection on which it refuses a credential, or finds none
   * (`UnauthenticatedHTTP2DOSMitigation`, since 1.29).
   */
  readonly mayShare?: boolean;
  /** Without a front-proxy certificate, `frontProxy` is a fault of kind `request`, and so is a token with it. */
  readonly connectAs: ConnectAs;
}

/**
 * A peer's readiness.
 *
 * - `ready`: it accepts connections, is verified, and says that it is ready.
 * - `refused`: it works, but refuses this proxy's probe. Until a server has read its RBAC rules, it refuses everybody.
 * - `away`: it says that it is not ready, or refuses connections. It may still finish its running requests.
 * - `hung`: it does not answer in time, or says that its etcd does not answer.
 */
export type Readiness = 'ready' | 'refused' | 'away' | 'hung';

/** Sends requests to peers only over connections with a verified certificate. */
export interface PeerTransport {
  dispatch(target: PeerTarget, request: PeerRequest, handler: AnswerHandler): Call;
  /**
   * Asks the peer for `/readyz` over a connection kept for that. `onHead` receives the header fields of its answers.
   */
  probe(target: PeerTarget, onHead?: (rawHeaders: readonly string[]) => void): Promise<Readiness>;
  /** Ends all running and waiting requests at this address with a fault of kind `timeout`, and upgraded connections. */
  abandon(address: string): void;
  /** Numbers for metrics. */
  connections(): { readonly short: number; readonly long: number };
  close(): Promise<void>;
}
/** The outcome of a request. */
export type Route = 'home' | 'peer' | 'discovery' | 'rejected';

/**
 * Why the proxy itself answers 503.
 *
 * - `no_table`: no routing table has been received yet.
 * - `no_capable_server`: servers that have the resource are known, and none can take requests now.
 * - `no_ready_server`: no server at all can take requests now.
 * - `unreachable`: the servers that were tried did not answer.
 * - `saturated`: the servers that were tried have as many connections of this proxy as it opens.
 * - `doubt`: a server said 404, and nobody can tell that no other has it.
 * - `discovery`: what the servers have cannot be told, or nobody can say whether the client may see it.
 * - `other`: anything else.
 */
export type UnavailableReason = (typeof unavailableReasons)[number];

export const unavailableReasons = [
  'no_table',
  'no_capable_server',
  'no_ready_server',
  'unreachable',
  'saturated',
  'doubt',
  'discovery',
  'other',
] as const;

/** The proxy's counters; `adapters/metrics` implements them with prom-client. */
export interface ProxyMetrics {
  readonly rerouted: { inc(labels: Readonly<Record<'code' | 'group' | 'version' | 'resource', string>>): void };
  /** Writes that were sent to a server other than home, because home does not know all fields of the resource. */
  readonly fieldWrites: { inc(labels: Readonly<Record<'group' | 'version' | 'resource', string>>): void };
  readonly peerErrors: { inc(labels: { readonly type: string }): void };
  readonly unavailable: { inc(labels: { readonly reason: UnavailableReason }): void };
  readonly tableRevision: { set(revision: number): void };
  readonly failovers: { inc(): void };
  readonly homeChanges: { inc(): void };
  /** Watches that were ended so that their clients resume them on a server with fewer. */
  readonly movedWatches: { inc(count: number): void };
  /** Requests and connections that a limit ended or refused. */
  readonly limited: { inc(labels: { readonly limit: string }): void };
  /** The expiry of each kind of certificate in use, in seconds since the epoch. */
  readonly certificateExpiry: { set(labels: { readonly certificate: string }, seconds: number): void };
  readonly reloadFailures: { inc(labels: { readonly certificate: string }): void };
  readonly tableBehind: { inc(): void };
  readonly overhead: { observe(seconds: number): void };
  readonly duration: { observe(seconds: number, route: Route): void };
  /** All metrics in Prometheus' text format. */
  text(): Promise<string>;
  /** The same as values, to be added up with those of other processes. */
  json(): Promise<readonly object[]>;
}

/** Values that are computed when metrics are read. */
export interface MetricSources {
  clientConnections(): { readonly http1: number; readonly http2: number };
  /** The number of running requests. */
  requestsInFlight(): number;
  /** Undefined without a table. */
  tableAgeSeconds(): number | undefined;
  connections(): { readonly short: number; readonly long: number };
}

/** The TLS front's certificate and key, and the authorities that it trusts; all PEM. */
export interface FrontTls {
  readonly cert: string;
  readonly key: string;
  /** CAs of client certificates; undefined does not ask clients for any. An empty list trusts no certificate. */
  readonly clientCa: readonly string[] | undefined;
}

/** How the proxy passes a verified user on to kube-apiserver. */
export type AuthenticationMode =
  | { readonly kind: 'TokenPassthrough' }
  | { readonly kind: 'RequestHeader'; readonly authorities: () => ClientAuthorities }
  | {
      readonly kind: 'Impersonation';
      readonly authorities: () => ClientAuthorities;
      /** The proxy's own credential; undefined while there is none. */
      readonly token: () => string | undefined;
    };
