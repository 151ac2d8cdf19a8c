import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const rulesFile = fileURLToPath(new URL('../config/monitoring/prometheus-rule.yaml', import.meta.url));
const guideFile = fileURLToPath(new URL('../docs/guides/monitoring.md', import.meta.url));
const begin = '<!-- Generated from config/monitoring/prometheus-rule.yaml by `make generate`; do not edit. -->\n';
const end = '<!-- Until here. -->\n';

interface Alert {
  readonly alert: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

/** A table with columns of one width each, as Biome formats it. */
function writeTable(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_cell, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [head, rule, ...rows.slice(1)].map((cells) => `${line(cells)}\n`).join('');
}

function writeAlerts(rules: string): string {
  const { spec } = parse(rules) as { spec: { groups: readonly { readonly rules: readonly Alert[] }[] } };
  const alerts = spec.groups.flatMap((group) => group.rules);
  const rows = alerts.map(({ alert, labels, annotations: { summary, runbook } }) => {
    const page = runbook.replace('docs/runbooks/', '');
    return [`\`${alert}\``, labels.severity, summary, `[${page.replace('.md', '')}](../runbooks/${page})`];
  });
  return writeTable([['Alert', 'Severity', 'What', 'Page'], ...rows]);
}

const guide = await readFile(guideFile, 'utf8');
const from = guide.indexOf(begin) + begin.length;
const until = guide.indexOf(end);
if (from < begin.length || until < from) throw new Error(`${guideFile} has no place for the alerts: see ${begin}`);
const text = `${guide.slice(0, from)}\n${writeAlerts(await readFile(rulesFile, 'utf8'))}\n${guide.slice(until)}`;

if (process.argv.includes('--check')) {
  if (guide !== text) {
    console.error('docs/guides/monitoring.md is out of date: run `make generate` and commit the result');
    process.exitCode = 1;
  }
} else await writeFile(guideFile, text);
