/** Whether NetworkPolicies are enforced while a connection is tried. */
export type Phase = 'before' | 'enforced' | 'after';

/** One attempt of a Pod to reach something. */
export interface Attempt {
  readonly phase: Phase;
  /** `tool-a to the port metrics of operator-b` */
  readonly what: string;
  /** True if a NetworkPolicy of this project allows it. */
  readonly isAllowed: boolean;
  readonly hasReached: boolean;
}

/** Describes each attempt whose result is wrong. Without an enforcer, everything must be reachable. */
export function wrongReaches(attempts: readonly Attempt[]): readonly string[] {
  return attempts
    .filter(({ phase, isAllowed, hasReached }) => hasReached !== (isAllowed || phase !== 'enforced'))
    .map(({ phase, what, hasReached }) => `${what}, ${phase}: ${hasReached ? 'reached' : 'not reached'}`);
}

/** For the report: how many attempts succeeded while policies were enforced. */
export function describeReaches(attempts: readonly Attempt[]): string {
  const count = (isAllowed: boolean, phase: Phase) => {
    const mine = attempts.filter((attempt) => attempt.isAllowed === isAllowed && attempt.phase === phase);
    return `${mine.filter(({ hasReached }) => hasReached).length} of ${mine.length}`;
  };
  return [
    `While the policies were enforced, ${count(true, 'enforced')} connections that they allow came about, and ${count(false, 'enforced')} that they do not.`,
    `Before, ${count(false, 'before')} of the latter came about, and afterwards ${count(false, 'after')}.`,
  ].join(' ');
}
