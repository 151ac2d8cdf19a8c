import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';

/** One kube-apiserver to reach the API through. */
export interface ApiWay {
  /** `ip:port` of a server that was learned; undefined for the one that the kubeconfig names. */
  readonly address: string | undefined;
  /** DNS name that a learned server's certificate has to bear. */
  readonly serverName: string | undefined;
}

/** What a look at a server's `/readyz` found: `Refusing` is 401 or 403, which only a server that lives says. */
export type WayState = 'Ready' | 'Refusing' | 'Failing';

/** Chooses the server that an API client uses, and leaves it as soon as another one answers and it does not. */
export interface ApiWays {
  readonly current: ApiWay;
  /**
   * Replaces the learned servers; the one in use stays in use until it fails.
   *
   * The exception is the kubeconfig's own where that is `shared`: a Service's or load balancer's address gives each
   * connection to another server, so that a look on one says nothing of the others. A learned server is used instead as
   * soon as one is ready.
   */
  learn(ways: readonly ApiWay[], shared: boolean): void;
  /** Looks at the server in use at regular times from now on, for as long as something is owed. */
  watch(): void;
  /** Looks at it now, as a connection to it has failed. */
  suspect(): Promise<void>;
  close(): void;
}

/** What the choice depends on. */
export interface ApiWaysOptions {
  /** Asks one server whether it is ready; it has to end when the signal aborts. */
  readonly probe: (way: ApiWay, signal: AbortSignal) => Promise<WayState>;
  /** True while an answer is awaited or a watch is open. */
  readonly owed: () => boolean;
  /** `silent` is true if nothing more is expected of `from`; else requests that it has may end there. */
  readonly onChange: (from: ApiWay, to: ApiWay, silent: boolean) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

const intervalMs = 800;
const limitMs = 1_000;
/** How many other servers are asked at once. */
const maxCandidates = 5;
/** Looks between two attempts to leave a shared address. */
const sharedAgainEvery = 30;

/**
 * Begins with the kubeconfig's server.
 *
 * A silent server is left within 2 s: the look at it comes after 0.8 s at most and takes 1 s at most, and the others
 * are asked together. Where no other is ready, the one in use stays.
 */
export function createApiWays({ probe, owed, onChange, clock, random, log }: ApiWaysOptions): ApiWays {
  const closing = new AbortController();
  const first: ApiWay = { address: undefined, serverName: undefined };
  let learned: readonly ApiWay[] = [];
  let shared = false;
  let current = first;
  let watching = false;
  let looks = 0;
  let checking: Promise<void> | undefined;

  /** The other servers, by turns: all of the first turn are asked before any of the second. */
  function others(): readonly (readonly ApiWay[])[] {
    const but = (ways: readonly ApiWay[]) => ways.filter(({ address }) => address !== current.address);
    const turns = shared ? [but(learned), but([first])] : [but([first, ...learned])];
    return turns.filter((turn) => turn.length > 0);
  }

  /** A server that gives no answer is failing. */
  async function look(way: ApiWay, signal: AbortSignal): Promise<WayState> {
    const limit = AbortSignal.any([signal, closing.signal]);
    return await probe(way, limit).catch(() => 'Failing');
  }

  /** Runs `work` with a signal that aborts after the limit. */
  async function within<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result | undefined> {
    const limit = new AbortController();
    const ended = new AbortController();
    const late = clock.sleep(limitMs, ended.signal).then(() => {
      limit.abort(new Error(`no answer in ${limitMs} ms`));
      return undefined;
    });
    try {
      return await Promise.race([work(limit.signal), late]);
    } finally {
      ended.abort();
    }
  }

  async function firstReady(turn: readonly ApiWay[]): Promise<ApiWay | undefined> {
    const from = Math.floor(random() * turn.length);
    const candidates = [...turn.slice(from), ...turn.slice(0, from)].slice(0, maxCandidates);
    return await within((signal) =>
      Promise.any(
        candidates.map(async (way) => {
          if ((await look(way, signal)) !== 'Ready') throw new Error('not ready');
          return way;
        }),
      ).catch(() => undefined),
    );
  }

  function use(to: ApiWay, silent: boolean): void {
    const from = current;
    current = to;
    const servers = { from: nameOf(from), to: nameOf(to) };
    if (silent) log.warn('the API server does not answer or is not ready; another one is used', servers);
    else log.info('a kube-apiserver is used by its own address', servers);
    onChange(from, to, silent);
  }

  async function check(): Promise<void> {
    const turns = others();
    if (turns.length === 0) return;
    const state = await within((signal) => look(current, signal));
    if (state === 'Ready' || state === 'Refusing') return;
    for (const turn of turns) {
      const to = await firstReady(turn);
      if (closing.signal.aborted) return;
      if (to !== undefined) return use(to, true);
    }
  }

  async function leaveShared(): Promise<void> {
    const to = await firstReady(learned);
    if (to !== undefined && current === first && !closing.signal.aborted) use(to, false);
  }

  /** One look at a time, whatever it is for. */
  function once(work: () => Promise<void>): Promise<void> {
    checking ??= work().finally(() => {
      checking = undefined;
    });
    return checking;
  }

  async function run(): Promise<void> {
    while (owed() && !closing.signal.aborted) {
      await clock.sleep(intervalMs * (0.75 + 0.25 * random()), closing.signal);
      if (!owed() || closing.signal.aborted) continue;
      await once(check);
      looks += 1;
      if (shared && current === first && looks % sharedAgainEvery === 0) await once(leaveShared);
    }
    watching = false;
  }

  return {
    get current() {
      return current;
    },
    learn(ways, isShared) {
      learned = ways;
      shared = isShared;
      if (shared && current === first && learned.length > 0) void once(leaveShared);
    },
    watch() {
      if (watching) return;
      watching = true;
      void run();
    },
    suspect: () => once(check),
    close: () => closing.abort(new Error('the API client is closed')),
  };
}

function nameOf({ address }: ApiWay): string {
  return address ?? 'the server of the kubeconfig';
}
