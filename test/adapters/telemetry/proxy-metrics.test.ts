import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { createProxyMetrics } from '../../../src/adapters/telemetry/proxy-metrics.ts';

const page = new URL('../../../docs/reference/proxy-metrics.md', import.meta.url);

describe("the proxy's metrics", () => {
  it('are described in docs/reference/proxy-metrics.md, all of them, as the code has them', async () => {
    const metrics = createProxyMetrics({
      requestsInFlight: () => 0,
      tableAgeSeconds: () => -1,
      connections: () => ({ short: 0, long: 0 }),
      clientConnections: () => ({ http1: 0, http2: 0 }),
    });
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
});
