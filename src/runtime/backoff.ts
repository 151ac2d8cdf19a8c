/** How a backoff grows. */
export interface BackoffOptions {
  /** Ceiling of the first delay. */
  readonly baseMs: number;
  /** No delay is longer than this. */
  readonly capMs: number;
  /** No delay is shorter than this; zero if absent. */
  readonly floorMs?: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Delays between attempts that never give up. */
export interface Backoff {
  /** The next delay; its ceiling doubles with every call until the cap. */
  nextMs(): number;
  /** Starts over, after a success. */
  reset(): void;
  /** Calls of `nextMs` since the last reset. */
  readonly attempts: number;
}

/**
 * Delays with full jitter: uniform between the floor and a ceiling that doubles up to the cap, so that many
 * clients that failed together do not come back together.
 *
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function createBackoff({ baseMs, capMs, floorMs = 0, random }: BackoffOptions): Backoff {
  let attempts = 0;
  return {
    nextMs() {
      // The exponent is bounded so that the ceiling stays finite however long the outage lasts.
      const ceilingMs = Math.min(capMs, baseMs * 2 ** Math.min(attempts, 40));
      attempts += 1;
      return Math.min(capMs, Math.max(floorMs, random() * ceilingMs));
    },
    reset() {
      attempts = 0;
    },
    get attempts() {
      return attempts;
    },
  };
}
