import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ClusterPlan } from './cluster-plan.ts';
import { installProduct, loadImages } from './install-product.ts';
import { initialize, joinControlPlane, upgradeMachine, waitForMachines } from './kubeadm.ts';
import { failedIn, judgeEvent, type LivedEvent, lifeEventIds, live, type Seen, waitUntilRight } from './life.ts';
import { healthOf, lifeEvents } from './life-events.ts';
import { type LifeRecord, openRecords } from './life-records.ts';
import { writeLifeReport } from './life-report.ts';
import { type Load, startLoad } from './load.ts';
import { type Machine, makeNetwork, startMachine } from './machine.ts';
import { judge, judgeOperator, type Observations, shortcomings } from './samples.ts';
import { drawTimeline, writeUpgradeReport } from './upgrade-report.ts';

/** How long clients run before and after the upgrade. */
const aroundMs = 30_000;
const pages = fileURLToPath(new URL('../../docs/benchmarks', import.meta.url));
/** The records of all events, and the machines' logs of those that had problems. */
const lifeFolder = fileURLToPath(new URL('../../dist/cluster-life', import.meta.url));
/** The number of failed requests that the record of an event lists. */
const maxFailed = 500;
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
  await step('all is right', () => waitUntilRight(health));
  const records = openRecords(lifeFolder);
  const isWhole = plan.events.length === 0;
  if (isWhole) records.clear();
  const run = new Date().toISOString();
  const keep = (event: LivedEvent, seen: Seen): LifeRecord => {
    const { version } = plan.from.node;
    const verdict = judgeEvent(event, seen);
    const failed = failedIn(event, seen.samples).slice(0, maxFailed);
    const record = { run, version, lines: machineLines(plan, upSeconds), event, verdict, failed };
    records.keep(record);
    writeFileSync(join(lifeFolder, 'report.md'), writeLifeReport(records.read()));
    return record;
  };
  const load = await startLoad(machines);
  const events = lifeEvents({ plan, machines: [first, second, third], health });
  const chosen = events.filter(({ id }) => isWhole || plan.events.includes(id));
  const lived: LivedEvent[] = [];
  for (const event of chosen) {
    const over = await step(event.name, () => live(event, health));
    lived.push(over);
    await keepSoFar(over, load, keep);
    if (over.problems.length > 0) keepLogs(machines, event.id);
    // The damage of this event would distort the following ones.
    if (over.rightAt === undefined) break;
  }
  const seen = await load.stop();
  // Judge all events again, because a late event may have lost a write of an early one.
  const short = lived.flatMap((event) => keep(event, seen).verdict.short.map((line) => `${event.name}: ${line}`));
  const report = readFileSync(join(lifeFolder, 'report.md'), 'utf8');
  if (records.read().length === lifeEventIds.length) writeFileSync(join(pages, 'cluster-life.md'), report);
  else log(report);
  for (const line of short) log(`did not hold: ${line}`);
  return short.length === 0 && lived.length === chosen.length ? 0 : 1;
}

/** Writes the record of an event when it is over. A failure is logged and does not end the run. */
async function keepSoFar(
  over: LivedEvent,
  load: Load,
  keep: (event: LivedEvent, seen: Seen) => LifeRecord,
): Promise<void> {
  try {
    for (const line of keep(over, await load.seen()).verdict.short) log(`      ${line}`);
  } catch (error) {
    log(`      no record yet: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Copies the logs of all machines, which the end of the cluster removes, into the folder of the records. */
function keepLogs(machines: readonly Machine[], event: string): void {
  for (const { name, folder } of machines)
    cpSync(join(folder, 'log'), join(lifeFolder, 'logs', event, name), { recursive: true });
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
