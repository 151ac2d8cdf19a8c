import type { HttpFrontLimits } from '../http/server/front-options.ts';

/** Bounds of connections and heads. */
export interface FrontLimits extends HttpFrontLimits {
  readonly maxConnections: number;
  /** Share of requests after which their connection is to end, so that its client connects anew: from 0 to 0.02. */
  readonly goawayChance: number;
}

/** Bounds of requests. */
export interface RequestLimits {
  readonly maxRequests: number;
  /** Watches, upgrades and the like, which are not among `maxRequests`. */
  readonly maxLongRunning: number;
  /** Requests whose credential no server has accepted: so many short and so many long-running ones, counted apart. */
  readonly maxUnauthenticated: number;
  /** From the head of a request to the last byte of its answer; none for long-running ones. */
  readonly requestTimeoutMs: number;
}

/** Bound of what connections and requests hold. */
export interface MemoryLimits {
  /** One user gets half; all clients together that no server has accepted get an eighth. */
  readonly maxBufferedBytes: number;
}

/** All bounds. */
export type ProxyLimits = FrontLimits & RequestLimits & MemoryLimits;

/** The defaults of the flags. */
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
  maxBufferedBytes: 192 * 1024 * 1024,
  requestTimeoutMs: 90_000,
};

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
/**
 * Measured, rounded up: a process without clients but with garbage, a connection over TLS with its parser, a request
 * with its answer.
 */
const processBytes = 320 * mebibyte;
const connectionBytes = 64 * kibibyte;
const requestBytes = 16 * kibibyte;
/**
 * Measured, rounded up: the documents of OpenAPI in both encodings, each as long as they may be, and the thread that
 * merges the next ones.
 */
export const documentsBytes = 480 * mebibyte;
/** What a held byte takes of the process: collections are not done at once, and the next look is not due at once. */
const bufferedFactor = 1.25;

/** The most memory that one process may take when all limits are reached at once; tests try it. */
export function worstCaseBytes(limits: ProxyLimits): number {
  const { maxConnections, maxRequests, maxLongRunning, maxUnauthenticated, maxBufferedBytes } = limits;
  // Unauthenticated ones: short, long-running, and refused.
  const requests = maxRequests + maxLongRunning + 3 * maxUnauthenticated;
  const ofClients = maxConnections * connectionBytes + requests * requestBytes;
  return processBytes + documentsBytes + ofClients + maxBufferedBytes * bufferedFactor;
}
