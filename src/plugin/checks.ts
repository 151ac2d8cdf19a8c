import { type Cell, formatTable, type Paint, type Tone } from './format-table.ts';

/** One thing that was looked at. `skip`: it could not be looked at from here. */
export interface Check {
  readonly name: string;
  readonly level: 'ok' | 'warn' | 'fail' | 'skip';
  readonly message: string;
  /** What to do; absent where all is well. */
  readonly cure?: string;
}

const tones: Readonly<Record<Check['level'], Tone>> = { ok: 'good', warn: 'warning', fail: 'bad', skip: 'faint' };

/** The checks as a table; what is not well is followed by its cure. */
export function renderChecks(title: string, checks: readonly Check[], paint: Paint, width?: number): string {
  const rows = checks.flatMap(({ name, level, message, cure }): readonly (readonly Cell[])[] => {
    const first = [name, { text: level, tone: tones[level] }, message];
    return cure === undefined ? [first] : [first, ['', '', { text: `-> ${cure}`, tone: 'faint' }]];
  });
  return formatTable([title, 'RESULT', 'WHAT'], rows, paint, width);
}
