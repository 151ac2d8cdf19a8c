import type { TLSSocket } from 'node:tls';
import type { ResponseParsers } from '../llhttp/response-parser.ts';
import {
  type AnswerHandler,
  type Call,
  type Dispatcher,
  type HttpOrigin,
  type HttpRequest,
  sweepMs,
} from './dispatch.ts';
import { createHttp1Pool, type Http1PoolLimits } from './http1-pool.ts';
import { createHttp2Pool, type Http2Limits, type Http2Pool } from './http2-pool.ts';
import type { HttpProtocol } from './open-verified.ts';

/** A server, reached with one identity. */
export interface ReachableOrigin extends HttpOrigin {
  /** Origins with the same key share connections. */
  readonly key: string;
  /** Opens a connection to the verified server. Rejects with a ConnectFault. */
  connect(protocol: HttpProtocol): Promise<TLSSocket>;
}

/** The connections for one kind of request. */
export type LaneOptions<Lane extends string> =
  | { readonly protocol: 'http/1.1'; readonly limits: Http1PoolLimits }
  | {
      readonly protocol: 'h2';
      readonly limits: Http2Limits;
      /** The lane for requests with a body or an upgrade, and for servers that do not speak HTTP/2. */
      readonly otherwise: Lane;
    };

/** Sends requests to servers over connections that it opens, shares and ends. */
export interface HttpClient<Lane extends string> {
  dispatch(origin: ReachableOrigin, lane: Lane, request: HttpRequest, handler: AnswerHandler): Call;
  /** Number of open and opening connections in a lane, to all servers. */
  open(lane: Lane): number;
  /** Ends every connection to an address, and all running and waiting requests, with a timeout. */
  abandon(address: string, error: Error): void;
  /** Ends idle connections now, and the rest as they become idle. */
  close(): void;
}

type Pools<Lane extends string> = Record<Lane, Dispatcher>;

/** The pools of one origin, and how long they have had no connection. */
interface HeldPools<Lane extends string> {
  readonly address: string;
  readonly pools: Pools<Lane>;
  idleSweeps: number;
}

/** The lanes of all servers, and how long an unused one is kept. */
export interface HttpClientOptions<Lane extends string> {
  readonly lanes: Readonly<Record<Lane, LaneOptions<Lane>>>;
  readonly parsers: ResponseParsers;
  /** Pools without a connection for this long are dropped. */
  readonly forgetAfterMs: number;
  /** The pools of the origins with this key were dropped. */
  readonly onForget: (key: string) => void;
}

/** A client that opens connections as requests need them. Requests of different lanes never share one. */
export function createHttpClient<Lane extends string>(options: HttpClientOptions<Lane>): HttpClient<Lane> {
  const { lanes, parsers, forgetAfterMs, onForget } = options;
  const names = Object.keys(lanes) as Lane[];
  const heldByKey = new Map<string, HeldPools<Lane>>();
  const openPools = (origin: ReachableOrigin): Pools<Lane> => {
    const createPool = (name: Lane): Dispatcher => {
      const lane = lanes[name];
      if (lane.protocol === 'http/1.1')
        return createHttp1Pool(origin, () => origin.connect('http/1.1'), parsers, lane.limits);
      const pool = createHttp2Pool(origin, () => origin.connect('h2'), lane.limits);
      return preferHttp2(pool, () => pools[lane.otherwise]);
    };
    const pools = Object.fromEntries(names.map((name) => [name, createPool(name)])) as Pools<Lane>;
    return pools;
  };
  const poolsOf = (origin: ReachableOrigin): Pools<Lane> => {
    const held = heldByKey.get(origin.key);
    if (held !== undefined) return held.pools;
    const pools = openPools(origin);
    heldByKey.set(origin.key, { address: origin.address, pools, idleSweeps: 0 });
    return pools;
  };
  const sweep = setInterval(() => {
    for (const [key, held] of heldByKey) {
      const pools = names.map((name) => held.pools[name]);
      for (const pool of pools) pool.sweep();
      held.idleSweeps = pools.some((pool) => pool.open() > 0) ? 0 : held.idleSweeps + 1;
      // The pools of a departed server, or of replaced certificates.
      if (held.idleSweeps * sweepMs <= forgetAfterMs) continue;
      heldByKey.delete(key);
      onForget(key);
    }
  }, sweepMs);
  sweep.unref();
  return {
    dispatch: (origin, lane, request, handler) => poolsOf(origin)[lane].dispatch(request, handler),
    open: (lane) => [...heldByKey.values()].reduce((sum, { pools }) => sum + pools[lane].open(), 0),
    abandon: (address, error) => {
      for (const held of heldByKey.values())
        if (held.address === address) for (const name of names) held.pools[name].abandon(error);
    },
    close: () => {
      clearInterval(sweep);
      for (const { pools } of heldByKey.values()) for (const name of names) pools[name].close();
    },
  };
}

/** Sends a request over HTTP/2 if it fits there, as long as the server speaks HTTP/2. */
function preferHttp2(pool: Http2Pool, otherwise: () => Dispatcher): Dispatcher {
  return {
    ...pool,
    dispatch: (request, handler) => {
      const instead = () => otherwise().dispatch(request, handler);
      const fits = request.body === null && request.upgrade === undefined && pool.usable;
      return fits ? pool.dispatch(request, handler, instead) : instead();
    },
  };
}
