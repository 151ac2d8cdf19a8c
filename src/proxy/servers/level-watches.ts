import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ProxyMetrics } from '../ports.ts';
import type { ClientConnection, Exchange } from '../request/exchange.ts';
import type { Fleet } from './fleet.ts';

/** Spreads clients' watches at home servers evenly over the servers. */
export interface WatchLeveller {
  /** A server at `address`, the client's home or a stand-in for it, has begun to answer a watch. */
  begin(exchange: Exchange, address: string): void;
  /** Call it when an exchange has closed, even if it was never begun. */
  end(exchange: Exchange): void;
}

/** Watches of one client connection at one server, in the order in which they began. */
type OfConnection = Map<ClientConnection, Set<Exchange>>;

/**
 * How long a server must have been usable before it takes watches from others, so that one which comes and goes gets
 * none.
 */
const settledAfterMs = 15_000;

/** The maximum share of all watches that moves at once: a twelfth, so that clients do not all come back together. */
const stepShare = 1 / 12;

/** Servers are level while the busiest has at most this many times the mean. */
const tolerance = 1.15;

/**
 * Checks every `periodMs` whether some servers have far more watches than others, for example after all were restarted
 * in turn, and moves some of the surplus.
 *
 * It moves a watch as kube-apiserver ends it at its timeout: the answer is complete, and the client resumes on another
 * server from the resource version that it has seen. First it tells the connection to end (GOAWAY, or `Connection:
 * close` with the next answer), so that later reads on that connection stay where they are and nobody's reads go back
 * in time. It ends only watches; logs, exec and the like run on.
 */
export function createWatchLeveller({
  fleet,
  clock,
  log,
  metrics,
  periodMs,
  signal,
}: {
  readonly fleet: Pick<Fleet, 'current' | 'usable' | 'homeOf' | 'pinnedHome'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<ProxyMetrics, 'movedWatches'>;
  /** 0 means never. */
  readonly periodMs: number;
  readonly signal: AbortSignal;
}): WatchLeveller {
  const byAddress = new Map<string, OfConnection>();
  const places = new Map<Exchange, string>();
  const usableSince = new Map<string, number>();

  function noteUsable(): void {
    const usable = fleet
      .current()
      .peers.filter(fleet.usable)
      .map(({ target }) => target.address);
    for (const address of usableSince.keys()) if (!usable.includes(address)) usableSince.delete(address);
    for (const address of usable) if (!usableSince.has(address)) usableSince.set(address, clock.now());
  }

  /** Servers that have been usable for a while. */
  function settled(): string[] {
    const now = clock.now();
    return [...usableSince].filter(([, since]) => now - since >= settledAfterMs).map(([address]) => address);
  }

  function look(): void {
    noteUsable();
    const counts = new Map(settled().map((address) => [address, countOf(address)]));
    const moves = planMoves(counts, fleet.pinnedHome(), Math.ceil(places.size * stepShare));
    for (const [address, count] of moves) {
      metrics.movedWatches.inc(count);
      log.info('moving watches from a kube-apiserver that has more than others', { address, count });
      for (const exchange of pick(address, count)) move(exchange);
    }
  }

  function countOf(address: string): number {
    let count = 0;
    for (const watches of byAddress.get(address)?.values() ?? []) count += watches.size;
    return count;
  }

  /** Takes those of few connections, because every connection of a moved watch must end. */
  function pick(address: string, count: number): Exchange[] {
    const connections = [...(byAddress.get(address) ?? [])];
    const leavingFirst = connections.sort(([a], [b]) => Number(b.isLeaving === true) - Number(a.isLeaving === true));
    return leavingFirst.flatMap(([, watches]) => [...watches]).slice(0, count);
  }

  function move(exchange: Exchange): void {
    const { connection } = exchange;
    connection.isLeaving = true;
    connection.leave?.();
    exchange.end();
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(periodMs, signal);
      if (signal.aborted) return;
      try {
        look();
      } catch (error) {
        log.error('cannot level watches', { error: String(error) });
      }
    }
  }
  if (periodMs > 0) void run().catch(() => {});

  return {
    begin(exchange, address) {
      const connections: OfConnection = byAddress.get(address) ?? new Map();
      const watches = connections.get(exchange.connection) ?? new Set();
      byAddress.set(address, connections.set(exchange.connection, watches.add(exchange)));
      places.set(exchange, address);
    },
    end(exchange) {
      const address = places.get(exchange);
      if (address === undefined) return;
      places.delete(exchange);
      const connections = byAddress.get(address);
      const watches = connections?.get(exchange.connection);
      watches?.delete(exchange);
      if (watches?.size === 0) connections?.delete(exchange.connection);
      if (connections?.size === 0) byAddress.delete(address);
    },
  };
}

/**
 * How many watches each server should give away, at most `most` in total; none while servers are level.
 *
 * @param pinnedHome The server that all watches belong to, if there is one: the others give theirs away.
 */
export function planMoves(
  counts: ReadonlyMap<string, number>,
  pinnedHome: string | undefined,
  most: number,
): ReadonlyMap<string, number> {
  const moves = new Map<string, number>();
  let left = most;
  const give = (address: string, count: number) => {
    const given = Math.min(count, left);
    left -= given;
    if (given > 0) moves.set(address, given);
  };
  if (pinnedHome !== undefined) {
    if (counts.has(pinnedHome)) for (const [address, count] of counts) if (address !== pinnedHome) give(address, count);
    return moves;
  }
  const mean = [...counts.values()].reduce((sum, count) => sum + count, 0) / counts.size;
  const busiest = Math.max(...counts.values());
  // A server with one more than its share has nothing to give.
  if (busiest <= mean * tolerance || busiest - mean < 1) return moves;
  for (const [address, count] of [...counts].sort(([, a], [, b]) => b - a)) give(address, Math.floor(count - mean));
  return moves;
}
