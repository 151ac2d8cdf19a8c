/** Milliseconds of each unit, the longest first. */
export const unitsMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/**
 * Reads a duration in Go's notation (`1h30m`, `1.5s`, `250ms`) as milliseconds. Undefined if the text is not a
 * duration.
 */
export function readDuration(text: string): number | undefined {
  if (!/^(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(h|ms|m|s)/g))
    totalMs += Number(amount) * unitsMs[unit as keyof typeof unitsMs];
  return Math.round(totalMs);
}
