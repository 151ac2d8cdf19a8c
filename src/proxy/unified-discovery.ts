import { createHash } from 'node:crypto';
import type { RoutingBundle } from '../domain/routing-table.ts';
import { buildStatus } from '../domain/status-error.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Exchange } from './exchange.ts';
import type { FleetPeer } from './fleet.ts';
import { headerList, headerValue, prepareRequestHeaders, prepareResponseHeaders } from './headers.ts';
import type { ConnectAs, PeerFault, PeerTarget, PeerTransport } from './ports.ts';
import { writeStatus } from './write-status.ts';

const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/**
 * Whether a request asks for the unified document: aggregated v2 as JSON, not `profile=nopeer`.
 *
 * The first clause that names aggregated v2 decides; q-values are not weighed against the other forms, as
 * kube-apiserver does (seen on 1.33 and 1.36).
 */
export function wantsUnified(
  method: string,
  target: string,
  rawHeaders: readonly string[],
): 'apis' | 'api' | undefined {
  if (method !== 'GET' && method !== 'HEAD') return undefined;
  const queryAt = target.indexOf('?');
  const length = queryAt < 0 ? target.length : queryAt;
  if (length < 4 || length > 6) return undefined;
  const path = target.slice(0, length);
  const document =
    path === '/apis' || path === '/apis/' ? 'apis' : path === '/api' || path === '/api/' ? 'api' : undefined;
  if (document === undefined) return undefined;
  for (const clause of (headerList(rawHeaders, 'accept') ?? '').split(',')) {
    const [type, ...parameters] = clause.split(';').map((part) => part.trim());
    const has = (parameter: string) => parameters.includes(parameter);
    if (!has('g=apidiscovery.k8s.io') || !has('v=v2') || !has('as=APIGroupDiscoveryList')) continue;
    return type === 'application/json' && !has('profile=nopeer') ? document : undefined;
  }
  return undefined;
}

/** Answers discovery requests from the bundle. */
export interface UnifiedDiscovery {
  /** Resolves once answered; `homes` are tried in order for the authorisation. */
  answer(
    exchange: Exchange,
    document: 'apis' | 'api',
    bundle: RoutingBundle,
    homes: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
  ): Promise<void>;
}

/**
 * Gives the unified document only to clients whose own credentials the home server accepts for that path.
 *
 * An acceptance is remembered for ten seconds by the hash of everything in the request that says who is asking.
 */
export function createUnifiedDiscovery({
  transport,
  clock,
  acceptedForMs = 10_000,
}: {
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly acceptedForMs?: number;
}): UnifiedDiscovery {
  const acceptedUntil = new Map<string, number>();
  const etags = new Map<string, string>();
  const isAccepted = (key: string) => (acceptedUntil.get(key) ?? 0) > clock.now();
  const accept = (key: string) => {
    // Oldest first, so a bounded map is a queue.
    if (acceptedUntil.size >= 10_000)
      for (const oldest of acceptedUntil.keys()) {
        acceptedUntil.delete(oldest);
        break;
      }
    acceptedUntil.delete(key);
    acceptedUntil.set(key, clock.now() + acceptedForMs);
  };
  return {
    answer: async (exchange, document, bundle, homes, onFault) => {
      const identity = identityHeaders(exchange.rawHeaders);
      const key = createHash('sha256')
        .update(JSON.stringify([document, identity, exchange.identity.connectAs, exchange.identity.stamp]))
        .digest('base64');
      if (!isAccepted(key)) {
        const refusal = await askHomes(exchange, document, identity, homes, onFault);
        if (refusal !== undefined) return refusal();
        accept(key);
      }
      writeDocument(
        exchange,
        document === 'apis' ? bundle.apis : bundle.api,
        document === 'apis' ? bundle.apisEtag : bundle.apiEtag,
      );
    },
  };

  /** Undefined if home accepts; else how to say no. */
  async function askHomes(
    exchange: Exchange,
    document: 'apis' | 'api',
    identity: readonly string[],
    homes: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
  ): Promise<(() => void) | undefined> {
    let last: PeerFault | undefined;
    for (const { target } of homes) {
      const etagKey = `${target.address} ${document}`;
      const etag = etags.get(etagKey);
      const prepared = prepareRequestHeaders(
        [
          'Host',
          headerValue(exchange.rawHeaders, 'host') ?? target.address,
          'Accept',
          `${aggregated};profile=nopeer`,
          ...identity,
          ...(etag === undefined ? [] : ['If-None-Match', etag]),
        ],
        { remoteAddress: exchange.connection.remoteAddress, peerProxied: false, identity: exchange.identity },
      );
      if (prepared.kind === 'bad') return () => writeStatus(exchange, buildStatus(400, prepared.message));
      const answer = await fetchWhole(
        transport,
        target,
        `/${document}`,
        prepared.rawHeaders,
        exchange.identity.connectAs,
      );
      if (answer.kind === 'fault') {
        onFault(target, answer.fault);
        last = answer.fault;
        continue;
      }
      const { status, headers, body } = answer;
      if (status === 304) return undefined;
      if (status === 200) {
        const fresh = headerValue(headers, 'etag');
        if (fresh !== undefined) etags.set(etagKey, fresh);
        return undefined;
      }
      return () => {
        exchange.respond(status, headers);
        exchange.end(exchange.method === 'HEAD' ? undefined : body);
      };
    }
    const why = last?.error.message ?? 'there is none';
    return () =>
      writeStatus(exchange, buildStatus(503, `no home kube-apiserver can be asked whether this is allowed: ${why}`, 1));
  }
}

function identityHeaders(rawHeaders: readonly string[]): string[] {
  const identity: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    if (name === 'authorization' || name.startsWith('impersonate-')) identity.push(name, rawHeaders[at + 1] ?? '');
  }
  return identity;
}

function writeDocument(exchange: Exchange, document: string, etag: string): void {
  const quoted = `"${etag}"`;
  const headers = ['Vary', 'Accept', 'Cache-Control', 'public', 'Etag', quoted];
  const match = headerList(exchange.rawHeaders, 'if-none-match');
  if (match?.split(',').some((tag) => tag.trim() === quoted)) {
    exchange.respond(304, headers);
    exchange.end();
    return;
  }
  const body = Buffer.from(document);
  exchange.respond(200, ['Content-Type', aggregated, 'Content-Length', String(body.length), ...headers]);
  if (exchange.method === 'HEAD') exchange.end();
  else exchange.end(body);
}

type WholeAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly headers: string[]; readonly body: Buffer }
  | { readonly kind: 'fault'; readonly fault: PeerFault };

/** A GET whose answer is kept up to a bound; the rest of a longer one is dropped. */
function fetchWhole(
  transport: PeerTransport,
  target: PeerTarget,
  path: string,
  rawHeaders: readonly string[],
  connectAs: ConnectAs,
): Promise<WholeAnswer> {
  const bound = 64 * 1024;
  return new Promise((resolve) => {
    let status = 0;
    let headers: string[] = [];
    const chunks: Buffer[] = [];
    let size = 0;
    transport.dispatch(
      target,
      { method: 'GET', path, rawHeaders, body: null, longRunning: false, connectAs, upgrade: undefined },
      {
        onHead: (code, raw) => {
          status = code;
          headers = prepareResponseHeaders(raw);
        },
        onData: (chunk) => {
          size += chunk.length;
          if (size <= bound) chunks.push(chunk);
        },
        onEnd: () => resolve({ kind: 'answer', status, headers, body: Buffer.concat(chunks) }),
        onFault: (fault) => resolve({ kind: 'fault', fault }),
        onUpgrade: (_headers, socket) => socket.destroy(),
      },
    );
  });
}
