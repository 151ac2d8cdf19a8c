import type { Clock } from '../../src/runtime/clock.ts';

/** A clock that moves only by hand. */
export interface ManualClock extends Clock {
  /** Advances the time. Wakes sleepers in order, and lets their work settle in between. */
  advance(ms: number): Promise<void>;
  /** Moves only the date, as a correction of the machine's clock does. */
  correctDate(byMs: number): void;
  /** The number of sleepers. */
  readonly sleeping: number;
}

/** A clock that stands still until it is advanced. Its date cannot be mistaken for the time of `now`. */
export function createManualClock(dateMs = 1_000_000_000_000): ManualClock {
  let nowMs = 1_000_000;
  let aheadMs = dateMs - nowMs;
  const sleepers = new Set<{ dueMs: number; wake: () => void }>();
  return {
    now: () => nowMs,
    date: () => nowMs + aheadMs,
    correctDate(byMs) {
      aheadMs += byMs;
    },
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper = {
          dueMs: nowMs + ms,
          wake: () => {
            sleepers.delete(sleeper);
            signal?.removeEventListener('abort', sleeper.wake);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', sleeper.wake, { once: true });
      }),
    async advance(ms) {
      const targetMs = nowMs + ms;
      for (;;) {
        await turnEventLoop();
        const [next] = [...sleepers].filter(({ dueMs }) => dueMs <= targetMs).sort((a, b) => a.dueMs - b.dueMs);
        if (!next) break;
        nowMs = Math.max(nowMs, next.dueMs);
        next.wake();
      }
      nowMs = targetMs;
      await turnEventLoop();
    },
    get sleeping() {
      return sleepers.size;
    },
  };
}

/** Lets pending callbacks run. */
async function turnEventLoop() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until `condition` holds, for real I/O that no manual clock moves. Fails after `limitMs`. */
export async function eventually(condition: () => boolean, limitMs = 1500): Promise<void> {
  const endAt = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > endAt) throw new Error(`this never held: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
