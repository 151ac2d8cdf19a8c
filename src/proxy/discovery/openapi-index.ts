import {
  formatOpenApiIndex,
  mergeOpenApiIndexes,
  type OpenApiIndex,
  parseOpenApiIndexText,
} from '../../domain/merge-openapi.ts';
import type { Fault } from '../../http/client/dispatch.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { PeerTarget, PeerTransport } from '../ports.ts';
import type { Exchange } from '../request/exchange.ts';
import { fetchWhole } from '../servers/fetch-whole.ts';
import type { FleetPeer } from '../servers/fleet.ts';
import { openDocumentReader } from './read-documents.ts';
import { type StoredDocument, storeDocument } from './stored-document.ts';

/** The known OpenAPI v3 documents of each peer. */
export interface OpenApiView {
  /** The peers with their indexes, in the order of the sources, without unknown peers. */
  readonly indexes: readonly (readonly [FleetPeer, OpenApiIndex])[];
  /** True if it has every source's index. */
  readonly complete: boolean;
}

/** Reports a failed server. */
type OnFault = (target: PeerTarget, fault: Fault) => void;

/** Follows the OpenAPI v3 indexes of servers. */
export interface OpenApiIndexes {
  /** Asks sources whose index is older than two seconds, with the client's own credentials. */
  read(exchange: Exchange, sources: readonly FleetPeer[], onFault: OnFault): Promise<OpenApiView>;
}

/** Ten times the index of a server with a thousand groups of custom resources. */
const maxIndexBytes = 8 * 1024 * 1024;
/** A thread parses longer ones. */
const maxInlineBytes = 128 * 1024;
/** Delay before a server with an unreadable index is asked again. */
const restMs = 30_000;
/** After this time, a request continues with the last known index. */
const lateMs = 2_000;

/** Keeps each server's index for two seconds, or longer while that server does not answer. */
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
  const asking = new Map<string, Promise<void>>();
  const restingUntil = new Map<string, number>();

  async function ask(exchange: Exchange, target: PeerTarget, onFault: OnFault): Promise<void> {
    const answer = await fetchWhole({ transport, clock }, target, exchange, {
      method: 'GET',
      path: '/openapi/v3',
      headers: ['Accept', 'application/json'],
      maxBytes: maxIndexBytes,
    });
    if (answer.kind === 'fault') {
      // A server that never finishes its answer must not delay everybody again and again.
      if (answer.fault.kind === 'answer') restingUntil.set(target.address, clock.now() + restMs);
      return onFault(target, answer.fault);
    }
    if (answer.status !== 200) return;
    const index = answer.cut ? undefined : await readIndex(answer.body, clock);
    if (index !== undefined) known.set(target.address, { index, at: clock.now() });
    else restingUntil.set(target.address, clock.now() + restMs);
  }

  function askOnce(exchange: Exchange, target: PeerTarget, onFault: OnFault): Promise<void> {
    const { address } = target;
    const running = asking.get(address);
    if (running !== undefined) return running;
    const started = ask(exchange, target, onFault).finally(() => asking.delete(address));
    asking.set(address, started);
    return started;
  }

  async function update(exchange: Exchange, target: PeerTarget, onFault: OnFault): Promise<void> {
    const before = known.get(target.address);
    if (before !== undefined && clock.now() - before.at < freshForMs) return;
    if (clock.now() < (restingUntil.get(target.address) ?? 0)) return;
    const asked = askOnce(exchange, target, onFault);
    if (before === undefined) return asked;
    const done = new AbortController();
    await Promise.race([asked, clock.sleep(lateMs, done.signal)]).finally(() => done.abort());
  }

  return {
    read: async (exchange, sources, onFault) => {
      const addresses = new Set(sources.map(({ target }) => target.address));
      for (const map of [known, restingUntil])
        for (const address of map.keys()) if (!addresses.has(address)) map.delete(address);
      await Promise.all(sources.map(({ target }) => update(exchange, target, onFault)));
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
 * The peers that can give the document of a path, best first: those whose document has the requested hash, else the one
 * in the merged index, which itself redirects to the right hash.
 */
export function choosePeersForDocument({ indexes }: OpenApiView, key: string, hash: string | undefined): FleetPeer[] {
  const having = indexes.flatMap(([peer, index]) => {
    const url = index.get(key);
    return url === undefined ? [] : [{ peer, hash: hashInUrl(url) }];
  });
  const matching = hash === undefined ? [] : having.filter((candidate) => candidate.hash === hash);
  const [first] = having;
  const chosen = matching.length > 0 ? matching : having.filter((candidate) => candidate.hash === first?.hash);
  return chosen.map(({ peer }) => peer);
}

/** The `hash` of a URL. */
export function hashInUrl(url: string): string | undefined {
  const queryAt = url.indexOf('?');
  return queryAt < 0 ? undefined : (new URLSearchParams(url.slice(queryAt + 1)).get('hash') ?? undefined);
}

async function readIndex(body: Buffer, clock: Clock): Promise<OpenApiIndex | undefined> {
  if (body.length <= maxInlineBytes) return parseOpenApiIndexText(body);
  const reader = openDocumentReader({ clock });
  try {
    return (await reader.ask('index', { kind: 'index', pieces: [new Uint8Array(body)] })).index;
  } catch {
    return undefined;
  } finally {
    reader.close();
  }
}
