import { type ProxyLimits, worstCaseBytes } from '../limits.ts';

/** Memory as a manifest writes it, such as `512Mi`. */
export interface MemoryShortage {
  /** What the processes have. */
  readonly limit: string;
  /** What they may need together. */
  readonly needed: string;
}

/**
 * Says how much memory is missing if all limits are reached at once: the kernel would kill the processes with
 * everybody's requests. Undefined if there is enough, or if nothing limits the memory.
 *
 * @param givenBytes The limit of the container; 0 or less if there is none.
 */
export function findMemoryShortage(
  { limits, workers }: { readonly limits: ProxyLimits; readonly workers: number },
  givenBytes: number,
): MemoryShortage | undefined {
  const neededBytes = workers * worstCaseBytes(limits);
  if (givenBytes <= 0 || givenBytes >= neededBytes) return undefined;
  const inMebibytes = (bytes: number) => `${Math.ceil(bytes / 1024 / 1024)}Mi`;
  return { limit: inMebibytes(givenBytes), needed: inMebibytes(neededBytes) };
}
