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

/** What an operator used that was started beside servers which were there already. */
interface Use {
  /** Resources that servers know differently. */
  readonly kinds: number;
  /** User and system time until it knew all, and for `settleMs` after that. */
  readonly startSeconds: number;
  /** The most memory that it ever had. */
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

/** One operator from its start on. */
async function measureOperator(mixed: MixedPlane, differs: boolean): Promise<Use> {
  const operator = startBuiltOperator(mixed, 'a');
  const { pid } = operator;
  if (pid === undefined) throw new Error('the operator does not run');
  const startedAt = new Date().toISOString();
  const count = (status: PeerDiscovery['status']) => status?.fieldDifferentResources ?? 0;
  await waitUntil('what the servers know', async () => {
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
  return `# What it costs the operator to compare fields

Written by \`make bench ARGS=fields-operator\`. Figures are of one machine: compare ratios, and run it on yours.

- ${availableParallelism()} cores shared by etcd, three kube-apiservers and the operator as shipped
- Linux ${release().split('-')[0]}, Node ${process.version}, loopback; medians of ${turns} starts of each sort

| What | Three servers of 1.36 | One of them of 1.35 | Ratio |
| --- | --- | --- | --- |
| Resources whose fields differ | ${median(alike.map(({ kinds }) => kinds))} | ${median(different.map(({ kinds }) => kinds))} | |
${row('CPU from its start until it knows all, and for 10 s after that', 's', 2, ({ startSeconds }) => startSeconds)}
${row('Most memory that it ever had', 'MiB', 0, ({ peakMiB: peak }) => peak)}
${row('Idle: CPU over 30 s', '% of a core', 2, ({ idle }) => idle.cpuPercent)}
${row('Idle: resident memory', 'MiB', 0, ({ idle }) => idle.residentMiB)}

## How it is measured

- Servers that are alike have equal hashes in \`/openapi/v3\`, so that no document is read. One of 1.35 beside two of 1.36 has others for every group-version: each document is read from both versions, one at a time, and only digests and names of fields are kept.
- CPU is user and system time from \`/proc/PID/stat\`, memory is \`VmHWM\` and \`VmRSS\`. The two sorts take turns.
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
