import { readDuration, unitsMs } from '../domain/read-duration.ts';

/**
 * Every duration that the API server accepts in a PeerDiscovery: Go's notation in hours, minutes, seconds and
 * milliseconds, positive, at most 32 characters.
 */
export const durationPattern = '^([0-9]{1,6}([.][0-9]{1,3})?(h|ms|m|s))+$';

const wholeText = new RegExp(durationPattern);

/** Converts a duration in Go's notation (`1h30m`, `1.5s`, `250ms`) to milliseconds. Throws for anything else. */
export function parseDuration(text: string): number {
  const ms = wholeText.test(text) ? readDuration(text) : undefined;
  if (ms === undefined)
    throw new Error(`not a duration: ${JSON.stringify(text)} (expected, for example, 10s or 1m30s)`);
  return ms;
}

/** Writes milliseconds in the shortest notation that `parseDuration` reads back as the same number. */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms));
  let text = '';
  for (const unit of ['h', 'm', 's', 'ms'] as const) {
    const amount = Math.floor(rest / unitsMs[unit]);
    rest -= amount * unitsMs[unit];
    if (amount > 0) text += `${amount}${unit}`;
  }
  return text === '' ? '0s' : text;
}
