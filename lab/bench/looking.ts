import type { ChildProcess } from 'node:child_process';
import { availableParallelism, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeFlags } from '../../scripts/build-rootfs.ts';
import { buildProduct } from '../build/build-product.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { openProbe, record } from './probe.ts';
import { type ProcessUse, watchProcess } from './process.ts';
import { measureOnPlane, progress, publishReport } from './run-bench.ts';

const servers = [
  { name: 'a', version: '1.36' },
  { name: 'b', version: '1.36' },
  { name: 'c', version: '1.36' },
] as const;
const proxies = 5;
const firstPort = 8443;
const settleMs = 10_000;
const watchMs = 60_000;
const busyEveryMs = 250;
const namespace = 'peerdiscovery-system';

/** Requests that a server has answered so far: for readiness, for discovery, and all others. */
interface Requests {
  readonly readiness: number;
  readonly discovery: number;
  readonly other: number;
}

/** Figures of one period: requests per second of the average server, and the CPU of each process. */
interface Stage {
  readonly what: string;
  readonly perSecond: Requests;
  readonly uses: readonly ProcessUse[];
}

const discovery = /^\/(api|apis|version|openapi\/v[23])$/;

/** Sums over all servers. */
async function countRequests({ kubectl }: MixedPlane): Promise<Requests> {
  const sum = { readiness: 0, discovery: 0, other: 0 };
  for (const { name } of servers) {
    const { stdout, stderr, code } = await kubectl(name, ['get', '--raw', '/metrics']);
    if (code !== 0) throw new Error(`the metrics of ${name}: ${stderr}`);
    for (const [, labels = '', count] of stdout.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
      const path = /subresource="([^"]*)"/.exec(labels)?.[1] ?? '';
      // The benchmark's own requests.
      if (path === '/metrics') continue;
      sum[path === '/readyz' ? 'readiness' : discovery.test(path) ? 'discovery' : 'other'] += Number(count);
    }
  }
  return sum;
}

async function observe(mixed: MixedPlane, what: string, children: readonly ChildProcess[]): Promise<Stage> {
  progress(`${what}: ${watchMs / 1_000} s`);
  await sleep(settleMs);
  const before = await countRequests(mixed);
  const startedAt = performance.now();
  const watching = children.map(({ pid = 0 }) => watchProcess(pid, watchMs));
  const [uses] = await Promise.all([Promise.all(watching), sleep(watchMs)]);
  const after = await countRequests(mixed);
  const per = ((performance.now() - startedAt) / 1_000) * servers.length;
  const perSecond = {
    readiness: (after.readiness - before.readiness) / per,
    discovery: (after.discovery - before.discovery) / per,
    other: (after.other - before.other) / per,
  };
  progress(JSON.stringify({ perSecond, cpuPercent: uses.map(({ cpuPercent }) => cpuPercent) }));
  return { what, perSecond, uses };
}

/** As shipped: one operator, and proxies. The first proxies each have their own home server, as in a DaemonSet. */
function createLauncher({ plane }: MixedPlane, program: string) {
  const start = (name: string, args: readonly string[]) =>
    plane.spawn(process.execPath, [...nodeFlags, program, ...args, '--health-bind-address', '0'], { name });
  const access = (component: 'operator' | 'proxy', server: string) => {
    const name = `${component}-${server}`;
    const kubeconfig = plane.kubeconfig({ server: plane.server(server).url, token: plane.tokens[component], name });
    return ['--kubeconfig', kubeconfig, '--namespace', namespace, '--log-format', 'text'];
  };
  return {
    operator: () => start('built-operator', ['operator', ...access('operator', 'a')]),
    proxy: (number: number) => {
      const { name } = servers[number % servers.length] ?? servers[0];
      const serving = plane.issueServingCert(`proxy-${number}`, ['localhost'], ['10.77.0.30']);
      const tls = ['--tls-cert-file', serving.cert, '--tls-private-key-file', serving.key];
      const listen = ['--bind-address', '10.77.0.30', '--secure-port', String(firstPort + number)];
      const home = number < servers.length ? ['--home', plane.server(name).address] : [];
      const flags = [...access('proxy', name), ...tls, '--peer-ca-file', plane.caFile, ...listen, ...home];
      return start(`built-proxy-${number}`, ['proxy', ...flags]);
    },
  };
}

const urlOf = (number: number) => `https://10.77.0.30:${firstPort + number}/api/v1/namespaces/default/configmaps`;

/** Starts one busy client for each proxy. Returns a function that ends them. */
function keepBusy({ plane }: MixedPlane): () => Promise<void> {
  const numbers = Array.from({ length: proxies }, (_, number) => number);
  const clients = numbers.map((number) =>
    record({ url: urlOf(number), token: plane.tokens.admin, caFile: plane.caFile }, busyEveryMs),
  );
  return async () => {
    await Promise.all(clients.map((client) => client.stop()));
    for (const { answers } of clients)
      if (answers.some(({ status }) => status !== 200)) throw new Error('a request of the busy clients failed');
  };
}

async function waitForProxies({ plane }: MixedPlane): Promise<void> {
  for (let number = 0; number < proxies; number += 1) {
    const probe = openProbe({ url: urlOf(number), token: plane.tokens.admin, caFile: plane.caFile });
    await waitUntil(`proxy ${number}`, async () => (await probe.ask()).status === 200);
    probe.close();
  }
}

async function waitForPeers({ kubectl }: MixedPlane): Promise<void> {
  const field = ['-o', 'jsonpath={.status.peerCounts.ready}'];
  await waitUntil('three ready peers', async () => {
    const { stdout } = await kubectl('a', ['get', 'peerdiscovery', 'cluster', ...field]);
    return stdout === String(servers.length);
  });
}

async function measure(mixed: MixedPlane): Promise<readonly Stage[]> {
  const launcher = createLauncher(mixed, buildProduct());
  const stages = [await observe(mixed, 'only the servers', [])];
  const operator = launcher.operator();
  await waitForPeers(mixed);
  stages.push(await observe(mixed, 'the idle operator', [operator]));
  const started = Array.from({ length: proxies }, (_, number) => launcher.proxy(number));
  await waitForProxies(mixed);
  stages.push(await observe(mixed, `operator and ${proxies} idle proxies`, [operator, ...started]));
  const endLoad = keepBusy(mixed);
  stages.push(await observe(mixed, `operator and ${proxies} proxies in use`, [operator, ...started]));
  await endLoad();
  return stages;
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

function writeReport([alone, ...stages]: readonly Stage[]): string {
  const percent = (uses: readonly ProcessUse[]) => {
    const mean = uses.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0) / uses.length;
    return uses.length === 0 ? '' : `${mean.toFixed(2)} %`;
  };
  const figures = stages.map(({ what, perSecond, uses: [operator, ...others] }) => {
    const more = (of: keyof Requests) => (perSecond[of] - (alone?.perSecond[of] ?? 0)).toFixed(2);
    const isInUse = what.endsWith('in use');
    return row([
      what,
      more('readiness'),
      more('discovery'),
      isInUse ? 'those of the clients' : more('other'),
      percent(operator === undefined ? [] : [operator]),
      isInUse ? '' : percent(others),
    ]);
  });
  return `${[
    '# Cost of watching the servers',
    '',
    'Written by `make bench ARGS=looking`. The figures are from one machine: run it on yours.',
    '',
    `- ${availableParallelism()} cores shared by etcd, ${servers.length} kube-apiservers, the operator and ${proxies} proxies, all as shipped (built JavaScript)`,
    `- Linux ${release().split('-')[0]}, Node ${process.version}, loopback`,
    '',
    row(['Running', '`/readyz`', 'discovery', 'other requests', 'CPU of the operator', 'CPU of a proxy']),
    row(['---', '---', '---', '---', '---', '---']),
    ...figures,
    '',
    '## How it is measured',
    '',
    `- Requests are per second and server: the mean of the ${servers.length}, from \`apiserver_request_total\` over ${watchMs / 1_000} s. The servers’ own requests, measured without PeerDiscovery, are subtracted: ${alone?.perSecond.other.toFixed(2)} a second. A watch is counted when it ends.`,
    '- CPU is user and system time from `/proc/PID/stat` in percent of one core. A proxy’s figure is the mean of all proxies.',
    `- The first ${servers.length} proxies each have their own home server, as in a DaemonSet; the others have none. “In use” means that one client of each proxy lists ConfigMaps every ${busyEveryMs} ms.`,
  ].join('\n')}\n`;
}

await measureOnPlane({ servers, home: 'a' }, async (mixed) => {
  publishReport('looking', writeReport(await measure(mixed)));
});
