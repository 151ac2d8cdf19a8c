import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { HttpFrontLimits } from './front-options.ts';

/** Ends waits that have passed their deadline. */
interface Sweepable {
  sweep(now: number): void;
}

/**
 * Returns a function to call for each new one. From then on all are swept about every second until none is left, so
 * that an unused server does not keep its process alive.
 */
export function sweepWhileAny(
  all: ReadonlySet<Sweepable>,
  { readHeaderTimeoutMs, idleTimeoutMs }: HttpFrontLimits,
  clock: Clock,
  signal: AbortSignal,
  log: Log,
): () => void {
  const everyMs = Math.min(1_000, readHeaderTimeoutMs, idleTimeoutMs);
  let isSweeping = false;
  // A bug in one connection must not harm another.
  const sweepOne = (one: Sweepable, now: number) => {
    try {
      one.sweep(now);
    } catch (error) {
      log.error('a connection could not be swept', { error: String(error) });
    }
  };
  const sweep = async () => {
    isSweeping = true;
    while (all.size > 0 && !signal.aborted) {
      await clock.sleep(everyMs, signal);
      const now = clock.now();
      for (const one of all) sweepOne(one, now);
    }
    isSweeping = false;
  };
  return () => {
    if (!isSweeping) sweep().catch(() => {});
  };
}
