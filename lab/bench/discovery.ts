import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { availableParallelism, release } from 'node:os';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { measureOnPlane, progress, publishReport } from './run-bench.ts';

const servers = [
  { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
  { name: 'new-1', version: '1.36', peerCa: true },
] as const;
const aggregated = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
const connections = 8;
const rounds = 5;
const roundMs = 4_000;

/** One measurement: a request, and the two processes that answer it. */
interface Contest {
  readonly title: string;
  readonly path: string;
  readonly accept: string;
  readonly conditional: boolean;
}

const contests: readonly Contest[] = [
  { title: '`/apis`, aggregated v2, 200', path: '/apis', accept: aggregated, conditional: false },
  { title: '`/apis`, aggregated v2, 304', path: '/apis', accept: aggregated, conditional: true },
  { title: '`/apis`, legacy, 200', path: '/apis', accept: 'application/json', conditional: false },
  { title: '`/apis/apps/v1`, legacy, 200', path: '/apis/apps/v1', accept: 'application/json', conditional: false },
];

interface Target {
  readonly name: 'proxy' | 'server';
  readonly url: string;
  readonly pid: number;
}

/** One round of one contest against one target. */
interface Sample {
  readonly cpuUs: number;
  readonly perSecond: number;
  readonly bytes: number;
}

function readCpuUs(pid: number, ticksPerSecond: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticksPerSecond;
}

/** The kube-apiserver that listens on an address, found by its command line. */
function findServer(address: string): number {
  const flag = `--bind-address=${address.slice(0, address.lastIndexOf(':'))}\0`;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let command = '';
    try {
      command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    } catch {
      // The process has ended meanwhile.
    }
    if (
      command.includes('kube-apiserver') &&
      command.includes(flag) &&
      readNetNamespace(pid) === readNetNamespace('self')
    )
      return Number(pid);
  }
  throw new Error(`no kube-apiserver listens on ${address}`);
}

function readNetNamespace(pid: string): string {
  return execFileSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' });
}

interface Answer {
  readonly status: number;
  readonly etag: string | undefined;
  readonly bytes: number;
}

function ask(agent: Agent, url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url, { agent, headers }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, etag: response.headers.etag, bytes }));
    });
    request.once('error', reject);
    request.end();
  });
}

async function measure(mixed: MixedPlane, contest: Contest, target: Target, ticksPerSecond: number): Promise<Sample> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections, ca: readFileSync(mixed.plane.caFile) });
  const url = `${target.url}${contest.path}`;
  const headers: Record<string, string> = {
    authorization: `Bearer ${mixed.plane.tokens.admin}`,
    accept: contest.accept,
    'user-agent': 'bench',
  };
  const first = await ask(agent, url, headers);
  if (contest.conditional) headers['if-none-match'] = first.etag ?? '';
  const wanted = contest.conditional ? 304 : 200;
  const warmUntil = performance.now() + 1_000;
  while (performance.now() < warmUntil) await ask(agent, url, headers);
  const cpuBefore = readCpuUs(target.pid, ticksPerSecond);
  const startedAt = performance.now();
  let count = 0;
  const loop = async () => {
    while (performance.now() < startedAt + roundMs) {
      const { status } = await ask(agent, url, headers);
      if (status !== wanted) throw new Error(`${target.name} answered ${status} to ${contest.title}`);
      count++;
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  const seconds = (performance.now() - startedAt) / 1_000;
  const cpuUs = (readCpuUs(target.pid, ticksPerSecond) - cpuBefore) / count;
  agent.destroy();
  return { cpuUs, perSecond: count / seconds, bytes: first.bytes };
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function spread(values: readonly number[]): string {
  const whole = (value: number) => Math.round(value).toLocaleString('en');
  return `${whole(middle(values))} (${whole(Math.min(...values))}–${whole(Math.max(...values))})`;
}

interface Result {
  readonly contest: Contest;
  readonly proxy: readonly Sample[];
  readonly server: readonly Sample[];
}

function writeReport(results: readonly Result[], gitVersion: string): string {
  const rows = results.map(({ contest, proxy, server }) => {
    const [ours, theirs] = [proxy, server].map((samples) => samples.map(({ cpuUs }) => cpuUs));
    const ratio = middle(ours ?? []) / middle(theirs ?? []);
    const perCore = (samples: readonly number[]) => Math.round(1e6 / middle(samples)).toLocaleString('en');
    return `| ${contest.title} (${proxy[0]?.bytes.toLocaleString('en')} bytes) | ${spread(ours ?? [])} | ${spread(theirs ?? [])} | ${ratio.toFixed(2)} | ${ratio <= 0.5 ? 'met' : '**not met**'} | ${perCore(ours ?? [])} / ${perCore(theirs ?? [])} | ${spread(proxy.map(({ perSecond }) => perSecond))} | ${spread(server.map(({ perSecond }) => perSecond))} |`;
  });
  return `${[
    '# Discovery: the proxy compared with kube-apiserver',
    '',
    'Written by `make bench ARGS=discovery`. The figures are from one machine: compare the ratios, and run it on yours.',
    '',
    `- ${availableParallelism()} cores shared by etcd, two kube-apiservers ${gitVersion}, the operator, the proxy and the measuring client`,
    `- Linux ${release().split('-')[0]}, Node ${process.version}, loopback, HTTP/1.1 over TLS, ${connections} connections`,
    `- ${rounds} rounds of ${roundMs / 1_000} s each, taken in turns; medians, with the smallest and largest in parentheses`,
    '- Target: at most half the CPU per request of kube-apiserver’s own endpoint (1.36 with `--peer-ca-file`, whose aggregated `/apis` is the same document)',
    '',
    '| What | CPU per request, proxy (us) | CPU per request, kube-apiserver (us) | Ratio | Target 0.5 | Requests per second and core, proxy / kube-apiserver | Seen per second, proxy | Seen per second, kube-apiserver |',
    '|---|---|---|---|---|---|---|---|',
    ...rows,
    '',
    'CPU is the user and system time of the answering process, from `/proc/PID/stat`. The measuring client shares the cores and bounds the requests seen per second; requests per second and core are computed from the CPU. The proxy’s figures leave out the CPU of the home server, which gets one request per client and path every ten seconds.',
  ].join('\n')}\n`;
}

await measureOnPlane({ servers, home: 'old-1' }, async (mixed) => {
  mixed.startOperator();
  const proxy = mixed.startProxy();
  if (proxy.pid === undefined) throw new Error('the proxy is not running');
  const newest = mixed.plane.server('new-1');
  const targets: readonly Target[] = [
    { name: 'proxy', url: mixed.proxyUrl, pid: proxy.pid },
    { name: 'server', url: newest.url, pid: findServer(newest.address) },
  ];
  await waitUntil('the unified document', async () => {
    const { stdout } = await mixed.kubectl('proxy', ['get', '--raw', '/apis/resource.k8s.io/v1']);
    return stdout.includes('resourceclaims');
  });
  const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  const results = contests.map((contest) => ({ contest, proxy: [] as Sample[], server: [] as Sample[] }));
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    for (const result of results)
      for (const target of targets)
        result[target.name].push(await measure(mixed, result.contest, target, ticksPerSecond));
  }
  const { stdout } = await mixed.kubectl('new-1', ['get', '--raw', '/version']);
  const text = writeReport(results, (JSON.parse(stdout) as { gitVersion: string }).gitVersion);
  publishReport('discovery', text);
});
