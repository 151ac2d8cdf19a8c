import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '../wait-until.ts';
import { writeChainReport } from './chain-report.ts';
import type { ClientFigures } from './client-figures.ts';
import type { ClusterPlan, Release } from './cluster-plan.ts';
import { installProduct, loadImages, pointControllerManager } from './install-product.ts';
import { initialize, joinControlPlane, upgradeMachine, waitForMachines } from './kubeadm.ts';
import { failedIn, judgeEvent, type LivedEvent, lifeEventIds, live, type Seen, waitUntilRight } from './life.ts';
import { healthOf, lifeEvents } from './life-events.ts';
import { type LifeRecord, openRecords } from './life-records.ts';
import { writeLifeReport } from './life-report.ts';
import { type Load, loadNamespace, readCredentials, startLoad, waysOf } from './load.ts';
import { type Machine, makeNetwork, startMachine } from './machine.ts';
import { newApiOf } from './new-api.ts';
import { clientNamespace, type Sides, startRealClients } from './real-clients.ts';
import { judge, judgeOperator, type Observations, startOf, wrongRequests } from './samples.ts';
import { openUpgradeRecords, type SideRecord, type UpgradeRecord } from './upgrade-records.ts';
import { drawTimeline, shortOf, writeUpgradeReport } from './upgrade-report.ts';
import { toolNamespace } from './workloads.ts';

/** How long clients run before the upgrade. */
const beforeMs = 30_000;
/** After the last restart of a server, watches must be spread evenly within this time. */
const levelMs = 120_000;
/** How long to wait for that, if servers restart once more. */
const levelBoundMs = 300_000;
/** In a chain of upgrades, clients run for this long after all but the last. */
const betweenMs = 15_000;
/** Each side has this many long-lived watches. A chain has fewer, so that it takes less than an hour. */
const heldWatches = { one: 150, chain: 60 };
const pages = fileURLToPath(new URL('../../docs/benchmarks', import.meta.url));
/** The records of all events, and the machines’ logs of those that had problems. Every build empties `dist`. */
const lifeFolder = fileURLToPath(new URL('../../.cache/cluster-life', import.meta.url));
/** The records of the upgrades with this project and with the peer proxy, which the report compares. */
const upgradeFolder = fileURLToPath(new URL('../../.cache/cluster-upgrade', import.meta.url));
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

/** Resolves to three machines that form one control plane, with this project installed if it is the remedy. */
async function bringUp({ root, group, containerd, from, product, remedy }: ClusterPlan): Promise<readonly Machine[]> {
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
  if (first !== undefined && remedy === 'product')
    await step('PeerDiscovery is installed', () => installProduct(first));
  return machines;
}

/** Everything that clients saw of an upgrade. */
interface Upgraded {
  readonly observed: Observations;
  readonly sides: Sides;
}

/** One upgrade. A plan may have several, one after the other. */
interface Hop {
  readonly from: Release;
  readonly to: Release;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

/** The upgrades of a plan, in order. */
function hopsOf({ from, hops }: ClusterPlan): readonly Hop[] {
  return hops.map((to, index) => ({
    from: hops[index - 1] ?? from,
    to,
    isFirst: index === 0,
    isLast: index === hops.length - 1,
  }));
}

/** Upgrades all machines under load. Resolves to what the clients saw. */
async function upgradeUnderLoad(
  { root, remedy, isChain, clients: programs }: ClusterPlan,
  machines: readonly Machine[],
  { from, to, isFirst, isLast }: Hop,
): Promise<Upgraded> {
  const hasProxies = remedy === 'product';
  const [first] = machines;
  if (first === undefined) throw new Error('a cluster has machines');
  // The images go to all machines first, because kubeadm's Job upgrade-health-check runs on any Node.
  for (const machine of machines) await step(`${machine.name} loads images`, () => loadImages(machine, to.images));
  if (hasProxies && isFirst)
    for (const machine of machines)
      await step(`${machine.name}: kube-controller-manager uses the proxy`, () => pointControllerManager(machine));
  const credentials = await readCredentials(first);
  const folder = join(root, `clients-${to.node.version}`);
  mkdirSync(folder);
  const newApi = newApiOf(to.node.version);
  const ways = waysOf(machines).filter(({ proxied }) => hasProxies || !proxied);
  const load = await startLoad({ machines, credentials, ways, newList: newApi.list });
  const setting = {
    machines,
    credentials,
    // In a chain, kubectl is never more than one minor away from any server.
    programs: isChain ? { ...programs, kubectl: from.node.folder } : programs,
    folder,
    loadNamespace,
    newApi,
    heldWatches: isChain ? heldWatches.chain : heldWatches.one,
  };
  const clients = await step('clients start', () => startRealClients(setting, hasProxies));
  const steps: { name: string; from: number; to: number }[] = [];
  const timed = async (name: string, run: () => Promise<void>) => {
    const from = Date.now();
    await step(name, run);
    steps.push({ name, from, to: Date.now() });
  };
  await timed('before', () => setTimeout(beforeMs));
  let failure: string | undefined;
  try {
    for (const [index, machine] of machines.entries()) {
      await timed(`${machine.name} kubeadm upgrade`, () =>
        upgradeMachine(machine, index === 0, { node: to.node, remedy }),
      );
      if (hasProxies) await pointControllerManager(machine);
      await timed(`${machine.name} settles`, () => waitForMachines(machines, to.node.version));
    }
  } catch (error) {
    // The report still covers what clients saw until then.
    failure = error instanceof Error ? error.message : String(error);
    log(failure);
  }
  if (isChain && failure === undefined)
    await timed('all is right', async () => {
      const { at, missing } = await waitUntilRight(healthOf(machines));
      if (at === undefined) failure ??= `no full recovery: ${missing}`;
    });
  await timed('after', () => (isLast ? waitForLevel(load) : setTimeout(betweenMs)));
  if (isLast) await clients.count();
  // The load ends first, because informers are compared when nothing changes any more.
  const seen = await load.stop();
  return { observed: { ...seen, steps, failure }, sides: await clients.stop() };
}

/** Resolves when all servers have been ready for as long as watches may take to spread evenly. */
async function waitForLevel(load: Load): Promise<void> {
  const isTime = async () => Date.now() - load.lastAway() >= levelMs;
  const bounds = { boundMs: levelBoundMs, everyMs: 500 };
  await waitUntil('a while without a restart', isTime, bounds).catch((error: Error) => log(error.message));
}

/** The lines about this machine in every report. */
function machineLines({ buildSeconds }: ClusterPlan, upSeconds: number): readonly string[] {
  return [
    `Everything runs on one machine with ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'an unknown processor'}; load average ${loadavg()[0]?.toFixed(1)} at the end.`,
    `Building or finding all programs and images took ${buildSeconds.toFixed(0)} s; starting the cluster with this project in it took ${upSeconds.toFixed(0)} s.`,
  ];
}

/** What clients of the proxies, or those of the servers, saw. */
function sideOf(observed: Observations, proxied: boolean, clients: ClientFigures): SideRecord {
  const wrong = proxied ? wrongRequests(observed) : undefined;
  return { requests: judge(observed, proxied), clients, wrong };
}

/** The record of an upgrade. */
function recordOf(
  { observed, sides }: Upgraded,
  { from, to }: Hop,
  { remedy }: ClusterPlan,
  lines: readonly string[],
): UpgradeRecord {
  return {
    versions: [from.node.version, to.node.version],
    lines,
    steps: observed.steps.map(({ name, from: began, to: ended }) => ({
      name,
      afterMs: began - startOf(observed),
      tookMs: ended - began,
    })),
    failure: observed.failure,
    through: sides.through && sideOf(observed, true, sides.through),
    straight: sideOf(observed, false, sides.straight),
    operator: remedy === 'product' ? judgeOperator(observed) : undefined,
  };
}

/** Upgrades the cluster once, keeps the record, and writes the report and its picture. */
async function upgradeOnce(
  plan: ClusterPlan,
  machines: readonly Machine[],
  hop: Hop,
  upSeconds: number,
): Promise<readonly UpgradeRecord[]> {
  const upgraded = await upgradeUnderLoad(plan, machines, hop);
  const record = recordOf(upgraded, hop, plan, machineLines(plan, upSeconds));
  const records = openUpgradeRecords(upgradeFolder);
  records.keep(plan.remedy, record);
  if (plan.remedy === 'product')
    writeFileSync(join(pages, 'upgrade.svg'), drawTimeline(upgraded.observed, record.versions));
  const product = records.read('product');
  if (product === undefined) log('there is no report yet: run `make test-cluster` first');
  else {
    writeFileSync(join(pages, 'upgrade.md'), writeUpgradeReport(product, records.read('upstream')));
    log('docs/benchmarks/upgrade.md is written');
  }
  return [record];
}

/** Upgrades the cluster from version to version until one upgrade does not finish. Writes the report after each. */
async function upgradeThrough(
  plan: ClusterPlan,
  machines: readonly Machine[],
  hops: readonly Hop[],
  upSeconds: number,
): Promise<readonly UpgradeRecord[]> {
  const records: UpgradeRecord[] = [];
  for (const hop of hops) {
    log(`${hop.from.node.version} to ${hop.to.node.version}`);
    const upgraded = await upgradeUnderLoad(plan, machines, hop);
    const record = recordOf(upgraded, hop, plan, machineLines(plan, upSeconds));
    records.push(record);
    writeFileSync(join(pages, 'upgrade-all-versions.md'), writeChainReport(records));
    if (shortOf(record).length > 0 || record.failure !== undefined)
      keepLogs(machines, join(upgradeFolder, 'logs', hop.to.node.version));
    if (record.failure !== undefined) break;
    if (!hop.isLast) await step('clients are removed', () => removeClients(machines));
  }
  return records;
}

/** Deletes everything that the clients of an upgrade have created. */
async function removeClients([first]: readonly Machine[]): Promise<void> {
  const namespaces = [loadNamespace, toolNamespace, clientNamespace('proxies'), clientNamespace('servers')];
  await first?.must(['kubectl', 'delete', 'namespace', ...namespaces, '--ignore-not-found', '--timeout=10m']);
}

/** Runs the upgrades of the plan. Returns 0 if all finished and met all requirements. */
async function upgrade(plan: ClusterPlan, machines: readonly Machine[], upSeconds: number): Promise<number> {
  const hops = hopsOf(plan);
  const [first] = hops;
  if (first === undefined) throw new Error('an upgrade needs a second version');
  const records = plan.isChain
    ? await upgradeThrough(plan, machines, hops, upSeconds)
    : await upgradeOnce(plan, machines, first, upSeconds);
  const isWhole = records.length === hops.length && records.every(({ failure }) => failure === undefined);
  const short = records.flatMap((record) => shortOf(record).map((line) => `${record.versions[1]}: ${line}`));
  for (const line of short) log(`did not hold: ${line}`);
  if (!isWhole) log('the upgrade did not finish');
  return short.length === 0 && isWhole ? 0 : 1;
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
  const newList = newApiOf(plan.from.node.version).list;
  const load = await startLoad({
    machines,
    credentials: await readCredentials(first),
    ways: waysOf(machines),
    newList,
  });
  const events = lifeEvents({ plan, machines: [first, second, third], health, load });
  const chosen = isWhole ? events : plan.events.flatMap((named) => events.filter(({ id }) => id === named));
  const lived: LivedEvent[] = [];
  for (const event of chosen) {
    const over = await step(event.name, () => live(event, health));
    lived.push(over);
    const short = await keepSoFar(over, load, keep);
    if (short.length > 0) keepLogs(machines, join(lifeFolder, 'logs', event.id));
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

/**
 * Writes the record of an event when it is over. A failure is logged and does not end the run. Resolves to the
 * requirements that were not met.
 */
async function keepSoFar(
  over: LivedEvent,
  load: Load,
  keep: (event: LivedEvent, seen: Seen) => LifeRecord,
): Promise<readonly string[]> {
  try {
    const { short } = keep(over, await load.seen()).verdict;
    for (const line of short) log(`      ${line}`);
    return short;
  } catch (error) {
    log(`      no record yet: ${error instanceof Error ? error.message : String(error)}`);
    return over.problems;
  }
}

/** Copies the logs of all machines, which the end of the cluster removes. */
function keepLogs(machines: readonly Machine[], to: string): void {
  for (const { name, folder } of machines) cpSync(join(folder, 'log'), join(to, name), { recursive: true });
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
  return upgrade(plan, machines, upSeconds);
}

const [mode = '', file = ''] = process.argv.slice(2);
process.exitCode = await main(mode, JSON.parse(readFileSync(file, 'utf8')) as ClusterPlan).catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error));
  return 1;
});
process.exit();
