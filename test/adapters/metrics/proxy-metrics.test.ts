import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { aggregateMetrics, createProxyMetrics } from '../../../src/adapters/metrics/proxy-metrics.ts';

const root = new URL('../../..', import.meta.url);
const page = new URL('docs/reference/proxy-metrics.md', root);

/** How to combine the gauges of several processes. Every gauge is listed, because not all of them can be summed. */
const ofGauges: Readonly<Record<string, 'sum' | 'min' | 'max'>> = {
  process_resident_memory_bytes: 'sum',
  // The longest uptime, which is that of the first process: replacing a worker is not a restart of the proxy.
  process_start_time_seconds: 'min',
  nodejs_heap_size_used_bytes: 'sum',
  peerdiscovery_proxy_requests_in_flight: 'sum',
  // The oldest value.
  peerdiscovery_proxy_table_age_seconds: 'max',
  peerdiscovery_proxy_peer_connections: 'sum',
  peerdiscovery_proxy_client_connections: 'sum',
  // The value of the process that is furthest behind.
  peerdiscovery_proxy_table_revision: 'min',
  // The earliest expiry.
  peerdiscovery_proxy_certificate_expiration_timestamp_seconds: 'min',
};
const aggregations = {
  sum: (values: readonly number[]) => values.reduce((all, one) => all + one, 0),
  min: (values: readonly number[]) => Math.min(...values),
  max: (values: readonly number[]) => Math.max(...values),
};

describe("the proxy's metrics", () => {
  it('are all described in docs/reference/proxy-metrics.md, as in the code', async () => {
    const metrics = createIdle();
    const lines = (await metrics.text()).split('\n');
    const rows = lines.flatMap((line, at) => {
      const [, name, help] = /^# HELP (\S+) (.*)$/.exec(line) ?? [];
      const type = lines[at + 1]?.split(' ')[3];
      return name === undefined ? [] : [[`\`${name}\``, type, help].join(' | ')];
    });
    const documented = readFileSync(page, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) =>
        line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim())
          .join(' | '),
      );
    expect(documented.sort()).to.deep.equal(rows.sort());
  });

  it('of several processes are combined as each gauge needs', async () => {
    const processes = await Promise.all([describeProcess(10), describeProcess(30)]);
    const gauges = processes.map((metrics) => metrics.filter(({ type }) => type === 'gauge'));
    expect(gauges[0]?.map(({ name }) => name)).to.have.members(Object.keys(ofGauges));
    const lines = (await aggregateMetrics(processes)).split('\n');
    for (const { name, values } of gauges[0] ?? []) {
      expect(values, name).not.to.have.length(0);
      for (const [at, { labels, value }] of values.entries()) {
        const other = gauges[1]?.find((gauge) => gauge.name === name)?.values[at]?.value ?? Number.NaN;
        const label = Object.entries(labels).map(([key, text]) => `${key}="${text}"`);
        const series = label.length === 0 ? name : `${name}{${label}}`;
        const told = aggregations[ofGauges[name] ?? 'sum']([value, other]);
        expect(
          lines.filter((line) => line.startsWith(`${series} `)),
          series,
        ).to.deep.equal([`${series} ${told}`]);
      }
    }
  });

  it('have a series for each limit in docs/guides/identity.md from the beginning', async () => {
    const rows = readFileSync(new URL('docs/guides/identity.md', root), 'utf8').split(/^## Limits.*$/m)[1] ?? '';
    const cells = rows.split('\n').flatMap((line) => /^\|.*\|(.*)\|$/.exec(line)?.[1] ?? []);
    const named = cells.flatMap((cell) => [...cell.matchAll(/`([a-z0-9_]+[a-z0-9])`/g)].map(([, limit]) => limit));
    const limits = [...named, 'user_requests', 'user_long_running_requests'].filter((limit) => limit !== 'limit');
    expect(await zeros('peerdiscovery_proxy_limited_total', 'limit')).to.have.members([...new Set(limits)]);
  });

  it('have a series for the reloading of each certificate from the beginning', async () => {
    const source = readFileSync(new URL('src/adapters/credentials/proxy-credentials.ts', root), 'utf8');
    const named = [...source.matchAll(/certificate: '([a-z-]+)'/g)].map(([, certificate]) => certificate);
    expect(named).to.include('serving');
    expect(await zeros('peerdiscovery_proxy_certificate_reload_failures_total', 'certificate')).to.have.members(named);
  });
});

function createIdle() {
  return createProxyMetrics({
    requestsInFlight: () => 0,
    tableAgeSeconds: () => undefined,
    connections: () => ({ short: 0, long: 0 }),
    clientConnections: () => ({ http1: 0, http2: 0 }),
  });
}

/** The label values of a counter that exist, at zero, before the first event. */
async function zeros(counter: string, label: string): Promise<(string | undefined)[]> {
  const series = new RegExp(`^${counter}\\{${label}="([^"]+)"\\} 0$`, 'gm');
  return [...(await createIdle().text()).matchAll(series)].map(([, value]) => value);
}

interface Told {
  readonly name: string;
  readonly type: string;
  readonly values: { readonly labels: Readonly<Record<string, string>>; value: number }[];
}

/**
 * The metrics of a process with every gauge, as its parent gets them. All values differ from those of another `base`.
 */
async function describeProcess(base: number): Promise<readonly Told[]> {
  const metrics = createProxyMetrics({
    requestsInFlight: () => base,
    tableAgeSeconds: () => base,
    connections: () => ({ short: base, long: base + 1 }),
    clientConnections: () => ({ http1: base, http2: base + 1 }),
  });
  metrics.tableRevision.set(base);
  for (const certificate of ['serving', 'client-ca'])
    metrics.certificateExpiry.set({ certificate }, base + certificate.length);
  const told = JSON.parse(JSON.stringify(await metrics.json())) as Told[];
  // Otherwise every report would have the values of the test's own process.
  for (const { name, values } of told) if (/^(process|nodejs)_/.test(name)) for (const one of values) one.value = base;
  return told;
}
