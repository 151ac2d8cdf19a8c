/** How a cell looks on a terminal with colours. */
export type Tone = 'good' | 'warning' | 'bad' | 'faint' | 'strong';

/** Text, or text with a tone. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** Paints text if colours are wanted. */
export type Paint = (tone: Tone, text: string) => string;

const codes: Readonly<Record<Tone, number>> = { good: 32, warning: 33, bad: 31, faint: 2, strong: 1 };
const gap = 2;
/** Columns of a terminal of unknown width. */
export const usualColumns = 80;

/** The painter for a terminal, or one that leaves text as it is. */
export function createPaint({ color }: { readonly color: boolean }): Paint {
  return (tone, text) => (color && text !== '' ? `\u001b[${codes[tone]}m${text}\u001b[0m` : text);
}

/**
 * Lines of columns two spaces apart, as kubectl prints them. Control characters never reach the terminal.
 *
 * A cell wider than `width` continues on further lines of its own column. No column is narrower than its title.
 */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
  paint: Paint,
  width = Number.POSITIVE_INFINITY,
): string {
  const cells = [header.map((text): Cell => ({ text, tone: 'faint' })), ...rows];
  const natural = header.map((_, column) => Math.max(...cells.map((row) => printable(row[column]).length)));
  const widths = fitWidths(natural, header, width);
  return cells
    .flatMap((row) => {
      const columns = row.map((cell, column) => wrapText(printable(cell), widths[column] ?? 0));
      return Array.from({ length: Math.max(...columns.map(({ length }) => length)) }, (_, line) => {
        const parts = row.map((cell, column) => {
          const text = columns[column]?.[line] ?? '';
          const padded = column === row.length - 1 ? text : text.padEnd((widths[column] ?? 0) + gap);
          return typeof cell === 'string' ? padded : paint(cell.tone, text) + padded.slice(text.length);
        });
        return `${parts.join('').trimEnd()}\n`;
      });
    })
    .join('');
}

/** Widths that fit, taken from the widest columns first. */
function fitWidths(natural: readonly number[], header: readonly string[], width: number): readonly number[] {
  const limited = (limit: number) =>
    natural.map((wanted, column) => Math.min(wanted, Math.max(limit, header[column]?.length ?? 0)));
  const total = (widths: readonly number[]) => widths.reduce((sum, each) => sum + each + gap, -gap);
  let limit = Math.max(...natural);
  while (limit > 0 && total(limited(limit)) > width) limit -= 1;
  return limited(limit);
}

/**
 * The text in lines of this width, broken between words. A longer word is broken after a punctuation mark, else
 * anywhere.
 */
export function wrapText(text: string, width: number): readonly string[] {
  const room = Math.max(1, width);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').flatMap((whole) => breakWord(whole, room))) {
    const { text: piece, glued } = word;
    const longer = line === '' || glued ? line + piece : `${line} ${piece}`;
    if (longer.length <= room) line = longer;
    else {
      lines.push(line);
      line = piece;
    }
  }
  return [...lines, line];
}

/** A paragraph for people within the columns of a usual terminal, each line indented. */
export function wrapParagraph(text: string, indent = ''): string {
  const lines = wrapText(text, usualColumns - indent.length);
  return lines.map((line) => `${indent}${line}\n`).join('');
}

/** A word, whole or in pieces. All pieces but the first follow without a space. */
function breakWord(word: string, room: number): readonly { readonly text: string; readonly glued: boolean }[] {
  if (word.length <= room) return [{ text: word, glued: false }];
  const pieces = (word.match(/[^./,:;-]*[./,:;-]|[^./,:;-]+/g) ?? [word]).flatMap(
    (piece) => piece.match(new RegExp(`.{1,${room}}`, 'g')) ?? [],
  );
  return pieces.map((text, at) => ({ text, glued: at > 0 }));
}

function printable(cell: Cell | undefined): string {
  const text = typeof cell === 'object' ? cell.text : (cell ?? '');
  return text.replace(/\p{Cc}+/gu, ' ');
}
