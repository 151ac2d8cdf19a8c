/**
 * Exit codes of every command, as scripts see them.
 *
 * - `yes`: it is as asked: ready, equal, served, prepared, healthy.
 * - `no`: it is known not to be.
 * - `usage`: the command line is wrong.
 * - `unknown`: nobody can tell: the cluster or a file cannot be read, or the answer is in doubt.
 */
export const exitCodes = { yes: 0, no: 1, usage: 2, unknown: 3 } as const;
