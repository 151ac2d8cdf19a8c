/** A time as Kubernetes writes it, in UTC and to the second. `ms` is in milliseconds since the epoch. */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
