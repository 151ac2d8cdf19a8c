import { availableParallelism, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { endOperator, startBuiltOperator } from '../plane/built-operator.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { cpuSeconds } from './load.ts';
import { median } from './median.ts';
import { memoryBytes, type ProcessUse, watchProcess } from './process.ts';
import { measureOnPlane, progress, publishReport } from './run-bench.ts';

/** Resources that an operator used that started after the servers. */
interface Use {
  /** The number of resources whose fields differ between servers. */
  readonly kinds: number;
  /** User and system time until it knew all fields, and for `settleMs` after that. */
  readonly startSeconds: number;
  /** Peak memory. */
  readonly peakMiB: number;
  readonly idle: ProcessUse;
}

const turns = 3;
const settleMs = 10_000;
const idleMs = 30_000;
async function readStatus(mixed: MixedPlane): Promise<PeerDiscovery['status']> {
  const { stdout } = await mixed.kubectl('a', ['get', 'peerdiscovery', 'cluster', '-o', 'json']);
  return (JSON.parse(stdout) as PeerDiscovery).status;
}

/** Measures one operator from its start on. */
async function measureOperator(mixed: MixedPlane, differs: boolean): Promise<Use> {
  const operator = startBuiltOperator(mixed, 'a');
  const { pid } = operator;
  if (pid === undefined) throw new Error('the operator is not running');
  const startedAt = new Date().toISOString();
  const count = (status: PeerDiscovery['status']) => status?.fieldDifferentResources ?? 0;
  await waitUntil('the fields of all servers', async () => {
    const { stdout } = await mixed.kubectl('a', [
      ...['get', 'lease', '-n', 'peerdiscovery-system', 'peerdiscovery-cluster'],
      ...['-o', 'jsonpath={.spec.renewTime}'],
    ]);
    const status = await readStatus(mixed);
    const ready = (status?.peers ?? []).filter(({ state }) => state === 'Ready').length;
    return stdout > startedAt && ready === 3 && count(status) > 0 === differs;
  });
  await sleep(settleMs);
  const startSeconds = cpuSeconds([pid]);
  const idle = await watchProcess(pid, idleMs);
  const use = {
    kinds: count(await readStatus(mixed)),
    startSeconds,
    peakMiB: memoryBytes(pid, 'VmHWM') / 1024 ** 2,
    idle,
  };
  await endOperator(operator);
  progress(JSON.stringify(use));
  return use;
}

function writeUseReport(alike: readonly Use[], different: readonly Use[]): string {
  const row = (what: string, unit: string, digits: number, of: (use: Use) => number) => {
    const [before, after] = [median(alike.map(of)), median(different.map(of))];
    return `| ${what} | ${before.toFixed(digits)} ${unit} | ${after.toFixed(digits)} ${unit} | ${(after / before).toFixed(2)} |`;
  };
  return `# Cost of comparing fields in the operator

Written by \`make bench ARGS=fields-operator\`. The figures are from one machine: compare the ratios, and run it on yours.

- ${availableParallelism()} cores shared by etcd, three kube-apiservers and the operator as shipped
- Linux ${release().split('-')[0]}, Node ${process.version}, loopback; medians of ${turns} starts of each kind

| What | Three servers of 1.36 | One of them of 1.35 | Ratio |
| --- | --- | --- | --- |
| Resources whose fields differ | ${median(alike.map(({ kinds }) => kinds))} | ${median(different.map(({ kinds }) => kinds))} | |
${row('CPU from the start until all fields are known, plus 10 s', 's', 2, ({ startSeconds }) => startSeconds)}
${row('Peak memory', 'MiB', 0, ({ peakMiB: peak }) => peak)}
${row('Idle: CPU over 30 s', '% of a core', 2, ({ idle }) => idle.cpuPercent)}
${row('Idle: resident memory', 'MiB', 0, ({ idle }) => idle.residentMiB)}

## How it is measured

- Servers of one version have equal hashes in \`/openapi/v3\`, so the operator reads no document. A server of 1.35 beside two of 1.36 has a different hash for every group-version: the operator reads each document from both versions, one at a time, and keeps only digests and field names.
- CPU is user and system time from \`/proc/PID/stat\`, memory is \`VmHWM\` and \`VmRSS\`. The two kinds take turns.
`;
}

await measureOnPlane(
  {
    servers: (['a', 'b', 'c'] as const).map((name) => ({ name, version: '1.36' })),
    home: 'a',
  },
  async (mixed) => {
    const changing = mixed.plane.server('c');
    const alike: Use[] = [];
    const different: Use[] = [];
    for (let turn = 1; turn <= turns; turn += 1) {
      progress(`start ${turn} of ${turns}: three servers of 1.36`);
      alike.push(await measureOperator(mixed, false));
      progress(`start ${turn} of ${turns}: one server of 1.35`);
      await changing.stop();
      await changing.startAs({ version: '1.35' });
      different.push(await measureOperator(mixed, true));
      await changing.stop();
      await changing.startAs({ version: '1.36' });
    }
    publishReport('fields-operator', writeUseReport(alike, different));
  },
);
process.exit(0);
