import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** One kind of load on one URL. The number of connections and the time are limited. */
export interface Load {
  readonly url: string;
  readonly protocol: 'h1' | 'h2';
  readonly token: string;
  readonly seconds: number;
  /** The highest number of requests per second; undefined for no limit. */
  readonly rate?: number;
}

/** The result of one load. */
export interface LoadResult {
  readonly perSecond: number;
  readonly requests: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU of the watched processes for each request, in microseconds. */
  readonly cpuUs: number;
}

const connections = 64;
const sessions = 10;
const streams = 20;
/** The header fields that kubectl sends besides the token. */
const headers = (token: string): readonly string[] => [
  `Authorization: Bearer ${token}`,
  'Accept: application/json, application/vnd.kubernetes.protobuf',
  'User-Agent: kubectl/v1.36.3 (linux/amd64) kubernetes/0000000',
  'Kubectl-Command: kubectl get',
  'Kubectl-Session: 00000000-0000-0000-0000-000000000000',
];

/** User and system time of processes and their children, in seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  let ticks = 0;
  for (const pid of withChildren(pids)) {
    const fields = statFields(pid);
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}

/** Resident memory of processes and their children. */
export function residentKiB(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of withChildren(pids))
    sum += Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return sum;
}

/** Not every kernel lists the children of a process, so this code reads the parent of every process. */
function withChildren(pids: readonly number[]): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      parents.set(Number(name), Number(statFields(Number(name))[1]));
    } catch {
      // The process has ended meanwhile.
    }
  }
  const found = new Set(pids);
  // A child has a greater id than its parent, unless ids have wrapped. Two passes are enough for two levels.
  for (let turn = 0; turn < 2; turn++) for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  return [...found];
}

function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is a name in parentheses, which may hold spaces.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Runs a load on the core that the proxies do not use, and measures the CPU of `pids`. */
export async function runLoad(load: Load, pids: readonly number[], core: string): Promise<LoadResult> {
  const before = cpuSeconds(pids);
  const counted = load.protocol === 'h1' && load.rate === undefined ? await wrk(load, core) : await h2load(load, core);
  return { ...counted, cpuUs: ((cpuSeconds(pids) - before) * 1e6) / Math.max(1, counted.requests) };
}

/** Makes full TLS handshakes with one small request each, and measures the CPU of `pids`. */
export async function runHandshakes(
  { port, path, caFile, seconds }: { port: number; path: string; caFile: string; seconds: number },
  pids: readonly number[],
  core: string,
): Promise<LoadResult> {
  const script = fileURLToPath(new URL('handshake-load.ts', import.meta.url));
  const before = cpuSeconds(pids);
  const args = ['-c', core, process.execPath, script, String(port), caFile, String(seconds), path];
  const { stdout } = await run('taskset', args);
  const { answered, failed } = JSON.parse(stdout) as { answered: number; failed: number };
  const cpuUs = ((cpuSeconds(pids) - before) * 1e6) / Math.max(1, answered);
  const latencies = { p50Ms: Number.NaN, p99Ms: Number.NaN };
  return { perSecond: answered / seconds, requests: answered, failed, ...latencies, cpuUs };
}

/** CPU time that the hypervisor has taken from this machine since its start, in seconds. */
export function stolenSeconds(): number {
  const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return Number(readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/)[8]) / ticksPerSecond;
}

type Counted = Omit<LoadResult, 'cpuUs'>;

async function wrk({ url, token, seconds }: Load, core: string): Promise<Counted> {
  const fields = headers(token).flatMap((field) => ['-H', field]);
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s', ...fields, url];
  const { stdout } = await run('taskset', ['-c', core, 'wrk', ...args]);
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0);
  const ms = (percent: string) => {
    const [, value = 'NaN', unit] = new RegExp(`${percent}%\\s+([0-9.]+)(us|ms|s)`).exec(stdout) ?? [];
    return Number(value) * (unit === 'us' ? 0.001 : unit === 's' ? 1_000 : 1);
  };
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
  return {
    perSecond: number(/Requests\/sec:\s+([0-9.]+)/),
    requests: number(/(\d+) requests in/),
    failed: number(/Non-2xx or 3xx responses: (\d+)/) + errors.reduce((sum, count) => sum + Number(count), 0),
    p50Ms: ms('50'),
    p99Ms: ms('99'),
  };
}

async function h2load({ url, token, seconds, protocol, rate }: Load, core: string): Promise<Counted> {
  const fields = headers(token).flatMap((field) => ['-H', field]);
  const log = `/tmp/peerdiscovery-h2load-${process.pid}.log`;
  const low = rate === undefined ? [] : [`--rps=${rate / 4}`];
  const load = rate === undefined ? [`-c${sessions}`, `-m${streams}`] : ['-c4', '-m1'];
  const h1 = protocol === 'h1' ? ['--h1'] : [];
  const args = [...h1, ...load, ...low, '-t1', `-D${seconds}`, `--log-file=${log}`, ...fields, url];
  const { stdout } = await run('taskset', ['-c', core, 'h2load', ...args]);
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0);
  // Columns: start in microseconds since the epoch, status, duration in microseconds.
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  execFileSync('rm', ['-f', log]);
  const took = lines.map((line) => Number(line.split('\t')[2]) / 1_000).sort((a, b) => a - b);
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  return {
    perSecond: lines.length / seconds,
    requests: lines.length,
    failed: number(/(\d+) failed/) + number(/(\d+) 4xx/) + number(/, (\d+) 5xx/),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}
