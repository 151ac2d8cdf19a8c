import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Pictures of the demo, and the chapters in each. */
export const pictures: Readonly<Record<string, readonly number[]>> = { 'demo.svg': [4, 5], 'demo-fields.svg': [9, 10] };

const lineHeight = 18;
const columnWidth = 8.4;
const margin = 16;

const escapeXml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** The colour for a kind of line of the demo. */
function colourOf(line: string): string {
  if (/^\s*✔/.test(line)) return '#3fb950';
  if (/^\s*✘/.test(line)) return '#f85149';
  if (/^\s*\$ /.test(line)) return '#79c0ff';
  return /^\d+\. /.test(line) ? '#ffffff' : '#b1bac4';
}

/** The chapters with these numbers from a demo's output, without blank lines around them. */
export function chaptersOf(output: string, numbers: readonly number[]): string {
  const chapters = output.split(/^(?=\d+\. )/m);
  const found = numbers.map((number) => chapters.find((chapter) => chapter.startsWith(`${number}. `)));
  const missing = numbers.filter((_, index) => found[index] === undefined);
  if (missing.length > 0) throw new Error(`the output has no chapter ${missing.join(', ')}`);
  return found.join('').trimEnd();
}

/** Draws a text as an SVG of a terminal that is as wide as the longest line. */
export function drawTerminal(text: string): string {
  const lines = text.split('\n');
  const width = Math.ceil(Math.max(...lines.map((line) => line.length)) * columnWidth) + 2 * margin;
  const height = lines.length * lineHeight + 2 * margin;
  const rows = lines.map(
    (line, index) =>
      `<text x="${margin}" y="${margin + (index + 1) * lineHeight - 4}" fill="${colourOf(line)}" xml:space="preserve">${escapeXml(line)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
<title>A part of the demo in a terminal</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${rows.join('\n')}
</svg>
`;
}

const shownInReadme = [/^kubectl get peerdiscovery$/, /^kubectl peerdiscovery explain /];

/** The commands from a demo's output for the README, as a user with the usual kubeconfig types them. */
export function commandsForReadme(output: string): string {
  const steps = output
    .split(/^ {3}(?=\$ )/m)
    .slice(1)
    .map((step) => {
      const [command = '', ...lines] = step.split('\n');
      const typed = command.slice(2).replace(/ --kubeconfig \S+/, '');
      // A command's output is indented by five; the story continues with less.
      const end = lines.findIndex((line) => line !== '' && !line.startsWith('     '));
      const printed = lines.slice(0, end === -1 ? undefined : end).map((line) => line.slice(5));
      return { typed, printed: printed.join('\n').trimEnd() };
    });
  return shownInReadme
    .map((pattern) => {
      const step = steps.find(({ typed }) => pattern.test(typed));
      if (step === undefined) throw new Error(`the output has no command like ${pattern}`);
      return `$ ${step.typed}\n${step.printed}\n`;
    })
    .join('\n');
}

const marker = /(<!-- make demo-picture writes this -->\n```\n)[\s\S]*?(```\n)/;

/** The README with this text in the place of `make demo-picture`. */
export function writeIntoReadme(readme: string, text: string): string {
  if (!marker.test(readme)) throw new Error(`the README has no place for it: ${marker}`);
  return readme.replace(marker, (_, before: string, after: string) => before + text + after);
}

/** A demo's output without the parts that differ at each run: durations, ages, and the columns that these move. */
export function withoutTimes(text: string): string {
  return text
    .replaceAll(/\b\d+(\.\d+)? ?s\b/g, 'N s')
    .replaceAll(/ +/g, ' ')
    .replaceAll(/ (width|height|viewBox)="[^"]*"/g, '');
}

if (import.meta.main) {
  const [input = 0, folder, readme] = process.argv.slice(2);
  if (folder === undefined || readme === undefined) {
    process.stderr.write('Usage: node scripts/draw-terminal.ts FILE_OF_THE_OUTPUT FOLDER_OF_PICTURES README.md\n');
    process.exitCode = 2;
  } else {
    const output = readFileSync(input, 'utf8');
    for (const [name, chapters] of Object.entries(pictures))
      writeFileSync(join(folder, name), drawTerminal(chaptersOf(output, chapters)));
    writeFileSync(readme, writeIntoReadme(readFileSync(readme, 'utf8'), commandsForReadme(output)));
  }
}
