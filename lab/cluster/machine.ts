import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '../wait-until.ts';
import { pauseImage } from './build-images.ts';
import { cgroupsOf, makeCgroups } from './cgroups.ts';
import { asMachine } from './cpu-shares.ts';

/** The output and exit status of a program. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options for running a program in a machine. */
export interface RunOptions {
  readonly input?: string;
  /** The file in the machine's `log/` that also gets the output. */
  readonly log?: string;
}

/** A machine of the cluster: its own namespaces, in which containerd and a kubelet run. */
export interface Machine {
  readonly name: string;
  readonly address: string;
  /** The folder of all its files; logs are in `log/`. */
  readonly folder: string;
  /** A command prefix that runs a program in the machine. It changes when the machine is switched on again. */
  enter(): readonly string[];
  /** Runs a program in the machine until it ends. */
  run(command: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Like `run`, but resolves to standard output. A failure is an error with the end of the output. */
  must(command: readonly string[], options?: RunOptions): Promise<string>;
  /** Uses the programs of this folder from now on. */
  use(folder: string, programs: readonly string[]): void;
  /** Cuts the machine off the network, and kills all its processes at once. Its files stay. */
  cutPower(): Promise<void>;
  /** Switches the machine on again. Resolves when containerd answers. */
  powerOn(): Promise<void>;
}

/** The location of a machine, and the programs that it has from the start. */
export interface MachineOptions {
  readonly number: number;
  /** The folder of the cluster. */
  readonly root: string;
  /** The name of the cluster's control group. */
  readonly group: string;
  /** The folder of containerd. */
  readonly containerd: string;
}

const init = fileURLToPath(new URL('machine-init.sh', import.meta.url));
/** The machine's own `systemctl` takes precedence over the system's. */
const systemPath = '/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const namespaces = ['--net', '--mount', '--uts', '--ipc', '--cgroup', '--pid', '--fork', '--kill-child'];

/** Creates the network of all machines, in the network namespace of this process. */
export async function makeNetwork(): Promise<void> {
  const commands = [
    'link set lo up',
    'link add br0 type bridge',
    'link set br0 up',
    'address add 10.10.0.1/24 dev br0',
    ...[1, 2, 3, 4].map((number) => `route add 10.244.${number}.0/24 via 10.10.0.1${number}`),
  ];
  for (const command of commands) await succeed(['ip', ...command.split(' ')]);
}

/** Resolves to a new machine in which containerd answers. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const name = `m${options.number}`;
  const folder = join(options.root, name);
  const bin = join(folder, 'bin');
  const logFolder = join(folder, 'log');
  for (const part of ['etc', 'etc.work', 'containerd', 'kubelet', 'etcd', 'bin', 'log'])
    mkdirSync(join(folder, part), { recursive: true });
  // The disk is in memory, so that etcd never waits for it. It is outside the machine's namespaces, so that it survives
  // a power cut.
  await succeed(['mount', '-t', 'tmpfs', `${name}-etcd`, join(folder, 'etcd')]);
  const path = `${bin}:${options.containerd}:${systemPath}`;
  const settings = [
    `PATH=${path}`,
    'CONTAINERD_NAMESPACE=k8s.io',
    'KUBECONFIG=/etc/kubernetes/admin.conf',
    'HOME=/root',
  ];
  const flags = ['-m', '-u', '-i', '-n', '-p', '-C'];
  let booted = await boot(options, folder, path);
  const enter: Machine['enter'] = () => [
    ...['nsenter', '-t', String(booted.pid), ...flags],
    ...['--', 'env', '-i', ...settings],
  ];
  const run: Machine['run'] = async (command, { input, log } = {}) => {
    const outcome = await runToEnd([...enter(), ...command], input);
    if (log !== undefined) writeFileSync(join(logFolder, log), outcome.stdout + outcome.stderr, { flag: 'a' });
    return outcome;
  };
  const writeEntrance = () => writeFileSync(join(folder, 'enter'), `exec ${enter().join(' ')} "$@"\n`);
  writeEntrance();
  return {
    name,
    address: `10.10.0.1${options.number}`,
    folder,
    enter,
    run,
    must: async (command, runOptions) => {
      const { code, stdout, stderr } = await run(command, runOptions);
      if (code === 0) return stdout;
      const tail = (stderr + stdout).split('\n').slice(-30).join('\n');
      throw new Error(`${name}: ${command.join(' ').slice(0, 300)} ended with ${code}:\n${tail}`);
    },
    use: (source, programs) => {
      for (const program of programs) {
        rmSync(join(bin, program), { force: true });
        symlinkSync(join(source, program), join(bin, program));
      }
    },
    cutPower: async () => {
      // The network is cut first, so that no peer gets the last packets of a process that is killed.
      await succeed(['ip', 'link', 'set', name, 'down']);
      process.kill(booted.pid, 'SIGKILL');
      await booted.ended;
      await runToEnd(['ip', 'link', 'delete', name]);
    },
    powerOn: async () => {
      booted = await boot(options, folder, path);
      writeEntrance();
    },
  };
}

/** A machine that is on. */
interface Booted {
  /** The first process of the machine. */
  readonly pid: number;
  /** Resolves when the first process has ended. */
  readonly ended: Promise<void>;
}

/** Starts the first process of a machine, connects the machine to the network, and waits for containerd. */
async function boot({ number, group }: MachineOptions, folder: string, path: string): Promise<Booted> {
  const name = `m${number}`;
  const logFile = join(folder, 'log', 'init.log');
  const sign = join(folder, 'up');
  rmSync(sign, { force: true });
  makeCgroups(group, name);
  const child = launch(['bash', init, name, String(number), folder], path, cgroupsOf(group, name), logFile);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const pid = await waitUntil(`the first process of ${name}`, async () => firstProcess(child), { boundMs: 30_000 });
  await succeed(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
  await succeed(['ip', 'link', 'set', name, 'master', 'br0', 'up']);
  await waitUntil(`containerd in ${name}`, async () => existsSync(sign), {
    boundMs: 120_000,
    seen: () => readFileSync(logFile, 'utf8').slice(-2_000),
  });
  return { pid, ended };
}

/** Starts the first process of a machine in the machine's control groups, so that it sees these as the root. */
function launch(command: readonly string[], path: string, cgroups: readonly string[], logFile: string): ChildProcess {
  const script = [
    ...cgroups.map((cgroup) => `echo $$ >${cgroup}/cgroup.procs || exit`),
    `exec setpriv --pdeathsig KILL unshare ${namespaces.join(' ')} "$@"`,
  ];
  const log = openSync(logFile, 'a');
  try {
    const [program = '', ...args] = [...asMachine, 'bash', '-c', script.join('\n'), 'bash', ...command];
    return spawn(program, args, {
      env: { PATH: path, PAUSE_IMAGE: pauseImage },
      stdio: ['ignore', log, log],
      detached: true,
    });
  } finally {
    closeSync(log);
  }
}

/** Waits for the process that `unshare` starts in the new namespaces. */
function firstProcess({ pid, exitCode }: ChildProcess): number | undefined {
  if (pid === undefined || exitCode !== null) throw new Error('cannot start a machine here: run as root');
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean);
  if (child === undefined) return undefined;
  return readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'bash' ? Number(child) : undefined;
}

async function succeed(command: readonly string[]): Promise<void> {
  const { code, stderr } = await runToEnd(command);
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${stderr}`);
}

function runToEnd(command: readonly string[], input = ''): Promise<Outcome> {
  const [program = '', ...args] = [...asMachine, ...command];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}
