/** Time as a dependency, so that tests advance it by hand. */
export interface Clock {
  /** Milliseconds that no correction of the date moves, for ages and deadlines; they mean nothing to others. */
  now(): number;
  /** Milliseconds since the epoch, for what others read or have written; a correction moves it either way. */
  date(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The date of a moment of `now()`, by today's idea of the date. */
export function dateOf(clock: Clock, at: number): number {
  return Math.round(at + clock.date() - clock.now());
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  date: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
    }),
};
