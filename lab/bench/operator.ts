import type { ChildProcess } from 'node:child_process';
import { availableParallelism, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PeerDiscovery } from '../../src/api/peer-discovery.ts';
import { endOperator, startBuiltOperator } from '../plane/built-operator.ts';
import type { MixedPlane } from '../plane/mixed-plane.ts';
import { waitUntil } from '../wait-until.ts';
import { type Answer, askUntil, countStatuses, openProbe, type Recording, record } from './probe.ts';
import { type ProcessUse, watchProcess } from './process.ts';
import { type Join, type Measurements, meetsTargets, type Routed, writeReport } from './report.ts';
import { measureOnPlane, progress, publishReport } from './run-bench.ts';

const servers = [
  { name: 'plain-old', version: '1.36', runtimeConfig: 'batch/v1=false' },
  { name: 'mvp-old', version: '1.36', runtimeConfig: 'batch/v1=false', peerCa: true },
  { name: 'new-1', version: '1.36', peerCa: true },
] as const;

const restarts = 3;
/** Upstream may take minutes, so the benchmark waits for it only in the first joins. */
const upstreamJoins = 2;
const kills = 3;
const joinBoundMs = 150_000;
const afterwardsMs = 3_000;
const settleMs = 10_000;
const idleMs = 30_000;
const paceMs = 20;

const probeOf = (mixed: MixedPlane, url: string) => ({
  url,
  token: mixed.plane.tokens.admin,
  caFile: mixed.plane.caFile,
});

function stateIn({ status, body }: Answer, hostname: string): string | undefined {
  if (status !== 200) return undefined;
  const { status: seen } = JSON.parse(body) as PeerDiscovery;
  return seen?.peers?.find((peer) => peer.hostname === hostname)?.state;
}

const objectUrl = (mixed: MixedPlane) =>
  `${mixed.plane.server('plain-old').url}/apis/peerdiscovery.dev/v1alpha1/peerdiscoveries/cluster`;

/** Reads the object until `passes` accepts the state of a peer. Returns the answer that passed. */
async function waitForState(mixed: MixedPlane, hostname: string, passes: (state: string | undefined) => boolean) {
  const probe = openProbe(probeOf(mixed, objectUrl(mixed)));
  const seen = (answer: Answer) => answer.status === 200 && passes(stateIn(answer, hostname));
  const found = await askUntil(probe, seen, { everyMs: 50, boundMs: 60_000 });
  probe.close();
  if (found === undefined) throw new Error(`timed out waiting for ${hostname}\n${mixed.plane.logTails(15)}`);
  return found;
}

const waitForReady = async (mixed: MixedPlane, names: readonly string[]) => {
  for (const name of names) await waitForState(mixed, name, (state) => state === 'Ready');
};

const firstRouted = ({ answers }: Recording, sinceMs: number) =>
  answers.find(({ askedAtMs, status }) => askedAtMs >= sinceMs && status === 200);

/** Starts `new-1` and watches both paths to it. `upstream` says whether to wait for upstream's path. */
async function measureJoin(mixed: MixedPlane, options: { known: boolean; upstream: boolean }): Promise<Join> {
  const jobs = '/apis/batch/v1/jobs';
  const awayMs = performance.now();
  const ours = record(probeOf(mixed, `${mixed.proxyUrl}${jobs}`), paceMs);
  const theirs = record(probeOf(mixed, `${mixed.plane.server('mvp-old').url}${jobs}`), paceMs);
  const awaited = options.upstream ? [ours, theirs] : [ours];
  await sleep(afterwardsMs);
  const startMs = performance.now();
  const readiness = openProbe(probeOf(mixed, `${mixed.plane.server('new-1').url}/readyz`));
  const [ready] = await Promise.all([
    askUntil(readiness, ({ status }) => status === 200, { everyMs: paceMs, boundMs: 120_000 }),
    mixed.plane.server('new-1').start(),
  ]);
  readiness.close();
  if (ready === undefined) throw new Error('new-1 did not become ready');
  const readyMs = ready.answeredAtMs;
  progress(`new-1 ready after ${((readyMs - startMs) / 1_000).toFixed(1)} s; waiting until it is routed`);
  while (performance.now() < readyMs + joinBoundMs && awaited.some((way) => firstRouted(way, startMs) === undefined))
    await sleep(paceMs);
  await sleep(afterwardsMs);
  await Promise.all([ours.stop(), theirs.stop()]);
  const summarize = (way: Recording): Routed => {
    const routed = firstRouted(way, startMs);
    const untilMs = routed?.askedAtMs ?? Number.POSITIVE_INFINITY;
    return {
      afterMs: routed === undefined ? undefined : Math.max(0, routed.answeredAtMs - readyMs),
      away: countStatuses(way.answers, awayMs, Math.min(readyMs, untilMs)),
      meanwhile: countStatuses(way.answers, readyMs, untilMs),
      afterwards: countStatuses(way.answers, untilMs, untilMs + afterwardsMs),
    };
  };
  const result = {
    known: options.known,
    ours: summarize(ours),
    upstream: options.upstream ? summarize(theirs) : undefined,
  };
  const told = (way: Routed | undefined) =>
    way === undefined ? 'not waited for' : way.afterMs === undefined ? 'never' : `${Math.round(way.afterMs)} ms`;
  progress(`routed after: ours ${told(result.ours)}, upstream ${told(result.upstream)}`);
  return result;
}

async function measureKill(mixed: MixedPlane): Promise<number> {
  const killedMs = performance.now();
  const [out] = await Promise.all([
    waitForState(mixed, 'new-1', (state) => state !== 'Ready'),
    mixed.plane.server('new-1').kill(),
  ]);
  progress(`out of the table after ${Math.round(out.answeredAtMs - killedMs)} ms`);
  return out.answeredAtMs - killedMs;
}

async function watchIdle(child: ChildProcess): Promise<ProcessUse> {
  if (child.pid === undefined) throw new Error('the operator is not running');
  await sleep(settleMs);
  progress(`watching the idle operator for ${idleMs / 1_000} s`);
  const use = await watchProcess(child.pid, idleMs);
  progress(`${use.cpuPercent.toFixed(2)} % of a core, ${use.residentMiB.toFixed(0)} MiB`);
  return use;
}

async function measure(mixed: MixedPlane): Promise<Measurements> {
  const { plane } = mixed;
  const joined = plane.server('new-1');
  await joined.stop();
  let operator = mixed.startOperator();
  mixed.startProxy();
  await waitForReady(mixed, ['plain-old', 'mvp-old']);
  await waitUntil('the proxy', async () => (await mixed.kubectl('proxy', ['get', '--raw', '/version'])).code === 0);

  progress(`join 1 of ${restarts + 1}: a server nobody knew`);
  const joins = [await measureJoin(mixed, { known: false, upstream: true })];
  await waitForReady(mixed, ['new-1']);
  const fromSources = await watchIdle(operator);

  for (let turn = 1; turn <= restarts; turn += 1) {
    progress(`join ${turn + 1} of ${restarts + 1}: the same server after a clean stop`);
    await joined.stop();
    await waitForState(mixed, 'new-1', (state) => state !== 'Ready');
    joins.push(await measureJoin(mixed, { known: true, upstream: turn < upstreamJoins }));
    await waitForReady(mixed, ['new-1']);
  }

  const killsMs: number[] = [];
  for (let turn = 1; turn <= kills; turn += 1) {
    progress(`kill ${turn} of ${kills}`);
    await sleep(2_000);
    killsMs.push(await measureKill(mixed));
    await joined.start();
    await waitForReady(mixed, ['new-1']);
  }

  progress('the same idle operator, built');
  await endOperator(operator);
  operator = startBuiltOperator(mixed, 'plain-old');
  await sleep(settleMs);
  await waitForReady(mixed, ['plain-old', 'mvp-old', 'new-1']);
  const built = await watchIdle(operator);
  const { stdout } = await mixed.kubectl('plain-old', ['get', '--raw', '/version']);
  const { gitVersion } = JSON.parse(stdout) as { gitVersion: string };
  return {
    setting: [
      `${availableParallelism()} cores shared by etcd, three kube-apiservers ${gitVersion}, the operator, the proxy and the measuring client`,
      `Linux ${release().split('-')[0]}, Node ${process.version}, loopback`,
    ],
    joins,
    joinBoundMs,
    killsMs,
    idle: [
      { what: 'as shipped (built JavaScript)', use: built },
      { what: 'from its TypeScript sources', use: fromSources },
    ],
    idleMs,
  };
}

await measureOnPlane({ servers, home: 'plain-old' }, async (mixed) => {
  const measured = await measure(mixed);
  publishReport('operator', writeReport(measured));
  progress(meetsTargets(measured) ? 'all targets were met' : 'not all targets were met');
});
