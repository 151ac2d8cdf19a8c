import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ClusterPlan } from './cluster-plan.ts';
import { installProduct, loadImages } from './install-product.ts';
import { initialize, joinControlPlane, upgradeMachine, waitForMachines } from './kubeadm.ts';
import { judgeEvent, type LivedEvent, live, waitUntilRight } from './life.ts';
import { healthOf, lifeEvents } from './life-events.ts';
import { writeLifeReport } from './life-report.ts';
import { startLoad } from './load.ts';
import { type Machine, makeNetwork, startMachine } from './machine.ts';
import { judge, judgeOperator, type Observations, shortcomings } from './samples.ts';
import { drawTimeline, writeUpgradeReport } from './upgrade-report.ts';

/** How long clients run before and after the upgrade. */
const aroundMs = 30_000;
const pages = fileURLToPath(new URL('../../docs/benchmarks', import.meta.url));
const log = (message: string) => void process.stdout.write(`${message}\n`);

/** Runs a step and records how long it took. */
async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await run();
  log(`${((performance.now() - startedAt) / 1_000).toFixed(0).padStart(5)} s  ${name}`);
  return result;
}

/** Resolves to three machines that form one control plane, with this project installed. */
async function bringUp({ root, group, containerd, from, product }: ClusterPlan): Promise<readonly Machine[]> {
  await makeNetwork();
  const machines: Machine[] = [];
  for (const number of [1, 2, 3]) {
    const machine = await step(`m${number} starts`, () => startMachine({ number, root, group, containerd }));
    machine.use(from.node.folder, ['kubeadm', 'kubelet', 'kubectl']);
    await step(`m${number} loads images`, () => loadImages(machine, [...from.images, product]));
    const [what, run] =
      number === 1
        ? ['kubeadm init', () => initialize(machine, from.node)]
        : ['kubeadm join', () => joinControlPlane(machine)];
    await step(`m${number} ${what}`, run);
    machines.push(machine);
  }
  await step('three Nodes are Ready', () => waitForMachines(machines, from.node.version));
  const [first] = machines;
  if (first !== undefined) await step('PeerDiscovery is installed', () => installProduct(first));
  return machines;
}

/** Upgrades all machines under load. Resolves to what the clients saw. */
async function upgradeUnderLoad({ to }: ClusterPlan, machines: readonly Machine[]): Promise<Observations> {
  // The images go to all machines first, because kubeadm's Job upgrade-health-check runs on any Node.
  for (const machine of machines) await step(`${machine.name} loads images`, () => loadImages(machine, to.images));
  const load = await startLoad(machines);
  const steps: { name: string; from: number; to: number }[] = [];
  const timed = async (name: string, run: () => Promise<void>) => {
    const from = Date.now();
    await step(name, run);
    steps.push({ name, from, to: Date.now() });
  };
  await timed('before', () => setTimeout(aroundMs));
  let failure: string | undefined;
  try {
    for (const [index, machine] of machines.entries()) {
      await timed(`${machine.name} kubeadm upgrade`, () => upgradeMachine(machine, index === 0, to.node));
      await timed(`${machine.name} settles`, () => waitForMachines(machines, to.node.version));
    }
  } catch (error) {
    // The report still covers what clients saw until then.
    failure = error instanceof Error ? error.message : String(error);
    log(failure);
  }
  await timed('after', () => setTimeout(aroundMs));
  return { ...(await load.stop()), steps, failure };
}

/** The lines about this machine in every report. */
function machineLines({ buildSeconds }: ClusterPlan, upSeconds: number): readonly string[] {
  return [
    `Everything runs on one machine with ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'an unknown processor'}; load average ${loadavg()[0]?.toFixed(1)} at the end.`,
    `Building or finding all programs and images took ${buildSeconds.toFixed(0)} s; starting the cluster with this project in it took ${upSeconds.toFixed(0)} s.`,
  ];
}

/** Writes the report and its picture. Returns 0 if all requirements were met. */
function report(observed: Observations, plan: ClusterPlan, upSeconds: number): number {
  const { from, to } = plan;
  const setting = {
    versions: [from.node.version, to.node.version] as const,
    lines: machineLines(plan, upSeconds),
  };
  writeFileSync(join(pages, 'upgrade.md'), writeUpgradeReport(observed, setting));
  writeFileSync(join(pages, 'upgrade.svg'), drawTimeline(observed, setting));
  const short = shortcomings(judge(observed, true), judgeOperator(observed));
  for (const line of short) log(`did not hold: ${line}`);
  if (observed.failure !== undefined) log('the upgrade did not finish');
  log('docs/benchmarks/upgrade.md is written');
  return short.length === 0 && observed.failure === undefined ? 0 : 1;
}

/** Runs the chosen events on the cluster under load, and reports them. Returns 0 if all requirements were met. */
async function liveUnderLoad(plan: ClusterPlan, machines: readonly Machine[], upSeconds: number): Promise<number> {
  const [first, second, third] = machines;
  if (first === undefined || second === undefined || third === undefined)
    throw new Error('this test needs three machines');
  const health = healthOf(machines);
  const events = lifeEvents({ machines: [first, second, third], health });
  const chosen = events.filter(({ id }) => plan.events.length === 0 || plan.events.includes(id));
  await step('all is right', () => waitUntilRight(health));
  const load = await startLoad(machines);
  const lived: LivedEvent[] = [];
  for (const event of chosen) {
    const over = await step(event.name, () => live(event, health));
    for (const problem of over.problems) log(`      ${problem}`);
    lived.push(over);
    // The damage of this event would distort the following ones.
    if (over.rightAt === undefined) break;
  }
  const seen = await load.stop();
  const { version } = plan.from.node;
  const text = writeLifeReport(lived, seen, { version, lines: machineLines(plan, upSeconds) });
  // A report must cover all events.
  if (plan.events.length > 0) log(text);
  else writeFileSync(join(pages, 'cluster-life.md'), text);
  const short = lived.flatMap((event) => judgeEvent(event, seen).short.map((line) => `${event.name}: ${line}`));
  for (const line of short) log(`did not hold: ${line}`);
  return short.length === 0 && lived.length === chosen.length ? 0 : 1;
}

async function main(mode: string, plan: ClusterPlan): Promise<number> {
  const startedAt = performance.now();
  const machines = await bringUp(plan);
  const upSeconds = (performance.now() - startedAt) / 1_000;
  const [first] = machines;
  if (mode === 'up') {
    log((await first?.must(['kubectl', 'get', 'nodes', '-o', 'wide'])) ?? '');
    log((await first?.must(['kubectl', 'get', 'peerdiscovery', '-o', 'wide'])) ?? '');
    log(`The cluster is up. Run commands in it from another terminal, and stop it here with Ctrl-C:\n`);
    log(`  ${join(plan.root, 'enter')} m1 kubectl get pods -A -o wide`);
    await new Promise(() => setInterval(() => {}, 60_000));
  }
  if (mode === 'life') return liveUnderLoad(plan, machines, upSeconds);
  return report(await upgradeUnderLoad(plan, machines), plan, upSeconds);
}

const [mode = '', file = ''] = process.argv.slice(2);
process.exitCode = await main(mode, JSON.parse(readFileSync(file, 'utf8')) as ClusterPlan).catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error));
  return 1;
});
process.exit();
