import { readFileSync, writeFileSync } from 'node:fs';

const lineHeight = 18;
const columnWidth = 8.4;
const margin = 16;

const escapeXml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** What a line of the demo is, which gives it its colour. */
function colourOf(line: string): string {
  if (/^\s*✔/.test(line)) return '#3fb950';
  if (/^\s*✘/.test(line)) return '#f85149';
  if (/^\s*\$ /.test(line)) return '#79c0ff';
  return /^\d+\. /.test(line) ? '#ffffff' : '#b1bac4';
}

/** The chapters of a demo's output with these numbers, without blank lines around them. */
export function chaptersOf(output: string, numbers: readonly number[]): string {
  const chapters = output.split(/^(?=\d+\. )/m);
  const found = numbers.map((number) => chapters.find((chapter) => chapter.startsWith(`${number}. `)));
  const missing = numbers.filter((_, index) => found[index] === undefined);
  if (missing.length > 0) throw new Error(`the output has no chapter ${missing.join(', ')}`);
  return found.join('').trimEnd();
}

/** An SVG of a terminal that shows a text, each line as wide as it is. */
export function drawTerminal(text: string): string {
  const lines = text.split('\n');
  const width = Math.ceil(Math.max(...lines.map((line) => line.length)) * columnWidth) + 2 * margin;
  const height = lines.length * lineHeight + 2 * margin;
  const rows = lines.map(
    (line, index) =>
      `<text x="${margin}" y="${margin + (index + 1) * lineHeight - 4}" fill="${colourOf(line)}" xml:space="preserve">${escapeXml(line)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
<title>The heart of the demo in a terminal</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${rows.join('\n')}
</svg>
`;
}

if (import.meta.main) {
  const [input = 0, output] = process.argv.slice(2);
  if (output === undefined) {
    process.stderr.write('Usage: node scripts/draw-terminal.ts FILE_OF_THE_OUTPUT FILE.svg\n');
    process.exitCode = 2;
  } else writeFileSync(output, drawTerminal(chaptersOf(readFileSync(input, 'utf8'), [4, 5])));
}
