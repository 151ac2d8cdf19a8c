/** A duration in the page's words, with two units at most. */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

/** A time in UTC; with its date if the span has many days. */
export function formatMoment(ms: number, ofSpanMs: number): string {
  const [day = '', time = ''] = new Date(ms).toISOString().split(/[T.]/);
  return ofSpanMs < 86_400_000 ? time : `${day} ${time.slice(0, 5)}`;
}
