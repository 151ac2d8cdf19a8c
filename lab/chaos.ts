import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureControlPlane } from './build-control-plane.ts';
import { type Fault, faults, groupIds, type Program, pair, type Scene } from './chaos/faults.ts';
import { startLoad, writeLabel } from './chaos/load.ts';
import { type Asked, createOracle, judge, tallyWrites } from './chaos/oracle.ts';
import { describeOutcome, type FaultOutcome, writeChaosReport } from './chaos/report.ts';
import { repository, secondProxyAddress, startMixedPlane } from './mixed-plane.ts';
import { seededRandom } from './seeded-random.ts';
import { waitUntil } from './wait-until.ts';

const usage = `Breaks a real control plane under load, and judges every answer.

Usage: make chaos [ARGS="[--seed N] [--minutes N] [--fault TEXT [--and TEXT]] [--no-report]"]

  --seed N       chooses the order, the pairs and the load (default: of the time)
  --minutes N    how long to go on: each fault alone, in a random order, then pairs (default 8)
  --fault TEXT   only the faults whose name holds TEXT
  --and TEXT     each of those only together with the first fault whose name holds this TEXT
  --no-report    leave docs/benchmarks/chaos.md as it is
`;

const report = join(repository, 'docs/benchmarks/chaos.md');
const discoveryHolds = ['apps/v1', 'batch/v1', 'resource.k8s.io/v1'];
const proxies = [
  { name: 'proxy-1', url: 'https://10.77.0.30:6443' },
  { name: 'proxy-2', url: `https://${secondProxyAddress}:6443` },
] as const;
const recoveryBoundMs = 120_000;
/** What comes back has to be noticed: it counts as fit only this long after it is ready. */
const noticeMs = 3_000;

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Faults alone, then pairs that share nothing, without end. */
function* plan(chosen: readonly Fault[], random: () => number): Generator<Fault> {
  yield* shuffle(chosen, random);
  for (;;) {
    const [first, ...others] = shuffle(chosen, random);
    const second = others.find(({ touches }) => !touches.some((thing) => first?.touches.includes(thing)));
    if (first === undefined) return;
    yield second === undefined ? first : pair(first, second);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string', default: '8' },
      fault: { type: 'string', default: '' },
      and: { type: 'string' },
      'no-report': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return;
  }
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  const minutes = Number(values.minutes);
  const { and } = values;
  const other = and === undefined ? undefined : faults.find(({ name }) => name.includes(and));
  const alone = faults.filter(({ name }) => name.includes(values.fault));
  const chosen = other === undefined ? alone : alone.map((fault) => pair(fault, other));
  if (!Number.isInteger(seed) || !(minutes > 0) || chosen.length === 0) {
    process.stderr.write(usage);
    process.exitCode = 2;
    return;
  }
  const random = seededRandom(seed);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  say(`seed ${seed}, ${minutes} minutes, ${chosen.length} faults`);
  await ensureControlPlane({ versions: ['1.36'], log: say });

  const oracle = createOracle(
    new Map([
      ['old-1', new Set(['configmaps', 'jobs'])],
      ['new-1', new Set(['configmaps', 'jobs', 'resourceclaims'])],
      ['new-2', new Set(['configmaps', 'jobs', 'resourceclaims'])],
    ]),
  );
  const now = () => performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'peerdiscovery-chaos-'));
  const mixed = await startMixedPlane({
    servers: [
      { name: 'old-1', version: '1.36', emulatedVersion: '1.33' },
      { name: 'new-1', version: '1.36' },
      { name: 'new-2', version: '1.36' },
    ],
    home: 'old-1',
    log: say,
  });
  try {
    const scene = createScene(mixed, oracle, now, folder);
    for (const name of Object.keys(groupIds) as Program[]) await scene.start(name);
    await letReaderRead(scene);
    await recover(scene);

    const asked: Asked[] = [];
    const ca = readFileSync(mixed.plane.caFile, 'utf8');
    const load = startLoad({
      targets: proxies,
      ca,
      tokens: mixed.plane.tokens,
      random,
      now,
      onAsked: (one) => asked.push(one),
    });
    const outcomes: FaultOutcome[] = [];
    const endMs = now() + minutes * 60_000;
    for (const fault of plan(chosen, random)) {
      if (now() > endMs) break;
      const fromMs = now();
      await fault.strike(scene);
      await new Promise((resolve) => setTimeout(resolve, fault.holdMs));
      await fault.heal(scene);
      const healedMs = now();
      const recovered = await recover(scene).then(
        () => true,
        () => false,
      );
      const outcome = describeOutcome({
        fault: fault.name,
        asked: asked.filter(({ toMs }) => toMs >= fromMs),
        oracle,
        discoveryHolds,
        recoveredAfterMs: recovered ? now() - healedMs : undefined,
      });
      outcomes.push(outcome);
      say(outcome.line);
      if (!recovered) say(mixed.plane.logTails(15));
    }
    await load.end();
    const writes = tallyWrites(
      asked.filter(({ ask }) => ask.kind === 'write'),
      await storedWrites(scene),
    );
    const wrong = asked.filter((one) => judge(one, discoveryHolds).verdict === 'wrong').length;
    const [, , loadAverage = 0] = loadavg();
    const summary = { seed, minutes, loadAverage, requests: asked.length, wrong, outcomes, writes };
    const text = writeChaosReport(summary);
    say(text);
    if (!values['no-report']) writeFileSync(report, text);
    const lost = outcomes.reduce((sum, { lostReads }) => sum + lostReads, 0);
    const badWrites = writes.lost.length + writes.twice.length + writes.refusedButDone.length;
    const stuck = outcomes.filter(({ recoveredAfterMs }) => recoveredAfterMs === undefined).length;
    if (wrong + lost + badWrites + stuck > 0) process.exitCode = 1;
  } finally {
    await mixed.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Mixed = Awaited<ReturnType<typeof startMixedPlane>>;

function createScene(mixed: Mixed, oracle: ReturnType<typeof createOracle>, now: () => number, folder: string): Scene {
  const running = new Map<Program, ReturnType<Mixed['startOperator']>>();
  const launch: Record<Program, (by: readonly string[]) => ReturnType<Mixed['startOperator']>> = {
    'operator-1': (by) => mixed.startOperator(['--health-bind-address', '0'], { name: 'operator-1', by }),
    'operator-2': (by) => mixed.startOperator(['--health-bind-address', '0'], { name: 'operator-2', by }),
    'proxy-1': (by) => mixed.startProxy(['--health-bind-address', '0'], { name: 'proxy-1', by }),
    'proxy-2': (by) => {
      const home = ['--home', mixed.plane.server('new-1').address, '--bind-address', secondProxyAddress];
      return mixed.startProxy(['--health-bind-address', '0', ...home], { name: 'proxy-2', by });
    },
  };
  const mark = (name: string, fit: boolean) => oracle.mark(name, fit, fit ? now() + noticeMs : now());
  const scene: Scene = {
    mixed,
    folder,
    mark,
    async kubectl(args, input) {
      const fit = mixed.plane.servers.find(({ name }) => oracle.fitThroughout(name, now(), now()));
      return mixed.kubectl(fit?.name ?? 'new-1', [...args, '--request-timeout=20s'], input);
    },
    async start(name, by = []) {
      const group = ['setpriv', `--regid=${groupIds[name]}`, '--clear-groups', '--'];
      running.set(name, launch[name]([...by, ...group]));
      const proxy = proxies.find((one) => one.name === name);
      if (proxy === undefined) return;
      const curl = ['-s', '--max-time', '2', '--cacert', mixed.plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
      const answers = async () => (await mixed.plane.exec('curl', [...curl, `${proxy.url}/version`])).stdout !== '000';
      // With too few descriptors it may never answer.
      if (by.length === 0) await waitUntil(`${name} to answer`, answers, { seen: () => mixed.plane.logTails(20) });
      mark(name, true);
    },
    async signal(name, signal) {
      const child = running.get(name);
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      if (signal === 'SIGKILL' || signal === 'SIGTERM') await ended;
    },
    leader() {
      const lastLine = (name: Program) => {
        const lines = mixed.plane.readLog(name).split('\n');
        return lines.filter((line) => / (stopped )?leading\b/.test(line)).at(-1) ?? '';
      };
      const leads = (name: Program) => {
        const line = lastLine(name);
        return line !== '' && !line.includes('stopped leading');
      };
      return leads('operator-2') && !leads('operator-1') ? 'operator-2' : 'operator-1';
    },
  };
  return scene;
}

/** Gives the reader a right that servers know by RBAC alone. */
async function letReaderRead(scene: Scene): Promise<void> {
  const role = ['create', 'clusterrole', 'chaos-reader', '--verb=get,list,watch'];
  const resources = '--resource=configmaps,jobs.batch,resourceclaims.resource.k8s.io';
  for (const args of [
    [...role, resources],
    ['create', 'clusterrolebinding', 'chaos-reader', '--clusterrole=chaos-reader', '--user=reader'],
  ]) {
    const { code, stderr } = await scene.mixed.kubectl('new-1', args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  }
}

/** Resolves when all servers are ready in the status, and both proxies answer what is served and what is not. */
async function recover(scene: Scene): Promise<void> {
  const { plane } = scene.mixed;
  const code = async (url: string) => {
    const flags = ['-s', '--max-time', '5', '--cacert', plane.caFile, '-o', '/dev/null', '-w', '%{http_code}'];
    return (await plane.exec('curl', [...flags, '-H', `Authorization: Bearer ${plane.tokens.admin}`, url])).stdout;
  };
  const calm = async () => {
    for (const { url } of proxies) {
      if ((await code(`${url}/apis/resource.k8s.io/v1/resourceclaims`)) !== '200') return false;
      if ((await code(`${url}/apis/nobody.example/v1/things`)) !== '404') return false;
    }
    const { stdout } = await scene.kubectl(['get', 'peerdiscovery', 'cluster', '-o', 'json']);
    const peers: { state: string }[] = stdout === '' ? [] : (JSON.parse(stdout).status?.peers ?? []);
    return peers.length === 3 && peers.every(({ state }) => state === 'Ready');
  };
  await waitUntil('the control plane to be whole again', calm, { boundMs: recoveryBoundMs, everyMs: 250 });
}

/** How often each write is stored. */
async function storedWrites(scene: Scene): Promise<ReadonlyMap<string, number>> {
  const template = `{range .items[*]}{.metadata.labels.chaos\\.example/id}{"\\n"}{end}`;
  const args = ['get', 'configmaps', '-n', 'default', '-l', writeLabel, '-o', `jsonpath=${template}`];
  const { stdout } = await scene.kubectl(args);
  const counts = new Map<string, number>();
  for (const id of stdout.split('\n').filter(Boolean)) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

await main();
