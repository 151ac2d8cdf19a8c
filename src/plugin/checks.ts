import { type Cell, formatTable, type Paint, type Tone } from './format-table.ts';

/** The result of one check. `skip` means that it could not be checked from here. */
export interface Check {
  readonly name: string;
  readonly level: 'ok' | 'warn' | 'fail' | 'skip';
  readonly message: string;
  /** What to do; absent if all is well. */
  readonly cure?: string;
}

const tones: Readonly<Record<Check['level'], Tone>> = { ok: 'good', warn: 'warning', fail: 'bad', skip: 'faint' };

/** Renders the checks as a table. Each failed check is followed by its cure. */
export function renderChecks(title: string, checks: readonly Check[], paint: Paint, width?: number): string {
  const rows = checks.flatMap(({ name, level, message, cure }): readonly (readonly Cell[])[] => {
    const first = [name, { text: level, tone: tones[level] }, message];
    return cure === undefined ? [first] : [first, ['', '', { text: `-> ${cure}`, tone: 'faint' }]];
  });
  return formatTable([title, 'RESULT', 'WHAT'], rows, paint, width);
}
