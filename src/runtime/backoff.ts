/** The parameters of a backoff. */
export interface BackoffOptions {
  /** Upper bound of the first delay. */
  readonly baseMs: number;
  /** Upper bound of every delay. */
  readonly capMs: number;
  /** Lower bound of every delay; zero by default. */
  readonly floorMs?: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Delays between attempts, without end. */
export interface Backoff {
  /** The next delay. Its upper bound doubles with every call until the cap. */
  nextMs(): number;
  /** Starts over after a success. */
  reset(): void;
  /** Calls of `nextMs` since the last reset. */
  readonly attempts: number;
}

/**
 * Delays with full jitter: uniform between the floor and an upper bound that doubles up to the cap. So many clients
 * that failed together do not retry together.
 *
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function createBackoff({ baseMs, capMs, floorMs = 0, random }: BackoffOptions): Backoff {
  let attempts = 0;
  return {
    nextMs() {
      // The exponent is bounded, so that the ceiling stays finite in a long outage.
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
