import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** The resource use of a process during a measurement. */
export interface ProcessUse {
  /** Percent of one core. */
  readonly cpuPercent: number;
  readonly residentMiB: number;
  /** Memory, with shared pages divided among their users; undefined if the kernel does not report it. */
  readonly proportionalMiB: number | undefined;
}

/** User and system time, in clock ticks. */
function readTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is a name in parentheses, which may hold spaces; user time is the 14th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function readMiB(path: string, field: string): number | undefined {
  try {
    const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(path, 'utf8'));
    return found === null ? undefined : Number(found[1]) / 1024;
  } catch {
    return undefined;
  }
}

/**
 * Memory of a process now: `VmRSS` is the resident memory, `VmHWM` its peak. Source: proc(5), status.
 *
 * @throws Error if the kernel does not report it.
 */
export function memoryBytes(pid: number, field: 'VmHWM' | 'VmRSS'): number {
  const found = readMiB(`/proc/${pid}/status`, field);
  if (found === undefined) throw new Error(`the kernel does not report the memory of process ${pid}`);
  return found * 1024 ** 2;
}

/** How long the main thread of a process was ready, but had no CPU. Source: the kernel's sched-stats.rst. */
export function waitedForProcessorMs(pid: number): number {
  const [, waitedNs] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ');
  return Number(waitedNs) / 1e6;
}

/** Measures a process for `forMs`. Memory is read at the end. */
export async function watchProcess(pid: number, forMs: number): Promise<ProcessUse> {
  const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  const [startedAtMs, startTicks] = [performance.now(), readTicks(pid)];
  await sleep(forMs);
  const ticks = readTicks(pid) - startTicks;
  const seconds = (performance.now() - startedAtMs) / 1_000;
  return {
    cpuPercent: (100 * ticks) / ticksPerSecond / seconds,
    residentMiB: memoryBytes(pid, 'VmRSS') / 1024 ** 2,
    proportionalMiB: readMiB(`/proc/${pid}/smaps_rollup`, 'Pss'),
  };
}
