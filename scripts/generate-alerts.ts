import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const rulesFile = fileURLToPath(new URL('../config/monitoring/prometheus-rule.yaml', import.meta.url));
const casesFile = fileURLToPath(new URL('../test/e2e/alert-rules.promtool.yaml', import.meta.url));
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

function readAlerts(rules: string): readonly Alert[] {
  const { spec } = parse(rules) as { spec: { groups: readonly { readonly rules: readonly Alert[] }[] } };
  return spec.groups.flatMap((group) => group.rules);
}

function writeAlerts(alerts: readonly Alert[]): string {
  const rows = alerts.map(({ alert, labels, annotations: { summary, runbook } }) => {
    const page = runbook.replace('docs/runbooks/', '');
    return [`\`${alert}\``, labels.severity, summary, `[${page.replace('.md', '')}](../runbooks/${page})`];
  });
  return writeTable([['Alert', 'Severity', 'What', 'Page'], ...rows]);
}

/** What each alert lacks: its runbook, or one of its two cases for promtool. */
function findGaps(alerts: readonly Alert[], cases: string): readonly string[] {
  const { tests } = parse(cases) as { tests: readonly { readonly name: string }[] };
  const names = new Set(tests.map(({ name }) => name));
  return alerts.flatMap(({ alert, annotations: { runbook } }) => [
    ...(existsSync(new URL(`../${runbook}`, import.meta.url)) ? [] : [`${alert} lacks its page ${runbook}`]),
    ...[`${alert} fires`, `${alert} is silent`]
      .filter((name) => !names.has(name))
      .map((name) => `${alert} lacks the case "${name}" in test/e2e/alert-rules.promtool.yaml`),
  ]);
}

const alerts = readAlerts(await readFile(rulesFile, 'utf8'));
const guide = await readFile(guideFile, 'utf8');
const from = guide.indexOf(begin) + begin.length;
const until = guide.indexOf(end);
if (from < begin.length || until < from) throw new Error(`${guideFile} has no place for the alerts: see ${begin}`);
const text = `${guide.slice(0, from)}\n${writeAlerts(alerts)}\n${guide.slice(until)}`;

if (process.argv.includes('--check')) {
  for (const gap of findGaps(alerts, await readFile(casesFile, 'utf8'))) {
    console.error(gap);
    process.exitCode = 1;
  }
  if (guide !== text) {
    console.error('docs/guides/monitoring.md is out of date: run `make generate` and commit the result');
    process.exitCode = 1;
  }
} else await writeFile(guideFile, text);
