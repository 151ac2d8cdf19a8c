import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';

/** One kube-apiserver through which the API can be reached. */
export interface ApiWay {
  /** `ip:port` of a learned server; undefined for the kubeconfig's own. */
  readonly address: string | undefined;
  /** DNS name that a learned server's certificate must contain. */
  readonly serverName: string | undefined;
}

/**
 * The result of a request for a server's `/readyz`. `Refusing` means 401 or 403, which proves that the server is alive.
 */
export type WayState = 'Ready' | 'Refusing' | 'Failing';

/** Chooses the server for an API client. Switches as soon as its server does not answer and another does. */
export interface ApiWays {
  readonly current: ApiWay;
  /**
   * Replaces the learned servers. The one in use stays in use until it fails.
   *
   * Exception: if the kubeconfig's own address is `shared`, a learned server replaces it as soon as one is ready.
   * Behind a Service or load balancer each connection may reach another server, so a probe on one says nothing about
   * the others.
   */
  learn(ways: readonly ApiWay[], address: { readonly shared: boolean }): void;
  /** From now on, probes the server in use regularly while an answer is owed. */
  watch(): void;
  /** Probes the server now, because a connection to it has failed. */
  suspect(): Promise<void>;
  close(): void;
}

/** The inputs of the choice. */
export interface ApiWaysOptions {
  /** Probes one server's readiness. It must end when the signal aborts. */
  readonly probe: (way: ApiWay, signal: AbortSignal) => Promise<WayState>;
  /** True while an answer is awaited or a watch is open. */
  readonly owed: () => boolean;
  /** `silent` is true if `from` is not expected to answer any more. Otherwise its running requests may finish there. */
  readonly onChange: (from: ApiWay, to: ApiWay, silent: boolean) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

const intervalMs = 800;
const limitMs = 1_000;
/** Maximum number of other servers probed at once. */
const maxCandidates = 5;
/** Number of probes between two attempts to leave a shared address. */
const sharedAgainEvery = 30;

/**
 * Starts with the kubeconfig's server.
 *
 * It leaves a silent server within 2 s: it probes after at most 0.8 s, waits at most 1 s, and asks the others at the
 * same time. If no other server is ready, it stays.
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

  /** The other servers in batches: it probes the first batch before the second. */
  function others(): readonly (readonly ApiWay[])[] {
    const but = (ways: readonly ApiWay[]) => ways.filter(({ address }) => address !== current.address);
    const turns = shared ? [but(learned), but([first])] : [but([first, ...learned])];
    return turns.filter((turn) => turn.length > 0);
  }

  /** A server without an answer is failing. */
  async function look(way: ApiWay, signal: AbortSignal): Promise<WayState> {
    const limit = AbortSignal.any([signal, closing.signal]);
    return await probe(way, limit).catch(() => 'Failing');
  }

  /** Runs `work` with a signal that aborts at the time limit. */
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
    if (silent) log.warn('the API server does not answer or is not ready; using another one', servers);
    else log.info('using a kube-apiserver by its own address', servers);
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

  /** Runs one probe at a time, whatever its purpose. */
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
    learn(ways, address) {
      learned = ways;
      shared = address.shared;
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
