import { createHttpClient, type ReachableOrigin } from '../../http/client/client.ts';
import type { AnswerHandler, Call } from '../../http/client/dispatch.ts';
import type { HttpProtocol } from '../../http/client/open-verified.ts';
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

/** Watches and short requests never share a connection. */
type Lane =
  /** Short requests with a body, with an unaccepted credential, or to a peer that does not speak HTTP/2. */
  | 'short'
  /** Short requests without a body. */
  | 'shared'
  /** Long-running requests with a body, that switch protocols, or to a peer that does not speak HTTP/2. */
  | 'long'
  /** Long-running requests without a body: a stream takes far less memory than a connection. */
  | 'watches'
  /** The same for clients whose credential no server has accepted yet, on connections that the server may end. */
  | 'newcomers'
  /** The one connection for asking the peer about its readiness. */
  | 'probes';

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
  const http1Lane = (maxConnections: number, answerTimeoutMs?: number) =>
    ({ protocol: 'http/1.1', limits: { maxConnections, answerTimeoutMs, idleTimeoutMs } }) as const;
  const client = createHttpClient<Lane>({
    lanes: {
      short: http1Lane(maxShortPerPeer, shortTimeoutMs),
      shared: { protocol: 'h2', limits: sharedLimits, otherwise: 'short' },
      long: http1Lane(maxLongPerPeer),
      watches: { protocol: 'h2', limits: watchLimits, otherwise: 'long' },
      newcomers: { protocol: 'h2', limits: watchLimits, otherwise: 'long' },
      probes: http1Lane(2),
    },
    parsers: loadResponseParsers(),
    forgetAfterMs,
    onForget: (key) => probesByKey.delete(key),
  });
  /** Both are few and live long. Looking up by object avoids building the key. */
  const origins = new WeakMap<PeerTlsMaterial, WeakMap<PeerTarget, ReachableOrigin>>();
  const originOf = (target: PeerTarget, material: PeerTlsMaterial): ReachableOrigin => {
    const ofMaterial = origins.get(material) ?? new WeakMap<PeerTarget, ReachableOrigin>();
    origins.set(material, ofMaterial);
    const known = ofMaterial.get(target);
    if (known !== undefined) return known;
    const { generation, identified } = material;
    const { address, serverName, pinned } = target;
    const origin = {
      address,
      key: `${address} ${serverName} ${pinned} ${identified !== undefined} ${generation}`,
      connect: (protocol: HttpProtocol) => connector.connect(target, material, protocol),
    };
    ofMaterial.set(target, origin);
    return origin;
  };
  const probesByKey = new Map<string, ReadinessLane>();
  const probesOf = (origin: ReachableOrigin): ReadinessLane => {
    const known = probesByKey.get(origin.key);
    if (known !== undefined) return known;
    const lane = createReadinessLane((request, handler) => client.dispatch(origin, 'probes', request, handler));
    probesByKey.set(origin.key, lane);
    return lane;
  };
  return {
    dispatch: (target, request, handler) => {
      const material = tls.material(request.connectAs);
      if (material === undefined) return refuse(handler, 'no front-proxy client certificate is configured');
      if (isOverruled(request)) return refuse(handler, 'a token cannot go over a front-proxy connection');
      return client.dispatch(originOf(target, material), laneOf(request), request, handler);
    },
    probe: (target, onHead) => {
      const material = tls.material('anonymous');
      if (material === undefined) return Promise.resolve('away');
      return askReadiness(probesOf(originOf(target, material)), { timeoutMs: probeTimeoutMs, ownToken, onHead });
    },
    abandon: (address) => client.abandon(address, new Error(`${address}: it no longer answers`)),
    connections: () => ({
      short: client.open('short') + client.open('shared'),
      long: client.open('long') + client.open('watches') + client.open('newcomers'),
    }),
    close: async () => client.close(),
  };
}

function laneOf({ longRunning, mayShare }: PeerRequest): Lane {
  if (longRunning) return mayShare === true ? 'watches' : 'newcomers';
  return mayShare === true ? 'shared' : 'short';
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

const noCall: Readonly<Call> = { pause() {}, resume() {}, abort() {} };
