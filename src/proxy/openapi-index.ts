import { findJsonExcess } from '../domain/count-json.ts';
import {
  formatOpenApiIndex,
  mergeOpenApiIndexes,
  type OpenApiIndex,
  parseOpenApiIndex,
} from '../domain/merge-openapi.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Exchange } from './exchange.ts';
import { fetchWhole } from './fetch-whole.ts';
import type { FleetPeer } from './fleet.ts';
import type { PeerFault, PeerTarget, PeerTransport } from './ports.ts';
import { type StoredDocument, storeDocument } from './stored-document.ts';

/** What is known of who has which OpenAPI v3 document. */
export interface OpenApiView {
  /** The peers with their indexes, in the order of the sources; a peer of which nothing is known is left out. */
  readonly indexes: readonly (readonly [FleetPeer, OpenApiIndex])[];
  /** True if every source's index is in it. */
  readonly complete: boolean;
}

/** Follows the OpenAPI v3 indexes of servers. */
export interface OpenApiIndexes {
  /** Asks those sources whose index is not of the last two seconds, with the client's own credentials. */
  read(
    exchange: Exchange,
    sources: readonly FleetPeer[],
    onFault: (target: PeerTarget, fault: PeerFault) => void,
  ): Promise<OpenApiView>;
}

/** Keeps each server's index for two seconds, and longer only while that server does not answer. */
export function createOpenApiIndexes({
  transport,
  clock,
  freshForMs = 2_000,
}: {
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly freshForMs?: number;
}): OpenApiIndexes {
  const known = new Map<string, { readonly index: OpenApiIndex; readonly at: number }>();
  return {
    read: async (exchange, sources, onFault) => {
      const addresses = new Set(sources.map(({ target }) => target.address));
      for (const address of known.keys()) if (!addresses.has(address)) known.delete(address);
      await Promise.all(
        sources.map(async ({ target }) => {
          const before = known.get(target.address);
          if (before !== undefined && clock.now() - before.at < freshForMs) return;
          const answer = await fetchWhole({ transport, clock }, target, exchange, {
            method: 'GET',
            path: '/openapi/v3',
            headers: ['Accept', 'application/json'],
            maxBytes: 8 * 1024 * 1024,
          });
          if (answer.kind === 'fault') return onFault(target, answer.fault);
          const index = answer.status === 200 && !answer.cut ? readIndex(answer.body) : undefined;
          if (index !== undefined) known.set(target.address, { index, at: clock.now() });
        }),
      );
      const indexes = sources.flatMap((peer) => {
        const entry = known.get(peer.target.address);
        return entry === undefined ? [] : [[peer, entry.index] as const];
      });
      return { indexes, complete: indexes.length === sources.length };
    },
  };
}

/** `/openapi/v3` as one document over all servers. */
export function storeOpenApiIndex({ indexes }: OpenApiView): StoredDocument {
  return storeDocument({
    body: Buffer.from(formatOpenApiIndex(mergeOpenApiIndexes(indexes.map(([, index]) => index)))),
    contentType: 'application/json',
    cacheControl: 'no-cache, private',
    vary: false,
  });
}

/**
 * The peers that can give the document of a path, best first: those whose document has the hash that is asked for, else
 * the one that the merged index names, which redirects to the right hash itself.
 */
export function choosePeersForDocument({ indexes }: OpenApiView, key: string, hash: string | undefined): FleetPeer[] {
  const having = indexes.flatMap(([peer, index]) => {
    const url = index.get(key);
    return url === undefined ? [] : [{ peer, hash: hashOf(url) }];
  });
  const matching = hash === undefined ? [] : having.filter((candidate) => candidate.hash === hash);
  const [first] = having;
  const chosen = matching.length > 0 ? matching : having.filter((candidate) => candidate.hash === first?.hash);
  return chosen.map(({ peer }) => peer);
}

/** The `hash` of a URL. */
export function hashOf(url: string): string | undefined {
  const queryAt = url.indexOf('?');
  return queryAt < 0 ? undefined : (new URLSearchParams(url.slice(queryAt + 1)).get('hash') ?? undefined);
}

function readIndex(body: Buffer): OpenApiIndex | undefined {
  if (findJsonExcess(body) !== undefined) return undefined;
  try {
    return parseOpenApiIndex(JSON.parse(body.toString('utf8')));
  } catch {
    return undefined;
  }
}
