import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError, type StatusBody } from './api-error.ts';
import { createLineDecoder, OversizedLineError } from './line-decoder.ts';

/** The fields of an object that the reflector needs. */
export interface Watchable {
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
  };
}

/** A change of the store, or `Synced` after each whole list. */
export type ReflectorEvent<T> =
  | { readonly type: 'Added' | 'Modified' | 'Deleted'; readonly object: T }
  | { readonly type: 'Synced' };

/** Why the store may be outdated, and since when. */
export interface ReflectorTrouble {
  readonly since: number;
  readonly message: string;
}

/** A local copy of a resource. */
export interface Reflector<T> {
  /** Objects by `namespace/name`, or by `name` if cluster-scoped. The map is updated in place, so do not keep it. */
  items(): ReadonlyMap<string, T>;
  /** True once a whole list has been stored. */
  readonly synced: boolean;
  /**
   * When the last whole list, event or bookmark arrived; undefined before the first. Opening a watch does not count.
   */
  readonly lastContactAtMs: number | undefined;
  /** Set while lists or watches fail. The store keeps the last known objects. */
  readonly failing: ReflectorTrouble | undefined;
  /** Resolves at the first sync. Never resolves if the reflector is stopped before. */
  whenSynced(): Promise<void>;
  /** Resolves after `signal` has stopped it and its connection is closed. */
  readonly stopped: Promise<void>;
}

/** The options of a reflector. */
export interface ReflectorOptions<T extends Watchable> {
  readonly client: ApiClient;
  /** Path of the collection, such as `/apis/coordination.k8s.io/v1/namespaces/kube-system/leases`. */
  readonly path: string;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly onChange: (event: ReflectorEvent<T>) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random: () => number;
  /** A watch that is silent for this long is dead. Bookmarks come about every minute. */
  readonly watchdogMs?: number;
  readonly backoffBaseMs?: number;
  readonly backoffCapMs?: number;
  readonly pageSize?: number;
  readonly maxLineBytes?: number;
  /** Maximum length of all objects together, as JSON. */
  readonly maxBytes?: number;
}

/** The objects are longer together than this process may keep. */
class TooLongError extends Error {
  override readonly name = 'TooLongError';

  constructor(
    { path, labelSelector }: { readonly path: string; readonly labelSelector?: string | undefined },
    maxBytes: number,
  ) {
    const selected = labelSelector === undefined ? '' : ` with the label ${labelSelector}`;
    const most = `${maxBytes / 1024 ** 2} MiB`;
    super(`the objects of ${path}${selected} are longer than ${most} together: delete those that do not belong there`);
  }
}

/** Lengths of objects as JSON. */
class HeldLengths {
  readonly #lengths = new Map<string, number>();
  #sum = 0;

  /** Takes a whole list, each object of its mean length. */
  replaceAll(keys: readonly string[], bytes: number): void {
    this.#lengths.clear();
    for (const key of keys) this.#lengths.set(key, bytes / keys.length);
    this.#sum = bytes;
  }

  /** The sum if an object had this length. */
  with(key: string, length: number): number {
    return this.#sum - (this.#lengths.get(key) ?? 0) + length;
  }

  /** Takes the length of an object; 0 when it is gone. */
  put(key: string, length: number): void {
    this.#sum = this.with(key, length);
    if (length === 0) this.#lengths.delete(key);
    else this.#lengths.set(key, length);
  }
}

type WatchEnd =
  /** The server ended it cleanly, as it does after `timeoutSeconds`. */
  | { readonly type: 'Ended' }
  /** The resource version is too old. */
  | { readonly type: 'Expired' }
  | { readonly type: 'Failed'; readonly error: unknown; readonly relist: boolean };

interface WatchEvent<T> {
  readonly type: string;
  readonly object: T & StatusBody;
}

const floorMs = 100;
// Reading an oversized list again costs a second of work.
const tooLongDelayMs = 60_000;
// Maximum delay for a resource that does not exist, because its CustomResourceDefinition is not installed yet.
const unknownResourceCapMs = 10_000;
// A server may ask for a delay, but not for ever.
const retryAfterCapMs = 60_000;
// A watch that lived this long counts as a success.
const healthyWatchMs = 5_000;
// Enough for 30,000 Leases.
const defaultMaxBytes = 32 * 1024 * 1024;

/**
 * Keeps a copy of a resource until `signal` aborts, whatever fails. It never gives up, and always shows the last
 * complete state.
 *
 * It lists pages of the most recent state. Its watches ask for bookmarks and resume where they ended. After 410 it
 * compares the new list with the store and reports only the differences. client-node's informer, in contrast, ends for
 * good on any other error.
 *
 * It keeps at most `maxBytes` of objects, so that clients who can write them cannot exhaust the memory. Beyond that it
 * reports a failure and keeps the objects that it has.
 *
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export function startReflector<T extends Watchable>(options: ReflectorOptions<T>): Reflector<T> {
  const { client, path, clock, signal, random } = options;
  const { watchdogMs = 90_000, backoffBaseMs = 500, backoffCapMs = 10_000, maxLineBytes = 16 * 1024 * 1024 } = options;
  const { maxBytes = defaultMaxBytes } = options;
  const log = options.log.child({ watch: path });
  const items = new Map<string, T>();
  const held = new HeldLengths();
  const backoff = createBackoff({ baseMs: backoffBaseMs, capMs: backoffCapMs, floorMs: floorMs, random });
  const selectors = { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
  let resourceVersion: string | undefined;
  let synced = false;
  let lastContactAtMs: number | undefined;
  let failing: ReflectorTrouble | undefined;
  // A watch that opens and then fails without an event has fixed nothing.
  let troubledSince: number | undefined;
  let resolveSynced: () => void = () => {};
  const whenSynced = new Promise<void>((resolve) => {
    resolveSynced = resolve;
  });

  function tell(event: ReflectorEvent<T>) {
    const report = (error: unknown) => log.error('a change handler failed', { event: event.type, error });
    try {
      // A handler that turns out to be async must not end the process.
      const returned: unknown = options.onChange(event);
      if (returned instanceof Promise) returned.catch(report);
    } catch (error) {
      report(error);
    }
  }

  async function list(): Promise<void> {
    const found = await client.list<T>(path, { query: selectors, signal, pageSize: options.pageSize, maxBytes });
    signal.throwIfAborted();
    lastContactAtMs = clock.now();
    const fresh = new Map<string, T>();
    for (const object of found.items) fresh.set(keyOf(object), object);
    for (const [key, before] of [...items]) {
      const now = fresh.get(key);
      if (now && now.metadata?.uid === before.metadata?.uid) continue;
      items.delete(key);
      tell({ type: 'Deleted', object: before });
    }
    for (const [key, object] of fresh) {
      const before = items.get(key);
      if (before && before.metadata?.resourceVersion === object.metadata?.resourceVersion) continue;
      items.set(key, object);
      tell({ type: before ? 'Modified' : 'Added', object });
    }
    held.replaceAll([...fresh.keys()], found.bytes);
    resourceVersion = found.resourceVersion;
    synced = true;
    troubledSince = undefined;
    resolveSynced();
    tell({ type: 'Synced' });
  }

  /** @throws TooLongError, and takes nothing, if the objects would be too long together. */
  function apply({ type, object }: WatchEvent<T>, length: number) {
    const key = keyOf(object);
    const before = items.get(key);
    if (type === 'DELETED') {
      held.put(key, 0);
      items.delete(key);
      if (before) tell({ type: 'Deleted', object });
    } else {
      if (held.with(key, length) > maxBytes) throw new TooLongError(options, maxBytes);
      held.put(key, length);
      items.set(key, object);
      tell({ type: before ? 'Modified' : 'Added', object });
    }
  }

  /** Returns undefined to continue. */
  function takeLine(line: string): WatchEnd | undefined {
    const event = JSON.parse(line) as WatchEvent<T>;
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
      case 'BOOKMARK': {
        const version = event.object?.metadata?.resourceVersion;
        if (!version) throw new Error(`a ${event.type} event has no resourceVersion`);
        if (event.type !== 'BOOKMARK') apply(event, line.length);
        resourceVersion = version;
        return undefined;
      }
      case 'ERROR':
        if (event.object.code === 410) return { type: 'Expired' };
        return { type: 'Failed', error: errorOf(path, event.object), relist: false };
      default:
        throw new Error(`unknown watch event type ${JSON.stringify(event.type)}`);
    }
  }

  async function watch(): Promise<WatchEnd> {
    const abort = new AbortController();
    const stop = () => abort.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    let heard = true;
    try {
      const stream = await client.requestStream(path, {
        query: {
          ...selectors,
          watch: true,
          allowWatchBookmarks: true,
          resourceVersion,
          timeoutSeconds: 300 + Math.floor(random() * 301),
        },
        signal: abort.signal,
      });
      opened();
      void watchSilence(abort, () => {
        const was = heard;
        heard = false;
        return was;
      });
      const decoder = createLineDecoder(maxLineBytes);
      for await (const chunk of stream) {
        heard = true;
        for (const line of decoder.push(chunk)) {
          const end = takeLine(line);
          if (end) return end;
          lastContactAtMs = clock.now();
          troubledSince = undefined;
          backoff.reset();
        }
      }
      if (decoder.pendingBytes > 0) throw new Error('the watch ended within an event');
      return { type: 'Ended' };
    } catch (error) {
      if (error instanceof ApiError && error.code === 410) return { type: 'Expired' };
      // Such an event would come again at the same resource version.
      const unreadable =
        error instanceof OversizedLineError || error instanceof SyntaxError || error instanceof TooLongError;
      const refused = error instanceof ApiError && (error.code === 400 || error.code === 404);
      return { type: 'Failed', error, relist: unreadable || refused };
    } finally {
      signal.removeEventListener('abort', stop);
      abort.abort(new Error('the watch is over'));
    }
  }

  /** Ends a watch after `watchdogMs` without a byte (up to a third more), whatever the wall clock does. */
  async function watchSilence(abort: AbortController, takeHeard: () => boolean) {
    const slices = 3;
    for (let silent = 0; silent < slices; ) {
      await clock.sleep(watchdogMs / slices, abort.signal);
      if (abort.signal.aborted) return;
      silent = takeHeard() ? 0 : silent + 1;
    }
    abort.abort(new Error(`the watch was silent for ${watchdogMs} ms`));
  }

  function opened() {
    if (failing) log.info('watch works again', { failedForMs: Math.round(clock.now() - failing.since) });
    failing = undefined;
  }

  async function waitAfter(error: unknown) {
    const unknownResource = isUnknownResource(error);
    const message = unknownResource
      ? `the API server does not serve ${path}: is its CustomResourceDefinition installed?`
      : error instanceof Error
        ? error.message
        : String(error);
    if (failing?.message !== message) log.warn('cannot watch; trying again', { message });
    troubledSince ??= clock.now();
    failing = { since: troubledSince, message };
    const backoffMs = backoff.nextMs();
    const ownMs = Math.min(backoffMs, unknownResource ? unknownResourceCapMs : backoffMs);
    const asked = askedDelayMs(error);
    await clock.sleep(asked === undefined ? ownMs : asked + random() * backoffBaseMs, signal);
  }

  // The first 410 after progress is retried at once; further ones in a row wait.
  let expiredInRow = 0;

  /** Lists again. Returns false if that failed. */
  async function tryList(): Promise<boolean> {
    try {
      await list();
      return true;
    } catch (caught) {
      if (signal.aborted) return false;
      const isTooLong = caught instanceof ApiError && caught.reason === 'BodyTooLarge';
      const error = isTooLong ? new TooLongError(options, maxBytes) : caught;
      const isFirstExpiry = error instanceof ApiError && error.code === 410 && expiredInRow++ === 0;
      if (!isFirstExpiry) await waitAfter(error);
      return false;
    }
  }

  async function recoverFrom(end: WatchEnd, progressed: boolean): Promise<void> {
    if (end.type === 'Expired') {
      resourceVersion = undefined;
      log.debug('resource version expired; listing again');
      if (expiredInRow++ > 0) await waitAfter(new Error('resource version expires at once'));
    } else if (end.type === 'Failed') {
      if (end.relist) resourceVersion = undefined;
      await waitAfter(end.error);
    } else if (!progressed) {
      // A clean end at once is no reason for alarm, but must not become a busy loop.
      await clock.sleep(backoff.nextMs(), signal);
    }
  }

  async function run() {
    while (!signal.aborted) {
      if (resourceVersion === undefined && !(await tryList())) continue;
      const startedAt = clock.now();
      const versionBefore = resourceVersion;
      const end = await watch();
      if (signal.aborted) return;
      const progressed = resourceVersion !== versionBefore || clock.now() - startedAt >= healthyWatchMs;
      if (progressed) {
        backoff.reset();
        expiredInRow = 0;
      }
      await recoverFrom(end, progressed);
    }
  }

  const stopped = run().catch((error: unknown) => {
    if (!signal.aborted) log.error('the reflector stopped because of an internal error', { error });
  });

  return {
    items: () => items,
    get synced() {
      return synced;
    },
    get lastContactAtMs() {
      return lastContactAtMs;
    },
    get failing() {
      return failing;
    },
    whenSynced: () => whenSynced,
    stopped,
  };
}

/** The error of an event of type ERROR. */
function errorOf(path: string, status: StatusBody): ApiError {
  const retryAfterS = status.details?.retryAfterSeconds;
  const retryAfterMs = retryAfterS === undefined ? undefined : retryAfterS * 1000;
  const { code = 0, reason = 'Unknown', message = reason } = status;
  return new ApiError(`WATCH ${path}: ${message}`, { code, reason, method: 'WATCH', path, status, retryAfterMs });
}

function isUnknownResource(error: unknown): boolean {
  return error instanceof ApiError && error.missing === 'Resource';
}

/** How long to wait at least, whatever the backoff says; undefined if nothing is known. */
function askedDelayMs(error: unknown): number | undefined {
  if (error instanceof TooLongError) return tooLongDelayMs;
  if (!(error instanceof ApiError) || error.retryAfterMs === undefined) return undefined;
  return Math.min(error.retryAfterMs, retryAfterCapMs);
}

/** The object's key in the store. */
function keyOf(object: Watchable): string {
  const { name, namespace } = object?.metadata ?? {};
  if (!name) throw new Error('an object has no metadata.name');
  return namespace ? `${namespace}/${name}` : name;
}
