import { type AnswerHandler, type Call, type Dispatcher, sweepMs } from '../../http/client/dispatch.ts';
import { createHttp1Pool, type Http1PoolLimits } from '../../http/client/http1-pool.ts';
import { createHttp2Pool, type Http2Pool } from '../../http/client/http2-pool.ts';
import { headerValue } from '../../http/fields.ts';
import { loadResponseParsers } from '../../http/llhttp/response-parser.ts';
import type { PeerRequest, PeerTarget, PeerTransport } from '../../proxy/ports.ts';
import type { AddressPolicy } from './address-policy.ts';
import { askReadiness, createReadinessLane, type ReadinessLane } from './ask-readiness.ts';
import { createPeerConnector } from './connect-peer.ts';
import type { PeerTls, PeerTlsMaterial } from './peer-tls.ts';

/** The transport's options. */
export interface PeerTransportOptions {
  readonly tls: PeerTls;
  readonly addressPolicy: AddressPolicy;
  readonly connectTimeoutMs?: number;
  /** Time after which an idle connection is closed; below kube-apiserver's 90 s. */
  readonly idleTimeoutMs?: number;
  /** Maximum wait of a short request for its head, or between two pieces of its body. */
  readonly shortTimeoutMs?: number;
  readonly maxShortPerPeer?: number;
  readonly maxLongPerPeer?: number;
  /** Maximum wait for a peer's readiness. */
  readonly probeTimeoutMs?: number;
  /** How long a peer without connections is remembered. */
  readonly forgetAfterMs?: number;
  /** This proxy's own token, for peers that do not tell anonymous clients their readiness. */
  readonly ownToken?: () => Promise<string | undefined>;
}

/** Connections to one peer with the same material. Watches and short requests never share one. */
interface Lanes {
  /** Short requests with a body, with an unaccepted credential, or to a peer that does not speak HTTP/2. */
  readonly short: Dispatcher;
  /** Short requests without a body. */
  readonly shared: Http2Pool;
  /** Long-running requests with a body, that switch protocols, or to a peer that does not speak HTTP/2. */
  readonly long: Dispatcher;
  /** Long-running requests without a body: a stream takes far less memory than a connection. */
  readonly watches: Http2Pool;
  /** The same for clients whose credential no server has accepted yet, on connections that the server may end. */
  readonly newcomers: Http2Pool;
  /** The one connection for asking the peer about its readiness. */
  readonly probes: ReadinessLane;
}

/** Lanes, and how long they have had no connection. */
interface HeldLanes {
  readonly lanes: Lanes;
  idleSweeps: number;
  /** True once they are no longer swept. Then they must not be used. */
  forgotten: boolean;
}

/**
 * Sends requests only over connections that carry no byte before the peer's certificate is verified.
 *
 * A connection made with one material never carries requests meant for another: neither of the other identity, nor
 * after the CAs or the certificate have changed. Open connections stay.
 */
export function createPeerTransport(options: PeerTransportOptions): PeerTransport {
  const { tls, connectTimeoutMs = 3_000, idleTimeoutMs = 60_000, shortTimeoutMs = 120_000 } = options;
  const { maxShortPerPeer = 1_000, maxLongPerPeer = 20_000, probeTimeoutMs = 1_000, ownToken } = options;
  const { forgetAfterMs = 600_000 } = options;
  const connector = createPeerConnector(options.addressPolicy, connectTimeoutMs);
  const parsers = loadResponseParsers();
  const shortLimits = { maxConnections: maxShortPerPeer, answerTimeoutMs: shortTimeoutMs, idleTimeoutMs };
  const probeLimits = { maxConnections: 2, answerTimeoutMs: undefined, idleTimeoutMs };
  const longLimits = { maxConnections: maxLongPerPeer, answerTimeoutMs: undefined, idleTimeoutMs };
  const http2Limits = {
    streamsPerConnection: 100,
    idleTimeoutMs,
    pingEveryMs: 30_000,
    pingOwedMs: 2_000,
    setUpTimeoutMs: connectTimeoutMs,
  };
  const watchLimits = {
    ...http2Limits,
    maxStreams: maxLongPerPeer,
    streamWindow: 64 * 1024,
    answerTimeoutMs: undefined,
  };
  const sharedLimits = {
    ...http2Limits,
    maxStreams: maxShortPerPeer,
    streamWindow: 256 * 1024,
    answerTimeoutMs: shortTimeoutMs,
  };
  const lanesOf = new Map<string, HeldLanes>();
  /** Both are few and live long. Looking up by object avoids building the key. */
  const known = new WeakMap<PeerTlsMaterial, WeakMap<PeerTarget, HeldLanes>>();
  const createPool = (target: PeerTarget, material: PeerTlsMaterial, limits: Http1PoolLimits) =>
    createHttp1Pool(target, () => connector.connect(target, material, 'http/1.1'), parsers, limits);
  const find = (target: PeerTarget, material: PeerTlsMaterial): Lanes => {
    const { generation, identified } = material;
    const { address, serverName, pinned } = target;
    const key = `${address} ${serverName} ${pinned} ${identified !== undefined} ${generation}`;
    let held = lanesOf.get(key);
    if (held === undefined) {
      const lanes = {
        short: createPool(target, material, shortLimits),
        shared: createHttp2Pool(target, () => connector.connect(target, material, 'h2'), sharedLimits),
        long: createPool(target, material, longLimits),
        watches: createHttp2Pool(target, () => connector.connect(target, material, 'h2'), watchLimits),
        newcomers: createHttp2Pool(target, () => connector.connect(target, material, 'h2'), watchLimits),
        probes: createReadinessLane(createPool(target, material, probeLimits)),
      };
      held = { lanes, idleSweeps: 0, forgotten: false };
      lanesOf.set(key, held);
    }
    const ofMaterial = known.get(material) ?? new WeakMap<PeerTarget, HeldLanes>();
    known.set(material, ofMaterial);
    ofMaterial.set(target, held);
    return held.lanes;
  };
  const lookUp = (target: PeerTarget, material: PeerTlsMaterial) => {
    const held = known.get(material)?.get(target);
    return held === undefined || held.forgotten ? find(target, material) : held.lanes;
  };
  const sweep = setInterval(() => {
    for (const [key, held] of lanesOf) {
      const lanes = Object.values(held.lanes);
      for (const lane of lanes) lane.sweep();
      held.idleSweeps = lanes.some((lane) => lane.open() > 0) ? 0 : held.idleSweeps + 1;
      // The lanes of a server that has left, or of replaced certificates.
      if (held.idleSweeps * sweepMs <= forgetAfterMs) continue;
      held.forgotten = true;
      lanesOf.delete(key);
    }
  }, sweepMs);
  sweep.unref();
  return {
    dispatch: (target, request, handler) => {
      const material = tls.material(request.connectAs);
      if (material === undefined) return refuse(handler, 'no front-proxy client certificate is configured');
      if (isOverruled(request)) return refuse(handler, 'a token cannot go over a front-proxy connection');
      const lanes = lookUp(target, material);
      const alone = request.longRunning ? lanes.long : lanes.short;
      const multiplexed = laneOf(lanes, request);
      if (multiplexed?.usable !== true) return alone.dispatch(request, handler);
      return multiplexed.dispatch(request, handler, () => alone.dispatch(request, handler));
    },
    probe: (target, onHead) => {
      const material = tls.material('anonymous');
      if (material === undefined) return Promise.resolve('away');
      return askReadiness(lookUp(target, material).probes, { timeoutMs: probeTimeoutMs, ownToken, onHead });
    },
    abandon: (address) => {
      const error = new Error(`${address}: nothing is heard of it`);
      for (const [key, { lanes }] of lanesOf)
        if (key.startsWith(`${address} `)) for (const lane of Object.values(lanes)) lane.abandon(error);
    },
    connections: () => {
      let short = 0;
      let long = 0;
      for (const { lanes } of lanesOf.values()) {
        short += lanes.short.open() + lanes.shared.open();
        long += lanes.long.open() + lanes.watches.open() + lanes.newcomers.open();
      }
      return { short, long };
    },
    close: async () => {
      clearInterval(sweep);
      for (const { lanes } of lanesOf.values()) for (const lane of Object.values(lanes)) lane.close();
    },
  };
}

/** The HTTP/2 connections that a request may use, if any. */
function laneOf(lanes: Lanes, { longRunning, mayShare, body, upgrade }: PeerRequest): Http2Pool | undefined {
  if (body !== null || upgrade !== undefined) return undefined;
  if (longRunning) return mayShare === true ? lanes.watches : lanes.newcomers;
  return mayShare === true ? lanes.shared : undefined;
}

/**
 * True for a token that would go with the front proxy's certificate: there, a stray `X-Remote-User` would outrank it.
 */
function isOverruled({ connectAs, rawHeaders }: PeerRequest): boolean {
  return connectAs === 'frontProxy' && headerValue(rawHeaders, 'authorization') !== undefined;
}

function refuse(handler: AnswerHandler, message: string): Call {
  queueMicrotask(() => handler.onFault({ kind: 'request', sent: false, error: new Error(message) }));
  return noCall;
}

const noCall: Call = { pause() {}, resume() {}, abort() {} };
