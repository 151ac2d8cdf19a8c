const millisecondsPer = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/**
 * Every duration that the API server accepts in a PeerDiscovery: Go's notation in hours, minutes, seconds and
 * milliseconds, positive, at most 32 characters.
 */
export const durationPattern = '^([0-9]{1,6}([.][0-9]{1,3})?(h|ms|m|s))+$';

const wholeText = new RegExp(durationPattern);

/** Turns a duration in Go's notation (`1h30m`, `1.5s`, `250ms`) into milliseconds; anything else is a fault. */
export function parseDuration(text: string): number {
  if (!wholeText.test(text))
    throw new Error(`not a duration: ${JSON.stringify(text)} (expected, for example, 10s or 1m30s)`);
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(h|ms|m|s)/g))
    totalMs += Number(amount) * millisecondsPer[unit as keyof typeof millisecondsPer];
  return Math.round(totalMs);
}

/** Writes milliseconds in the shortest notation that `parseDuration` reads back to the same number. */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms));
  let text = '';
  for (const unit of ['h', 'm', 's', 'ms'] as const) {
    const amount = Math.floor(rest / millisecondsPer[unit]);
    rest -= amount * millisecondsPer[unit];
    if (amount > 0) text += `${amount}${unit}`;
  }
  return text === '' ? '0s' : text;
}
