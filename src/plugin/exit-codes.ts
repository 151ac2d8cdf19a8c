/**
 * Exit codes of all commands, for scripts.
 *
 * - `yes`: the answer is positive: ready, equal, served, prepared, healthy.
 * - `no`: the answer is negative.
 * - `usage`: the command line is wrong.
 * - `unknown`: the cluster or a file cannot be read, or the answer is in doubt.
 */
export const exitCodes = { yes: 0, no: 1, usage: 2, unknown: 3 } as const;
