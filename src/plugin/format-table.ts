/** How a cell looks on a terminal with colours. */
export type Tone = 'good' | 'warning' | 'bad' | 'faint' | 'strong';

/** Text, or text with a tone. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** Paints text if colours are wanted. */
export type Paint = (tone: Tone, text: string) => string;

const codes: Readonly<Record<Tone, number>> = { good: 32, warning: 33, bad: 31, faint: 2, strong: 1 };

/** The painter for a terminal, or one that leaves text as it is. */
export function createPaint(color: boolean): Paint {
  return (tone, text) => (color && text !== '' ? `\u001b[${codes[tone]}m${text}\u001b[0m` : text);
}

/** Lines of columns two spaces apart, as kubectl prints them; control characters never reach the terminal. */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[], paint: Paint): string {
  const cells = [header.map((text): Cell => ({ text, tone: 'faint' })), ...rows];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => printable(row[column]).length)));
  return cells
    .map((row) => {
      const parts = row.map((cell, column) => {
        const text = printable(cell);
        const padded = column === row.length - 1 ? text : text.padEnd((widths[column] ?? 0) + 2);
        return typeof cell === 'string' ? padded : paint(cell.tone, text) + padded.slice(text.length);
      });
      return `${parts.join('').trimEnd()}\n`;
    })
    .join('');
}

function printable(cell: Cell | undefined): string {
  const text = typeof cell === 'object' ? cell.text : (cell ?? '');
  return text.replace(/\p{Cc}+/gu, ' ');
}
