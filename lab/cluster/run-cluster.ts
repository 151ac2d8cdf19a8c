import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildImage, chooseBuilder, localImage } from '../../scripts/build-image.ts';
import { commandWorks } from '../../scripts/run-command.ts';
import { ensureKubeRouter } from '../build/build-go-tool.ts';
import { prepareMachine } from '../prepare-machine.ts';
import { waitUntil } from '../wait-until.ts';
import { ensureImages } from './build-images.ts';
import { ensureClientPrograms, ensurePrograms, minorsBetween, type NodeMinor, nodeMinors } from './build-programs.ts';
import { removeCgroups, requireCgroups } from './cgroups.ts';
import type { ClusterPlan } from './cluster-plan.ts';
import { asDriver } from './cpu-shares.ts';
import { lifeEventIds } from './life.ts';

const usage = `Runs a real cluster of three machines that kubeadm makes, in namespaces of this machine.

Usage: node lab/cluster/run-cluster.ts up | upgrade [--peer-ca-file | FROM TO] | life [EVENT...]

  up       starts it with this project installed, and keeps it until Ctrl-C
  upgrade  upgrades it under load, judges what clients saw, and writes docs/benchmarks/upgrade.md; with --peer-ca-file,
           without this project: the upgraded servers use Kubernetes' own peer proxy, for comparison; with two minors
           among ${nodeMinors.join(', ')}, from one to the next between them, and writes
           docs/benchmarks/upgrade-all-versions.md
  life     puts it through the other events of a cluster's life under load, judges them, and writes
           docs/benchmarks/cluster-life.md; EVENT chooses among, in the given order: ${lifeEventIds.join(', ')}
`;

/** The chosen subcommand. */
interface Order {
  readonly mode: string;
  readonly events: readonly string[];
}

/** The argument for an upgrade with Kubernetes' own peer proxy. */
const peerCaFile = '--peer-ca-file';
const prefix = 'peerdiscovery-cluster-';
const driver = fileURLToPath(new URL('drive-cluster.ts', import.meta.url));
const namespaces = ['--net', '--uts', '--ipc', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const log = (message: string) => void process.stderr.write(`${message}\n`);

/** True if an upgrade starts and ends with named minors. */
const isChain = ({ mode, events }: Order) => mode === 'upgrade' && events.length > 0 && !events.includes(peerCaFile);

/** The minors that the cluster runs one after the other. */
function minorsOf(mode: string, [from = '1.35', to = '1.36']: readonly string[]): readonly NodeMinor[] {
  if (mode === 'life') return ['1.36'];
  if (mode === 'up') return ['1.35'];
  return from === peerCaFile ? ['1.35', '1.36'] : minorsBetween(from, to);
}

/** Prepares all slow parts while this process still has the machine's network. */
async function prepare(root: string, started: number, { mode, events }: Order): Promise<ClusterPlan> {
  await prepareMachine('cluster', log);
  const minors = minorsOf(mode, events);
  const programs = await ensurePrograms(minors, log);
  const clients = await ensureClientPrograms(log);
  const hasPolicies = mode === 'life' && (events.length === 0 || events.includes('confined'));
  const kubeRouter = hasPolicies ? await ensureKubeRouter(log) : undefined;
  const [from, ...hops] = programs.nodes.map((node) => ({ node, images: ensureImages(programs, node, log) }));
  if (from === undefined) throw new Error('a cluster has a version');
  const builtMs = Date.now() - started;
  log('building the image of this project');
  const archive = join(root, 'image.tar');
  buildProductImage(root, archive);
  return {
    root,
    group: basename(root),
    containerd: programs.containerd,
    from,
    hops,
    isChain: isChain({ mode, events }),
    product: archive,
    buildSeconds: builtMs / 1_000,
    clients,
    kubeRouter,
    remedy: events.includes(peerCaFile) ? 'upstream' : 'product',
    events,
  };
}

/** Like `make image` with buildah, but in a store that is deleted with the cluster. */
function buildProductImage(root: string, archive: string): void {
  const storage = join(root, 'storage.conf');
  const folders = `graphroot = "${join(root, 'storage')}"\nrunroot = "${join(root, 'storage.run')}"`;
  writeFileSync(storage, `[storage]\ndriver = "vfs"\n${folders}\n`);
  process.env.CONTAINERS_STORAGE_CONF = storage;
  buildImage(chooseBuilder('buildah', commandWorks), localImage(), archive);
  rmSync(join(root, 'storage'), { recursive: true, force: true });
}

/** Removes the leftovers of clusters whose process was killed. */
function sweep(): void {
  const isGone = (name: string) => name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`);
  const groups = readdirSync('/sys/fs/cgroup/memory').filter(isGone);
  for (const group of groups) removeCgroups(group);
  for (const name of readdirSync(tmpdir()).filter(isGone))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

/** Runs the driver in its own namespaces. When their first process ends, all others end. */
async function drive(plan: ClusterPlan, mode: string, signal: AbortSignal): Promise<number> {
  const file = join(plan.root, 'plan.json');
  writeFileSync(file, JSON.stringify(plan));
  const command = [process.execPath, driver, mode, file];
  // The shell stays as the first process and reaps orphans.
  const shell = ['sh', '-c', '"$@"; exit $?', 'sh'];
  const [program = '', ...args] = [
    ...asDriver,
    ...['setpriv', '--pdeathsig', 'KILL', 'unshare', ...namespaces],
    ...shell,
    ...command,
  ];
  const child = spawn(program, args, { stdio: 'inherit', detached: true });
  signal.addEventListener('abort', () => child.kill('SIGKILL'));
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 130));
  });
  await Promise.race([writeEntrance(plan.root, child), ended]);
  return ended;
}

/** Writes the script `enter`, which runs a command in a machine from outside. */
async function writeEntrance(root: string, child: ChildProcess): Promise<void> {
  const find = async () => readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim() || undefined;
  const first = await waitUntil('the namespaces', find).catch(() => undefined);
  if (first === undefined) return;
  const script = [
    '#!/bin/sh',
    '# Runs a command in a machine of the cluster: enter m1 kubectl get nodes',
    'machine=$1; shift',
    `exec nsenter -t ${first} -m -u -i -n -p -- sh ${root}/$machine/enter "$@"`,
  ];
  writeFileSync(join(root, 'enter'), `${script.join('\n')}\n`, { mode: 0o755 });
}

async function main(order: Order): Promise<number> {
  const started = Date.now();
  if (process.getuid?.() !== 0) throw new Error('the cluster needs root: its machines are namespaces with mounts');
  requireCgroups();
  sweep();
  const root = join(tmpdir(), `${prefix}${process.pid}`);
  mkdirSync(root);
  const stop = new AbortController();
  const abandon = () => {
    rmSync(root, { recursive: true, force: true });
    process.exit(130);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of signals) process.on(name, abandon);
  try {
    const plan = await prepare(root, started, order);
    for (const name of signals) process.off(name, abandon).on(name, () => stop.abort());
    return await drive(plan, order.mode, stop.signal);
  } finally {
    await waitUntil('the end of the cluster', async () => removeCgroups(basename(root)), { boundMs: 30_000 });
    rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

const [mode = '', ...events] = process.argv.slice(2);
const choices: Readonly<Record<string, readonly string[]>> = {
  up: [],
  upgrade: [peerCaFile, ...nodeMinors],
  life: lifeEventIds,
};
const isUnknown = (event: string) => !choices[mode]?.includes(event);
const isUpgrade = mode === 'upgrade';
if (choices[mode] === undefined || events.some(isUnknown) || (isUpgrade && minorsOf(mode, events).length < 2)) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else
  process.exitCode = await main({ mode, events }).catch((error: unknown) => {
    log(error instanceof Error ? error.message : String(error));
    return 1;
  });
