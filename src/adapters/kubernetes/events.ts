import { randomBytes } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { microTime } from './leader-election.ts';

/** The object that an event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
}

/** Writes Kubernetes Events. */
export interface EventRecorder {
  /** Never throws and never waits. Events beyond the object's rate are dropped. */
  record(object: ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string, action: string): void;
  /** Resolves when everything recorded so far has been sent or dropped. */
  flush(): Promise<void>;
}

/** The reporter of the events. */
export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** For example `peerdiscovery.dev/operator`. */
  readonly component: string;
  /** For example the Pod's name. */
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal?: AbortSignal;
}

interface Series {
  path: string | undefined;
  count: number;
  lastAtMs: number;
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

const seriesMs = 10 * 60_000;
// Like client-go's spam filter: a burst of 25 for each object, then one every 5 minutes.
const burst = 25;
const refillMs = 5 * 60_000;
const maxRemembered = 2048;
const maxQueued = 200;

/**
 * Creates a recorder of `events.k8s.io/v1` Events that neither fails nor blocks its caller. It sends one at a time in
 * order, joins repetitions within 10 minutes into a series, and drops the excess. It logs failures at level debug.
 *
 * Events on cluster-scoped objects are in namespace `default`, where Kubernetes expects them.
 */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, component, instance, clock, log, signal } = options;
  const seriesByKey = new Map<string, Series>();
  const buckets = new Map<string, Bucket>();
  let queue: Promise<void> = Promise.resolve();
  let queued = 0;

  function takeToken(object: ObjectReference): boolean {
    const key = JSON.stringify([object.apiVersion, object.kind, object.namespace, object.name, object.uid]);
    const now = clock.now();
    const bucket = buckets.get(key) ?? { tokens: burst, filledAtMs: now };
    const refill = Math.max(0, Math.floor((now - bucket.filledAtMs) / refillMs));
    bucket.tokens = Math.min(burst, bucket.tokens + refill);
    bucket.filledAtMs = bucket.tokens === burst ? now : bucket.filledAtMs + refill * refillMs;
    remember(buckets, key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  async function send(
    series: Series,
    count: number,
    atMs: number,
    event: Record<string, unknown>,
    object: ObjectReference,
  ) {
    const namespace = object.namespace ?? 'default';
    const collection = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
    if (series.path !== undefined && count > 1) {
      try {
        const patch = { series: { count, lastObservedTime: microTime(atMs) } };
        await client.patchMerge(series.path, patch, { signal });
        return;
      } catch (error) {
        // Events expire within the hour; a repetition then starts a new one.
        if (!(error instanceof ApiError) || error.code !== 404) throw error;
        series.count = 1;
      }
    }
    const eventName = `${object.name.slice(0, 220)}.${randomBytes(8).toString('hex')}`;
    await client.create(
      collection,
      { ...event, metadata: { name: eventName, namespace }, eventTime: microTime(atMs) },
      { signal },
    );
    series.path = `${collection}/${eventName}`;
  }

  return {
    record(object, type, reason, message, action) {
      if (signal?.aborted) return;
      const now = clock.now();
      if (queued >= maxQueued || !takeToken(object)) {
        log.debug('event dropped by rate limit', { kind: object.kind, name: object.name, reason });
        return;
      }
      const event = {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        type,
        reason: truncate(reason, 128),
        action: truncate(action, 128),
        note: truncate(message, 1024),
        regarding: object,
        reportingController: component,
        reportingInstance: truncate(instance, 128),
      };
      const key = JSON.stringify([event.regarding, type, reason, event.note, action]);
      const known = seriesByKey.get(key);
      const series = known && now - known.lastAtMs <= seriesMs ? known : { path: undefined, count: 0, lastAtMs: now };
      const count = series.count + 1;
      series.count = count;
      series.lastAtMs = now;
      const atMs = clock.date();
      remember(seriesByKey, key, series);
      queued += 1;
      queue = queue
        .then(() => send(series, count, atMs, event, object))
        .catch((error: unknown) => log.debug('event not written', { reason, error }))
        .finally(() => {
          queued -= 1;
        });
    },
    flush: () => queue,
  };
}

/** Evicts the least recently used entry, so that memory is bounded. */
function remember<V>(map: Map<string, V>, key: string, value: V) {
  map.delete(key);
  map.set(key, value);
  if (map.size <= maxRemembered) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}

/** Cuts to `maxBytes` of UTF-8, as the API server counts bytes. */
function truncate(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const cut = Buffer.from(text).subarray(0, maxBytes - 3);
  return `${cut.toString('utf8').replace(/\uFFFD+$/, '')}…`;
}
