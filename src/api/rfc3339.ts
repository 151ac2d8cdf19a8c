/** A moment as Kubernetes writes it, in UTC and to the second; `ms` are milliseconds since the epoch. */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
