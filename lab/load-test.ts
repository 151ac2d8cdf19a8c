import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { defaultLimits } from '../src/proxy/limits.ts';
import { proxyVictim, startAttacker } from './attack/attacker.ts';
import { openDescriptors } from './attack/measure-attack.ts';
import { type Served, serveUsers } from './attack/serve-users.ts';
import { chartLimitBytes, type ProxyScene } from './attack/start-scene.ts';
import { memoryBytes, waitedForProcessorMs } from './bench/process.ts';
import { type LoopGauge, measureLoop, readHeld } from './chaos/inspect-process.ts';
import { fillLimits, judgeFilled, writeFilledReport } from './load/fill-limits.ts';
import { type LoadClient, startLoadClient } from './load/load-client.ts';
import type { MixedTally } from './load/mixed-load.ts';
import { type Cycle, describeCycle, judgeLoad, type Run, type Sample, writeLoadReport } from './load/report.ts';
import { inspectorPort, startLoadScene } from './load/start-scene.ts';
import { repository } from './repository.ts';

const usage = `Loads a proxy in front of real kube-apiservers to its limit, and looks for lost requests and growing memory.

Usage: make load-test [ARGS="[--minutes N | --quick | --fill] [--seed N] [--no-report]"]

  --minutes N    duration (default 10)
  --quick        one minute
  --fill         reach all limits of the proxy at once instead, and write docs/benchmarks/full.md
  --seed N       chooses the requests (default 1)
  --no-report    leave docs/benchmarks/load.md as it is
`;

const idleWatches = 5_000;
const slowReaders = 60;
const sampleEveryMs = 1_000;
/** Memory that compiled code, caches and first connections take is not growth. */
const warmUpMs = 10_000;
/** The log lines of each program to print if a requirement is not met. */
const logLines = 40;
/** Floods of connections, by their names in `attack/attacks.ts`. */
const floods = [
  'TLS: handshakes, one after another',
  'TLS: 1,000 handshakes that stop half-way',
  'HTTP/1.1: 1,000 heads, one byte a second',
  'TLS: silent connections',
] as const;

interface Stage {
  readonly scene: ProxyScene;
  readonly gauge: LoopGauge;
  readonly mixed: LoadClient<MixedTally>;
  readonly say: (line: string) => void;
}

/** Serves other users for this long, and samples the proxy every second meanwhile. */
async function watchHalf(
  { scene, gauge }: Stage,
  seconds: number,
  isFlooded: boolean,
): Promise<{ readonly served: Served; readonly samples: readonly Sample[] }> {
  const samples: Sample[] = [];
  const pid = scene.proxyPid;
  let running = true;
  let waited = waitedForProcessorMs(pid);
  const look = async () => {
    while (running) {
      await sleep(sampleEveryMs);
      const { p99Ms: loopP99Ms, maxMs } = await gauge.take();
      const before = waited;
      waited = waitedForProcessorMs(pid);
      const waitedMs = waited - before;
      samples.push({
        isFlooded,
        residentBytes: memoryBytes(pid, 'VmRSS'),
        descriptors: openDescriptors(pid),
        loopP99Ms,
        loopMaxMs: maxMs,
        ownLoopMaxMs: Math.max(0, maxMs - waitedMs),
        waitedMs,
      });
    }
  };
  const looking = look();
  const served = await serveUsers(scene, seconds);
  running = false;
  await looking;
  return { served, samples };
}

async function runCycle(stage: Stage, flood: string, seconds: number): Promise<Cycle> {
  const { scene, mixed, say } = stage;
  const attacker = startAttacker([proxyVictim(scene.url, scene.caFile)], flood);
  const flooded = await watchHalf(stage, seconds / 2, true);
  attacker.kill('SIGKILL');
  const calm = await watchHalf(stage, seconds / 2, false);
  const { kinds: asked, failures } = await mixed.take();
  for (const failure of failures) say(`failed: ${failure}`);
  const cycle: Cycle = {
    flood,
    samples: [...flooded.samples, ...calm.samples],
    heapBytes: (await readHeld(scene.proxyPid, inspectorPort)).heapBytes,
    others: { flooded: flooded.served, calm: calm.served },
    asked,
  };
  say(describeCycle(cycle));
  return cycle;
}

async function load(scene: ProxyScene, seconds: number, seed: number, say: (line: string) => void): Promise<Run> {
  const { url, caFile, tokens } = scene;
  const [admin = '', reader = ''] = tokens;
  const gauge = await measureLoop(inspectorPort);
  say(`opening ${idleWatches} watches`);
  const watches = await startLoadClient<{ standing: number }>('watches', { url, caFile, token: admin }, idleWatches);
  const slow = await startLoadClient('slow', { url, caFile, token: reader }, slowReaders);
  const mixed = await startLoadClient<MixedTally>('mixed', { url, caFile, token: admin }, seed);
  try {
    await sleep(warmUpMs);
    await Promise.all([gauge.take(), mixed.take()]);
    const cycleSeconds = Math.min(60, seconds / 3);
    const cycles: Cycle[] = [];
    for (let at = 0; at < Math.round(seconds / cycleSeconds); at++)
      cycles.push(await runCycle({ scene, gauge, mixed, say }, floods[at % floods.length] ?? '', cycleSeconds));
    const { standing } = await watches.take();
    const idle = { opened: idleWatches, standing };
    return { seed, cycles, idle, slowReaders, limitBytes: chartLimitBytes(), seconds };
  } finally {
    for (const client of [watches, slow, mixed]) client.end();
    gauge.close();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      quick: { type: 'boolean', default: false },
      fill: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      'no-report': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const minutes = values.quick ? 1 : Number(values.minutes);
  if (values.help || !(minutes > 0)) {
    process.stdout.write(usage);
    if (!values.help) process.exitCode = 2;
    return;
  }
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const scene = await startLoadScene(say);
  const date = new Date().toISOString().slice(0, 10);
  try {
    if (values.fill) {
      const filled = await fillLimits(scene, defaultLimits, say);
      const text = writeFilledReport(filled, { date, load: loadavg()[0] ?? 0, limitBytes: chartLimitBytes() });
      say(text);
      if (!values['no-report']) writeFileSync(join(repository, 'docs/benchmarks/full.md'), text);
      const short = judgeFilled(filled);
      for (const what of short) say(`not met: ${what}`);
      if (short.length === 0) return;
      say(scene.mixed.plane.logTails(logLines));
      process.exitCode = 1;
      return;
    }
    const run = await load(scene, minutes * 60, Number(values.seed), say);
    const text = writeLoadReport(run, { date, load: loadavg()[0] ?? 0 });
    say(text);
    if (!values['no-report']) writeFileSync(join(repository, 'docs/benchmarks/load.md'), text);
    if (judgeLoad(run).every(({ isMet }) => isMet)) return;
    say(scene.mixed.plane.logTails(logLines));
    process.exitCode = 1;
  } finally {
    await scene.mixed.stop();
  }
}

await main();
