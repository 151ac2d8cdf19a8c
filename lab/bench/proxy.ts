import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { issue, makeAuthority } from '../plane/certificates.ts';
import { startControlPlane } from '../plane/control-plane.ts';
import { repository } from '../repository.ts';
import { waitUntil } from '../wait-until.ts';
import type { FrontSetting, Listening } from './fronts.ts';
import { fixedPaths, startBackEnd, startHaproxy, startNginx, startOurs, startRouting } from './fronts.ts';
import { type LoadResult, runHandshakes, runLoad, stolenSeconds } from './load.ts';
import { type ProxyMeasurements, writeChart, writeProxyReport } from './proxy-report.ts';
import { inFolder, progress, publishReport, writePage } from './run-bench.ts';
import { measureWatches } from './watches.ts';

const turns = 3;
/** Real servers also do other work, so their turns vary more. */
const realTurns = 9;
const seconds = 3;
const watches = { first: 1_000, further: 4_000 };
const lowRate = 200;
const proxyCore = '0';
const loadCore = '1';
const ports = { back: 20_001, nginx: 20_002, haproxy: 20_003, ours: 20_004, two: 20_005, watch: 20_011 };
const token = 't'.repeat(800);

function needPrograms(): void {
  const missing = ['nginx', 'haproxy', 'wrk', 'h2load', 'taskset'].filter(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
  );
  if (missing.length > 0)
    throw new Error(`missing: ${missing.join(', ')}; on Debian: apt-get install haproxy nginx wrk nghttp2-client`);
}

/**
 * The fronts take turns in front of a back end that is faster than all of them, so that a slow moment hits them all.
 */
async function measureFixed(setting: FrontSetting, samples: ProxyMeasurements['samples']): Promise<void> {
  const fronts: Listening[] = [];
  try {
    const back = await startBackEnd(setting, ports.back, loadCore);
    fronts.push(back);
    fronts.push(await startNginx(setting, ports.nginx, ports.back));
    fronts.push(await startHaproxy(setting, ports.haproxy, ports.back));
    fronts.push(await startOurs(setting, ports.ours, ports.back));
    fronts.push(await startOurs({ ...setting, core: undefined }, ports.two, ports.back, 2));
    for (let turn = 0; turn <= turns; turn++)
      for (const [size, path] of Object.entries(fixedPaths))
        for (const protocol of ['h1', 'h2'] as const)
          for (const { name, url, pid } of fronts) {
            const warm = turn === 0;
            const load = { url: url + path, protocol, token, seconds: warm ? 6 : seconds };
            const result = await runLoad(load, [pid], loadCore);
            if (!warm) note(samples, `${size}, ${protocol}`, name === back.name ? 'direct' : name, result);
          }
    for (let turn = 0; turn < turns; turn++)
      for (const { name, url, pid } of fronts.slice(0, 4)) {
        const load = { url: url + fixedPaths['1 KiB'], protocol: 'h1', token, seconds, rate: lowRate } as const;
        note(
          samples,
          `${lowRate} requests/s`,
          name === back.name ? 'direct' : name,
          await runLoad(load, [pid], loadCore),
        );
      }
    for (let turn = 0; turn < turns; turn++)
      for (const { name, url, pid } of fronts.slice(1, 4)) {
        const load = { port: Number(new URL(url).port), path: fixedPaths['1 KiB'], caFile: setting.caFile, seconds };
        note(samples, 'full TLS handshakes', name, await runHandshakes(load, [pid], loadCore));
      }
  } finally {
    for (const front of fronts) await front.stop();
  }
}

function note(samples: ProxyMeasurements['samples'], load: string, front: string, result: LoadResult): void {
  progress(
    `${load}: ${front}: ${Math.round(result.perSecond)} requests/s, ${Math.round(result.cpuUs)} µs, ${result.failed} failed`,
  );
  samples.push({ load, front, result });
}

async function measureMemory(setting: FrontSetting, memory: ProxyMeasurements['memory']): Promise<void> {
  const script = join(repository, 'lab', 'bench', 'watch-end.ts');
  const { cert, key } = setting.peer;
  const back = spawn(process.execPath, [script, String(ports.watch), cert, key], { stdio: 'ignore' });
  try {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    for (const protocol of ['h2', 'h1'] as const)
      for (const start of [startOurs, startHaproxy, startNginx]) {
        const front = await start({ ...setting, core: undefined, watches: true }, ports.watch + 1, ports.watch);
        try {
          const load = { url: front.url, caFile: setting.caFile, protocol, ...watches };
          const kib = await measureWatches(load, [front.pid]);
          progress(`${protocol}: ${front.name}: ${kib.toFixed(1)} KiB for each watch`);
          memory.push({ front: front.name, protocol, kib });
        } finally {
          await front.stop();
        }
      }
  } finally {
    back.kill('SIGKILL');
  }
}

/** Compares upstream's own hop with ours over the same servers. */
async function measureReal(setting: FrontSetting, samples: ProxyMeasurements['samples']): Promise<void> {
  const plane = await startControlPlane({
    servers: [
      { name: 'plain-old', version: '1.36', runtimeConfig: 'batch/v1=false' },
      { name: 'mvp-old', version: '1.36', runtimeConfig: 'batch/v1=false', peerCa: true },
      { name: 'new-1', version: '1.36', peerCa: true },
    ],
    log: progress,
  });
  try {
    const [home, mvp, capable] = ['plain-old', 'mvp-old', 'new-1'].map((name) => plane.server(name));
    if (home === undefined || mvp === undefined || capable === undefined) throw new Error('a server is missing');
    const serving = plane.issueServingCert('bench', ['localhost'], ['127.0.0.1']);
    const peers = [home, capable].map(({ name, address }) => ({ id: name, address, state: 'Ready' as const }));
    const jobs = [{ resource: 'jobs', peers: [1], subresources: {} }];
    const groupVersions = [{ group: 'batch', version: 'v1', origin: 'BuiltIn' as const, resources: jobs }];
    const real = { ...setting, caFile: plane.caFile, serving, core: undefined };
    const ours = await startRouting(real, ports.ours, { home: home.address, peers, groupVersions });
    try {
      const path = '/apis/batch/v1/namespaces/default/jobs';
      const admin = plane.tokens.admin;
      const served = async () =>
        (await plane.exec('curl', ['-ksf', '-H', `Authorization: Bearer ${admin}`, `${mvp.url}${path}`])).code === 0;
      await waitUntil('upstream to route', served, { boundMs: 150_000, everyMs: 500, seen: () => '' });
      const ways = [
        { front: 'direct', url: capable.url, pids: [pidOf(capable.address)] },
        { front: 'PeerDiscovery', url: ours.url, pids: [ours.pid] },
        { front: 'upstream’s hop', url: mvp.url, pids: [pidOf(mvp.address)] },
      ];
      for (let turn = 0; turn <= realTurns; turn++)
        for (const protocol of ['h1', 'h2'] as const)
          for (const { front, url, pids } of ways) {
            // Long enough that V8 has compiled the code of a proxy in long use.
            const load = { url: url + path, protocol, token: admin, seconds: turn === 0 ? 15 : seconds };
            const result = await runLoad(load, pids, '0,1');
            if (turn > 0) note(samples, `real kube-apiservers, ${protocol}`, front, result);
          }
    } finally {
      await ours.stop();
    }
  } finally {
    await plane.stop();
  }
}

function pidOf(address: string): number {
  const flag = `--bind-address=${address.slice(0, address.lastIndexOf(':'))}`;
  for (const name of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      if (!words[0]?.endsWith('kube-apiserver') || !words.includes(flag)) continue;
      // Another lab on this machine may use the same address in its own network namespace.
      if (readlinkSync(`/proc/${name}/ns/net`) === readlinkSync('/proc/self/ns/net')) return Number(name);
    } catch {
      // The process has ended meanwhile.
    }
  }
  throw new Error(`no kube-apiserver listens on ${address}`);
}

needPrograms();
const build = spawnSync('npm', ['run', '--silent', 'build'], { cwd: repository, encoding: 'utf8' });
if (build.status !== 0) throw new Error(`the build failed: ${build.stdout}${build.stderr}`);
await inFolder(async (folder) => {
  const authority = makeAuthority(folder, 'ca');
  const names = ['DNS:localhost', 'IP:127.0.0.1'];
  const setting: FrontSetting = {
    folder,
    caFile: authority.cert,
    serving: issue(folder, 'serving', authority, '/CN=front', names),
    peer: issue(folder, 'peer', authority, '/CN=peer', ['DNS:kubernetes.default.svc', ...names]),
    program: join(repository, 'dist', 'bin', 'peerdiscovery.js'),
    core: proxyCore,
  };
  const measured: ProxyMeasurements = { samples: [], memory: [], turns, realTurns, seconds, watches };
  const [startedAtMs, stolenBefore] = [performance.now(), stolenSeconds()];
  const parts = process.argv.slice(2);
  const wants = (part: string) => parts.length === 0 || parts.includes(part);
  if (wants('fixed')) await measureFixed(setting, measured.samples);
  if (wants('watches')) await measureMemory(setting, measured.memory);
  if (wants('real')) await measureReal(setting, measured.samples);
  const available = (availableParallelism() * (performance.now() - startedAtMs)) / 1_000;
  const text = writeProxyReport(measured, (100 * (stolenSeconds() - stolenBefore)) / available);
  if (parts.length === 0) {
    publishReport('proxy', text);
    writePage('proxy.svg', writeChart(measured));
  } else process.stdout.write(`\n${text}\n`);
});
