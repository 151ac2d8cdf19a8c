import { type Counted, fieldsCost, type Keeper, pieceCost } from '../../http/server/held-bytes.ts';
import type { ProxyMetrics } from '../ports.ts';
import type { PreparedFields } from '../request/forwarded-headers.ts';

/** The memory of an idle client connection. */
interface Remembered {
  readonly rawHeaders?: readonly string[] | undefined;
  readonly prepared?: PreparedFields | undefined;
  readonly sticky: { readonly size: number };
  readonly accepted?: { readonly size: number };
}

/** Remembered data of a client connection. */
export function memoryCost(client: Remembered, counted: Counted): number {
  const { rawHeaders, prepared, sticky, accepted } = client;
  let cost = (sticky.size + (accepted?.size ?? 0)) * pieceCost;
  if (rawHeaders !== undefined) cost += fieldsCost(rawHeaders, counted);
  if (prepared === undefined) return cost;
  const { from, made } = prepared;
  cost += fieldsCost(from.rawHeaders, counted) + fieldsCost(made.rawHeaders, counted);
  return cost + made.written.size;
}

/** The share of all bytes for each user, and for all clients together without an accepted credential. */
const userPart = 1 / 2;
const unknownPart = 1 / 8;
/** A user above its share is cut down to this part of it, so that the next check is not due at once. */
const keptPart = 3 / 4;
/** The next check is due when this part of the free bytes has come in. */
const lookPart = 1 / 4;

interface Weighed {
  readonly keeper: Keeper;
  readonly bytes: number;
}

/**
 * Limits the bytes held for clients: in total, for each user, and for clients that no server has accepted yet.
 *
 * All held bytes have arrived or were created for sending. So it is enough to check the holders whenever enough bytes
 * have passed that a limit might be reached; the fewer bytes are free, the sooner. Beyond a limit, it cuts off the
 * largest holders first.
 */
export class KeptBytes {
  readonly #maxBytes: number;
  readonly #metrics: Pick<ProxyMetrics, 'limited'>;
  readonly #sources: (() => Iterable<Keeper>)[] = [];
  #passed = 0;
  #dueAt: number;
  #isDue = false;

  constructor(maxBytes: number, metrics: Pick<ProxyMetrics, 'limited'>) {
    this.#maxBytes = maxBytes;
    this.#metrics = metrics;
    this.#dueAt = maxBytes * unknownPart * lookPart;
  }

  /** Adds a source of keepers. */
  watch(source: () => Iterable<Keeper>): void {
    this.#sources.push(source);
  }

  /** Counts bytes that have arrived or wait to be sent. */
  note(bytes: number): void {
    this.#passed += bytes;
    if (this.#passed < this.#dueAt || this.#isDue) return;
    this.#isDue = true;
    // The caller is in the middle of its work, and continues only after this has run.
    queueMicrotask(() => this.weigh());
  }

  /** Checks all holders, and cuts off the largest beyond the limits. */
  weigh(): void {
    this.#isDue = false;
    this.#passed = 0;
    const counted: Counted = new Set();
    const unknown: Weighed[] = [];
    const byUser = new Map<string, Weighed[]>();
    for (const source of this.#sources)
      for (const keeper of source()) {
        const bytes = keeper.keptBytes(counted);
        if (bytes === 0) continue;
        const { owner } = keeper;
        const list = owner === undefined ? unknown : (byUser.get(owner) ?? []);
        if (owner !== undefined) byUser.set(owner, list);
        list.push({ keeper, bytes });
      }
    const max = this.#maxBytes;
    const ofUnknown = this.#bound(unknown, max * unknownPart, 'unauthenticated_buffered_bytes');
    let most = 0;
    let all = ofUnknown;
    for (const list of byUser.values()) {
      const held = this.#bound(list, max * userPart, 'user_buffered_bytes');
      most = Math.max(most, held);
      all += held;
    }
    if (all > max) all = this.#bound([...unknown, ...[...byUser.values()].flat()], max, 'buffered_bytes');
    const free = Math.min(max - all, max * userPart - most, max * unknownPart - ofUnknown);
    this.#dueAt = Math.max(free * lookPart, (max * unknownPart) / 32);
  }

  /** Cuts off the largest holders of a list until it fits. Returns the others. */
  #bound(list: readonly Weighed[], max: number, limit: string): number {
    let held = sum(list);
    if (held <= max) return held;
    for (const { keeper, bytes } of [...list].sort((a, b) => b.bytes - a.bytes)) {
      if (held <= max * keptPart) break;
      held -= bytes;
      this.#metrics.limited.inc({ limit });
      keeper.cut();
    }
    return held;
  }
}

function sum(list: readonly Weighed[]): number {
  return list.reduce((all, { bytes }) => all + bytes, 0);
}
