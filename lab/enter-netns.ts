import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { lifelineFd, lifelineVariable } from './on-unwanted.ts';

/** Addresses of the servers on the loopback device of the namespace. */
const addresses = Array.from({ length: 30 }, (_, index) => `10.77.0.${index + 11}`);

const usage = `Runs a command in a network namespace of its own, and ends whatever it has started when it ends.

Usage: node lab/enter-netns.ts -- COMMAND [ARG ...]
`;

/**
 * Endpoints may not contain loopback addresses, so the lab's servers need other addresses. A default route makes the
 * kernel choose them.
 *
 * The shell stays as the first process of the namespace: it reaps orphans, and its end ends all other processes.
 */
const setUp = [
  'set -e',
  'ip link set lo up',
  ...addresses.map((address) => `ip address add ${address}/32 dev lo`),
  'ip route add default dev lo',
  'set +e',
  '"$@"',
  'exit $?',
].join('\n');

/** `unshare` is in the network namespace, too. Other processes find it by this process id. */
const entrance = 'export LAB_NAMESPACE_PID=$$; exec unshare "$@"';

function works(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

const network = ['--net', '--uts'];
const processes = ['--pid', '--fork', '--kill-child'];
/** In a chroot, no mount is at `/`, so `--mount-proc` cannot hide its own mount from outside. */
const mountProc = 'mount --make-rprivate /proc && mount -t proc proc /proc && exec "$@"';
const inChroot = ['--mount', '--propagation', 'unchanged', 'sh', '-c', mountProc, 'sh'];

/**
 * The arguments of `unshare` that this machine permits, or what is missing. Some containers do not permit
 * `--mount-proc`.
 */
function chooseNamespaces(): readonly string[] {
  if (!works('unshare', ['--version'])) throw new Error('unshare is missing: install util-linux');
  if (!works('ip', ['-V'])) throw new Error('ip is missing: install iproute2');
  const user = ['--map-root-user'];
  const isolated = [...network, ...processes, '--mount-proc'];
  const choices = [
    isolated,
    [...network, ...processes, ...inChroot],
    network,
    [...user, ...isolated],
    [...user, ...network],
  ];
  const chosen = choices.find((choice) => works('unshare', [...choice, 'true']));
  if (chosen !== undefined) return chosen;
  throw new Error(
    'neither root nor unprivileged user namespaces are permitted here: run as root, or allow them with ' +
      '"sysctl kernel.unprivileged_userns_clone=1" or "sysctl kernel.apparmor_restrict_unprivileged_userns=0"',
  );
}

/** The running children of a process. */
function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Sends a signal to the command, which the shell has started. The shell and `unshare` end with it. */
function signalCommand(pid: number, forked: boolean, signal: NodeJS.Signals): void {
  const shells = forked ? childrenOf(pid) : [pid];
  const commands = shells.flatMap(childrenOf);
  for (const command of commands) process.kill(command, signal);
  if (commands.length === 0) process.kill(pid, 'SIGKILL');
}

function main(): void {
  const [separator, ...command] = process.argv.slice(2);
  if (separator !== '--' || command.length === 0) {
    process.stderr.write(usage);
    process.exitCode = 2;
    return;
  }
  let namespaces: readonly string[];
  try {
    namespaces = chooseNamespaces();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    return;
  }
  const args = [...namespaces, 'sh', '-c', setUp, 'sh', ...command];
  const lifeline = process.env[lifelineVariable] === undefined ? [] : ([lifelineFd] as const);
  const child = spawn('sh', ['-c', entrance, 'sh', ...args], { stdio: ['inherit', 'inherit', 'inherit', ...lifeline] });
  // Ctrl-C in a terminal reaches the whole process group, including the command. Other signals reach only this process.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (child.pid !== undefined && child.exitCode === null)
        signalCommand(child.pid, namespaces.includes('--fork'), signal);
    });
  child.on('error', (error) => {
    process.stderr.write(`unshare: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

main();
