import type { Clock } from '../runtime/clock.ts';
import type { FrontLimits } from './limits.ts';

/** Ends what has taken too long. */
interface Sweepable {
  sweep(now: number): void;
}

/**
 * Gives a function to be called whenever there is one more: from then on all are swept every second or so, until there
 * are none, so that a server that was never used keeps no process from ending.
 */
export function sweepWhileAny(
  all: ReadonlySet<Sweepable>,
  { readHeaderTimeoutMs, idleTimeoutMs }: FrontLimits,
  clock: Clock,
  signal: AbortSignal,
): () => void {
  const everyMs = Math.min(1_000, readHeaderTimeoutMs, idleTimeoutMs);
  let isSweeping = false;
  const sweep = async () => {
    isSweeping = true;
    while (all.size > 0 && !signal.aborted) {
      await clock.sleep(everyMs, signal);
      const now = clock.now();
      for (const one of all) one.sweep(now);
    }
    isSweeping = false;
  };
  return () => {
    if (!isSweeping) sweep().catch(() => {});
  };
}
