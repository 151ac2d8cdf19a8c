/** What was made last, and of what: most clients send the same again and again. */
export interface LastMade<From, Made> {
  readonly from: From;
  readonly made: Made;
}

/** An idle connection remembers nothing that is longer than this. Long things would cost more than they save. */
export const maxRememberedBytes = 16 * 1024;

/** What was made last time, if it was made of the same. */
export function madeBefore<From, Made>(
  last: LastMade<From, Made> | undefined,
  from: From,
  isSame: (last: From, now: From) => boolean = Object.is,
): Made | undefined {
  return last !== undefined && isSame(last.from, from) ? last.made : undefined;
}
