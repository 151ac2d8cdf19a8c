import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { ControlPlane } from '../../lab/plane/control-plane.ts';
import type { MixedPlane } from '../../lab/plane/mixed-plane.ts';
import { repository } from '../../lab/repository.ts';

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[];
}

/** A Prometheus in the lab that scrapes every second. */
export interface LabPrometheus {
  query(expr: string): Promise<readonly { readonly metric: Readonly<Record<string, string>> }[]>;
  /** Names of the firing alerts. */
  firing(): Promise<readonly string[]>;
}

export interface PrometheusOptions {
  /** The path of the program. */
  readonly program: string;
  readonly folder: string;
  /** The targets, with the name in their certificate. */
  readonly targets: readonly { readonly job: string; readonly address: string; readonly serverName: string }[];
}

/** The rules of `config/monitoring`. */
export function readRules(): RuleFile {
  const text = readFileSync(join(repository, 'config/monitoring/prometheus-rule.yaml'), 'utf8');
  return (parse(text) as { spec: RuleFile }).spec;
}

/**
 * The rules of `config/monitoring`, with every wait cut to seconds, so that a test can see them fire. promtool tests
 * the rules with their real waits.
 */
function hurriedRules(): RuleFile {
  const hurry = (expr: string) =>
    expr
      .replaceAll('[5m]', '[20s]')
      .replace('> 120', '> 10')
      .replace('> 60', '> 20')
      .replace('[20s]) > 5', '[20s]) > 1');
  return {
    groups: readRules().groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ({ ...rule, for: '2s', expr: hurry(rule.expr) })),
    })),
  };
}

/** Starts Prometheus with the project's rules, with short waits. It reads metrics as the user `reader`. */
export function startPrometheus(plane: ControlPlane, { program, folder, targets }: PrometheusOptions): LabPrometheus {
  writeFileSync(join(folder, 'rules.yaml'), stringify(hurriedRules()));
  writeFileSync(join(folder, 'token'), plane.tokens.reader, { mode: 0o600 });
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(folder, 'rules.yaml')],
    scrape_configs: targets.map(({ job, address, serverName }) => ({
      job_name: job,
      scheme: 'https',
      authorization: { type: 'Bearer', credentials_file: join(folder, 'token') },
      tls_config: { ca_file: plane.caFile, server_name: serverName },
      static_configs: [{ targets: [address] }],
    })),
  };
  writeFileSync(join(folder, 'prometheus.yaml'), stringify(config));
  const flags = ['--config.file', join(folder, 'prometheus.yaml'), '--storage.tsdb.path', join(folder, 'data')];
  plane.spawn(program, [...flags, '--web.listen-address', '127.0.0.1:9090'], { name: 'prometheus' });

  async function ask<T>(path: string): Promise<T | undefined> {
    const { code, stdout } = await plane.exec('curl', ['-sS', '--fail', `http://127.0.0.1:9090/api/v1/${path}`]);
    return code === 0 ? (JSON.parse(stdout) as { data?: T }).data : undefined;
  }
  return {
    async query(expr) {
      type Answer = { result: { metric: Record<string, string> }[] };
      return (await ask<Answer>(`query?query=${encodeURIComponent(expr)}`))?.result ?? [];
    },
    async firing() {
      type Answer = { alerts: { state: string; labels: { alertname: string } }[] };
      const { alerts = [] } = (await ask<Answer>('alerts')) ?? {};
      return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname);
    },
  };
}

/** Starts the operator with its metrics at this address, for user `reader`, as server `operator-metrics`. */
export async function startScrapedOperator(
  mixed: MixedPlane,
  kubectl: (args: readonly string[]) => Promise<unknown>,
  address: string,
): Promise<ChildProcess> {
  await kubectl(['apply', '-f', join(repository, 'config/monitoring/rbac.yaml')]);
  const role = '--clusterrole=peerdiscovery-metrics-reader';
  await kubectl(['create', 'clusterrolebinding', 'scraper', role, '--user=reader']);
  const { cert, key } = mixed.plane.issueServingCert('operator-metrics', ['operator-metrics'], []);
  const tls = ['--tls-cert-file', cert, '--tls-private-key-file', key];
  return mixed.startOperator(['--metrics-bind-address', address, ...tls]);
}
