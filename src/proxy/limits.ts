/** Bounds of connections and heads. */
export interface FrontLimits {
  readonly maxConnections: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
  /** What heads have beyond 64 KiB each, all together. */
  readonly maxLongHeaderBytes: number;
  readonly maxStreamsPerConnection: number;
  /** From the connection, or the first byte of a head, to its last. */
  readonly readHeaderTimeoutMs: number;
  /** How long a connection may be without a request. */
  readonly idleTimeoutMs: number;
  /** Share of requests after which their connection is to end, so that its client connects anew: from 0 to 0.02. */
  readonly goawayChance: number;
}

/** Bounds of requests. */
export interface RequestLimits {
  readonly maxRequests: number;
  /** Watches, upgrades and the like, which are not among `maxRequests`. */
  readonly maxLongRunning: number;
  /** Of those that no server has accepted the credential of, short and long-running ones each; not among the others. */
  readonly maxUnauthenticated: number;
  /** From the head of a request to the last byte of its answer; none for long-running ones. */
  readonly requestTimeoutMs: number;
}

/** All bounds. */
export type ProxyLimits = FrontLimits & RequestLimits;

/** What holds where no flag says otherwise. */
export const defaultLimits: ProxyLimits = {
  maxConnections: 10_000,
  // As kube-apiserver: a gateway names each group of a user in a field of its own.
  maxHeaderBytes: 1024 * 1024,
  // Bytes bound what groups there may be; this bounds what empty fields cost.
  maxHeaderFields: 64 * 1024,
  maxLongHeaderBytes: 64 * 1024 * 1024,
  maxStreamsPerConnection: 250,
  readHeaderTimeoutMs: 20_000,
  idleTimeoutMs: 180_000,
  goawayChance: 0,
  maxRequests: 1_000,
  maxLongRunning: 20_000,
  maxUnauthenticated: 250,
  requestTimeoutMs: 90_000,
};
