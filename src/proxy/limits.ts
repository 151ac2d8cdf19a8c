import type { HttpFrontLimits } from '../http/server/front-options.ts';

/** Limits of connections and heads. */
export interface FrontLimits extends HttpFrontLimits {
  readonly maxConnections: number;
  /** Share of requests after which their connection ends, so that its client reconnects: from 0 to 0.02. */
  readonly goawayChance: number;
}

/** Limits of requests. */
export interface RequestLimits {
  readonly maxRequests: number;
  /** Watches, upgrades and the like; they do not count towards `maxRequests`. */
  readonly maxLongRunning: number;
  /**
   * Requests whose credential no server has accepted: this many short and this many long-running ones, counted
   * separately.
   */
  readonly maxUnauthenticated: number;
  /** From a request's head to the last byte of its answer; no limit for long-running ones. */
  readonly requestTimeoutMs: number;
}

/** Limits of the memory that connections and requests hold. */
export interface MemoryLimits {
  /** One user gets half. All clients together without an accepted credential get an eighth. */
  readonly maxBufferedBytes: number;
}

/** All limits. */
export type ProxyLimits = FrontLimits & RequestLimits & MemoryLimits;

/** The defaults of the flags. */
export const defaultLimits: Readonly<ProxyLimits> = {
  maxConnections: 10_000,
  // Like kube-apiserver: a gateway names each group of a user in a field of its own.
  maxHeaderBytes: 1024 * 1024,
  // Bytes bound the groups; this bounds the cost of empty fields.
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
 * Measured and rounded up: a process without clients but with garbage, a TLS connection with its parser, and a request
 * with its answer.
 */
const processBytes = 320 * mebibyte;
const connectionBytes = 64 * kibibyte;
const requestBytes = 16 * kibibyte;
/**
 * Measured and rounded up: OpenAPI documents of maximum length in both encodings, and the thread that merges the next
 * ones.
 */
export const documentsBytes = 480 * mebibyte;
/** The memory that each held byte costs: collections are not immediate, and neither is the next check. */
const bufferedFactor = 1.25;

/** The maximum memory of one process when all limits are reached at once; tests try it. */
export function worstCaseBytes(limits: ProxyLimits): number {
  const { maxConnections, maxRequests, maxLongRunning, maxUnauthenticated, maxBufferedBytes } = limits;
  // Unauthenticated ones: short, long-running, and refused.
  const requests = maxRequests + maxLongRunning + 3 * maxUnauthenticated;
  const ofClients = maxConnections * connectionBytes + requests * requestBytes;
  return processBytes + documentsBytes + ofClients + maxBufferedBytes * bufferedFactor;
}
