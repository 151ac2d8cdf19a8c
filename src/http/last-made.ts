/** The last result, and its input: most clients repeat the same input again and again. */
export interface LastMade<From, Made> {
  readonly from: From;
  readonly made: Made;
}

/** An idle connection remembers nothing longer than this, because long results would cost more than they save. */
export const maxRememberedBytes = 16 * 1024;

/** The last result, if it had the same input. */
export function madeBefore<From, Made>(
  last: LastMade<From, Made> | undefined,
  from: From,
  isSame: (last: From, now: From) => boolean = Object.is,
): Made | undefined {
  return last !== undefined && isSame(last.from, from) ? last.made : undefined;
}
