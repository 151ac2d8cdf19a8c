/** Time as a dependency, so that tests advance it by hand. */
export interface Clock {
  /** Monotonic milliseconds, for ages and deadlines of this process. Corrections of the date do not change them. */
  now(): number;
  /** Milliseconds since the epoch, for dates that others read or wrote. A correction may move them either way. */
  date(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. It never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Converts a value of `now()` to a date, with the current offset. */
export function dateOf(clock: Clock, at: number): number {
  return Math.round(at + clock.date() - clock.now());
}

/** The machine's clock. */
export const systemClock: Readonly<Clock> = {
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
